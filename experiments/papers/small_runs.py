"""Do the small runs that others publish come out here, and which of them are likelihoods?

    python -m experiments.papers.small_runs --workdir=runs/papers/small_runs

- Flax's VAE example, on the fixed binarisation: 784-500-20, batches of 128, Adam at 1e-3, 10
  epochs; loss about 104 nats;
- Pyro's VAE example: 784-400-50, softplus, batches of 256, Adam at 1e-3 with beta1 0.95; test ELBO
  about -102. It feeds grey pixels to a Bernoulli, so that its number is no likelihood: a second run
  of the same model, with pixels that are drawn, has one;
- the sizes of Kingma and Welling 2013, Auto-Encoding Variational Bayes: 3 latent units and 400
  hidden ones, 122.4 nats; and a re-run of 12 latent units with layers of 256 and 128, 92.1 nats by
  100 samples.

`nll` by 100 samples of the first 1,000 test images. Each program has its own data and networks.

Differences from the papers and the code: Pyro's runs for 101 epochs (here 10); the last two do not
say their optimiser nor their number of epochs (here Adam at 1e-3, batches of 128, 10 epochs, ReLU),
so that no claim is made of those.

What was found (seeds 0 to 2; 12:06 on two shared cores of an AMD EPYC, busy with other work; jax
0.10.2, 2026-12-01), nats:

                                      published   -ELBO              nll
    Flax                              104         103.48 +- 0.05      99.21 +- 0.05
    Pyro, grey (no likelihood)        102         110.30 +- 0.09     (105.53 +- 0.06)
    Pyro, binarised                               106.55 +- 0.11     101.05 +- 0.09
    3 latent units                    122.4       142.24 +- 0.20     139.32 +- 0.44
    12 latent units, nll              92.1        105.59 +- 0.17     100.87 +- 0.16

Flax's, the one whose whole recipe is known, comes out. The others are above the published numbers
after 10 epochs; how long those were trained is known of Pyro's alone.
"""

import sys
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from configs import default
from experiments.papers import study
from experiments.papers.table import Row, estimate, lines
from vae_jax.cli import main as cli
from vae_jax.config.check import check


class Small(NamedTuple):
    """A published run: what it changes, its number in nats, and what that number is."""

    keys: dict[str, Any]
    published: float
    of: str  # "elbo", whose negative it is, or "nll"


def dense(latent_size: int, widths: tuple[int, ...], **keys: Any) -> dict[str, Any]:
    """The keys of a VAE with these layers, the decoder's turned round."""
    named = {key.replace("__", "."): value for key, value in keys.items()}
    return {
        "model.latent_size": latent_size,
        "model.encoder.widths": widths,
        "model.decoder.widths": widths[::-1],
    } | named


STATIC = {"dataset.name": "binarized_mnist", "dataset.binarization": "none"}
GREY = {"dataset.binarization": "none"}
SOFTPLUS = {
    "model.encoder.activation": "softplus",
    "model.decoder.activation": "softplus",
    "training.batch_size": 256,
    "optimizer.b1": 0.95,
}
RUNS = {
    "Flax": Small(dense(20, (500,)) | STATIC, 104.0, "elbo"),
    "Pyro, grey pixels: no likelihood": Small(dense(50, (400,)) | SOFTPLUS | GREY, 102.0, "elbo"),
    "Pyro, binarised": Small(dense(50, (400,)) | SOFTPLUS, 102.0, "elbo"),
    "3 latent units": Small(dense(3, (400,)), 122.4, "elbo"),
    "12 latent units": Small(dense(12, (256, 128)), 92.1, "nll"),
}


def get_config() -> ConfigDict:
    config = default.get_config()
    config.dataset.binarization = "dynamic"
    study.judge_at_the_end(config, num_epochs=10)
    config.evaluation.metrics = ("elbo", "nll")
    config.evaluation.num_importance_samples = 100
    config.evaluation.nll.images = 1_000
    config.evaluation.allow_pseudo_likelihood = True
    return config


def sweep(hyper: Any) -> list[dict[str, Any]]:
    return [run.keys for run in RUNS.values()]


def of_run(rows: list[study.Lane], keys: dict[str, Any], name: str) -> dict[int, float]:
    """The number of that name by seed; a key that the run does not name is at its default."""
    usual = check(get_config()).values
    wanted = {key: keys.get(key, usual[key]) for run in RUNS.values() for key in run.keys}
    as_read = {key: list(v) if isinstance(v, tuple) else v for key, v in wanted.items()}
    return study.by_seed(rows, name, **as_read)


def table(workdir: Path) -> str:
    rows, out = study.lanes(workdir), []
    for what, run in RUNS.items():
        for name in ("elbo", "nll"):
            found = of_run(rows, run.keys, name).values()
            nats = [-value if name == "elbo" else value for value in found]
            published = run.published if name == run.of else None
            said = "-elbo" if name == "elbo" else "nll"
            out.append(Row(f"{what}: {said}", estimate(nats), published))
    return "\n".join(lines(out))


STUDY = study.Study(get_config, sweep, table)

if __name__ == "__main__":
    sys.exit(cli.answer(lambda: study.run(STUDY, sys.argv[1:])))
