"""How few labels does a semi-supervised VAE need?

    python -m experiments.papers.few_labels --workdir=runs/papers/few_labels

Kingma, Rezende, Mohamed and Welling 2014, Semi-supervised Learning with Deep Generative Models
(table 1, M2): errors on MNIST's test set by number of labels, the other images without. The error
falls with the number of labels, 11.97 percent with 100 and 3.60 with 1,000.

784-100-20 with the classifier of the same width. Beside each number: a logistic regression on the
pixels of the same labelled images, which sees no other image.

Differences from the paper: 50 latent units and 300 or 500 hidden ones there, 3,000 epochs (here 2),
its classifier's weight is 0.1 times the number of images (here 100), its labelled images are drawn
anew for each run (here one draw, the seeds are of the training).
"""

import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from configs.sweeps import few_labels
from experiments.papers import study
from experiments.papers.table import Row, estimate, lines, paired
from vae_jax import files
from vae_jax.cli import main as cli
from vae_jax.data.binarization import scaled
from vae_jax.evaluation.probes import linear_accuracy
from vae_jax.folders.schemas import read_json
from vae_jax.sweeps.plan import runs_in

LABELS = (100, 600, 1_000, 3_000)
PUBLISHED = {100: 11.97, 1_000: 3.60}  # percent, M2
RESULTS = "without_a_vae.json"


def get_config() -> ConfigDict:
    config = few_labels.get_config()
    config.dataset.num_labels = LABELS[0]
    config.objective.classification_weight = 100.0
    config.optimizer.learning_rate = 2e-3
    config.optimizer.schedule.name = "cosine"
    config.training.num_epochs = 2
    config.training.seeds = (0, 1, 2)
    config.training.keep = "last"
    config.evaluation.every_epochs = 2
    config.log.figures = ("training_curves",)
    return config


def sweep(hyper: Any) -> list[dict[str, Any]]:
    return hyper.sweep("dataset.num_labels", LABELS)


def measure(workdir: Path) -> None:
    """Leaves RESULTS: {"labels", "error"}, percent, of a logistic regression on the pixels."""
    if (workdir / RESULTS).exists():
        return
    rows = []
    for run in runs_in(workdir):
        train, test = run.data.train, run.data.test
        assert train.labels is not None
        assert test.labels is not None
        known = np.flatnonzero(train.labels >= 0)
        pixels = scaled(train.images[known]), scaled(test.images)
        right = linear_accuracy(pixels[0], train.labels[known], pixels[1], test.labels)
        rows.append({"labels": len(known), "error": 100 * (1 - right)})
    files.write_json(workdir / RESULTS, rows)


def errors(rows: list[study.Lane], labels: int) -> dict[int, float]:
    """Percent, by seed."""
    found = study.by_seed(rows, "accuracy", dataset__num_labels=labels)
    return {seed: 100 * (1 - right) for seed, right in found.items()}


def table(workdir: Path) -> str:
    rows, out = study.lanes(workdir), []
    for labels in LABELS:
        found = estimate(list(errors(rows, labels).values()))
        out.append(Row(f"error, {labels} labels, percent", found, PUBLISHED.get(labels), "none"))
    for fewer, more in pairwise(LABELS):
        less = paired(errors(rows, more), errors(rows, fewer))
        out.append(Row(f"error, {more} - {fewer} labels", less, 0.0, "below"))
    if (workdir / RESULTS).exists():
        for row in read_json(workdir / RESULTS):
            found = estimate(list(errors(rows, row["labels"]).values()))
            what = f"error, {row['labels']} labels; published: logistic regression on the pixels"
            out.append(Row(what, found, row["error"], "below"))
    return "\n".join(lines(out))


STUDY = study.Study(get_config, sweep, table, measure)

if __name__ == "__main__":
    sys.exit(cli.answer(lambda: study.run(STUDY, sys.argv[1:])))
