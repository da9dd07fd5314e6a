"""Small sweeps."""

import csv
import json

from tests.small.runs import config_of
from vae_jax.commands import sweep
from vae_jax.sweeps import language as hyper
from vae_jax.sweeps.plan import Datasets, make_sweep

SETTINGS = hyper.product(
    [hyper.sweep("model.latent_size", (2, 3)), hyper.sweep("objective.beta", (0.5, 2))]
)


def run_sweep(npz, workdir, settings=SETTINGS, **changes):
    data = Datasets()
    plan = make_sweep(config_of(npz, **changes), settings, workdir, data)
    sweep.sweep(workdir, plan, data)
    return plan


def results_of(workdir):
    return json.loads((workdir / "results.json").read_text())


def lanes_of(workdir):
    with open(workdir / "lanes.csv", newline="") as table:
        return list(csv.DictReader(table))
