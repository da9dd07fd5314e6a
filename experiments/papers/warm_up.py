"""Do warm-up and free bits keep latent units active?

    python -m experiments.papers.warm_up --workdir=runs/papers/warm_up

Sønderby et al. 2016, Ladder Variational Autoencoders (section 2.3): a weight of the KL that rises
from 0 to 1 over the first epochs keeps units from being switched off early, when the posterior is
still poor; more units are active and the likelihood is better. Kingma et al. 2016, Improving
Variational Inference with Inverse Autoregressive Flow: free bits, a KL below lambda nats costs
nothing, for the same end.

One model (784-200-200-50, tanh, as the IWAE paper's; batch 200), four ways to train it; equal
seeds share initial params, order of data and noise. `active_units` are the units whose posterior
mean varies by more than 0.01 over test images (Burda et al. 2015), `elbo` is at weight 1 without
free bits, `nll` by 1,000 samples of 300 test images.

Differences from the papers: one layer of latents where the first has five and uses batch
normalisation (docs/hierarchies.md has a ladder); 8 epochs with 4 of warm-up where it has 2,000
with 200; free bits for each unit, not for groups of feature maps.

What was found (seeds 0 to 2; 6:33 on two shared cores of an Intel Xeon, busy with other work; jax
0.10.2, 2026-12-01):

                active units     nll (300 images)   ELBO
    plain       38.0 +- 1.5      100.04 +- 0.07     -107.00 +- 0.03
    warm-up     41.3 +- 1.5      100.01 +- 0.02     -107.94 +- 0.03
    free bits   50.0 +- 0.0      100.30 +- 0.13     -107.89 +- 0.14
    both        50.0 +- 0.0      100.09 +- 0.04     -108.35 +- 0.03

Free bits keep all units active; for warm-up three seeds do not say. No way has a better nll, and
each of the three has an ELBO that is worse by about a nat. So the means are there, and their end is
not, after 8 epochs of one layer.
"""

import sys
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from experiments.papers import study
from experiments.papers.table import Row, estimate, lines, paired
from vae_jax.cli import main as cli

WAYS = {  # (epochs of warm-up, nats of free bits)
    "plain": (0.0, 0.0),
    "warm-up": (4.0, 0.0),
    "free bits": (0.0, 0.1),
    "both": (4.0, 0.1),
}
# What is measured, and which side is better.
MEASURED = {"active_units": "above", "nll": "below", "elbo": "above"}


def get_config() -> ConfigDict:
    config = study.short_recipe(num_epochs=8)
    config.model.latent_size = 50
    for net in (config.model.encoder, config.model.decoder):
        net.widths = (200, 200)
        net.activation = "tanh"
    config.evaluation.metrics = ("elbo", "latents", "nll")
    config.evaluation.num_importance_samples = 1_000
    config.evaluation.nll.images = 300
    return config


def sweep(hyper: Any) -> list[dict[str, Any]]:
    epochs, nats = zip(*WAYS.values(), strict=True)
    return hyper.zipit(
        [hyper.sweep("objective.warmup_epochs", epochs), hyper.sweep("objective.free_bits", nats)]
    )


def of_way(rows: list[study.Lane], way: str, name: str) -> dict[int, float]:
    """The number of that name by seed."""
    epochs, nats = WAYS[way]
    return study.by_seed(rows, name, objective__warmup_epochs=epochs, objective__free_bits=nats)


def table(workdir: Path) -> str:
    measured, out = study.lanes(workdir), []
    for name, better in MEASURED.items():
        for way in WAYS:
            out.append(
                Row(f"{name}, {way}", estimate(list(of_way(measured, way, name).values())), None)
            )
        for way in [way for way in WAYS if way != "plain"]:
            gain = paired(of_way(measured, way, name), of_way(measured, "plain", name))
            out.append(Row(f"{name}, {way} - plain", gain, 0.0, better))
    return "\n".join(lines(out))


STUDY = study.Study(get_config, sweep, table)

if __name__ == "__main__":
    sys.exit(cli.answer(lambda: study.run(STUDY, sys.argv[1:])))
