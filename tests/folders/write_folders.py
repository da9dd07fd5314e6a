"""Writes the run folders that `test_formats.py` keeps of a version: tiny runs of several kinds.

    python -m tests.folders.write_folders tests/folders/folders_of_0_2.tar.xz

Of each kind: the folder of a run that was killed after 15 of its 20 steps, and the records of the
same run to its end. `rae_finished` is whole, with its samplers.
"""

import contextlib
import os
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # as in the tests

from tests.small.families import AAE, AVB, CODE, DISCRETE, POINT, SAMPLED, SMALL
from tests.small.killing import Killed
from tests.small.runs import train, values_of, write_tiny_npz
from vae_jax.config.schema import KEYS, nest
from vae_jax.folders import folder
from vae_jax.folders.checkpoint import Checkpoints

AT = 15  # steps


def small(*names: str) -> dict[str, Any]:
    """Small values of the keys of these members."""
    return {k: v for k, v in SMALL.items() if k.split(".")[1] in names}


CRITIC = {"objective.critic.widths": (8, 8)}
NETWORKS = ("model.latent_size", "model.encoder.widths", "model.decoder.widths")
KINDS: dict[str, dict[str, Any]] = {
    "aae": AAE | CRITIC,
    "averaged": {"training.ema_decay": 0.9, "optimizer.skip_above": 1e6},
    "avb": AVB | CRITIC | {"training.keep": "last", "model.posterior_width": 8},
    "categorical": DISCRETE
    | small("categories")
    | {"objective.num_samples": 2, "evaluation.num_samples": 2},
    "codebook": CODE
    | small("causal", "codebook")
    | {"model.prior": "causal", "model.codebook.stages": 2},
    "hierarchy": SAMPLED
    | {"model.name": "hierarchy", "model.upper.latent_sizes": (2,), "model.upper.widths": (8,)},
    "top_down": {
        "model.name": "top_down",
        "model.blocks.width": 8,
        "model.blocks.bottleneck": 4,
        **{key: KEYS[key].default for key in NETWORKS},
    },
    "vae_gan": CRITIC | {"objective.name": "vae_gan", "training.keep": "last"},
}
RAE = POINT | {
    "evaluation.metrics": ("elbo", "samples"),
    "evaluation.samplers": ("prior", "gaussian", "mixture"),
}


def values(changes: dict[str, Any]) -> Any:
    few = {
        "training.num_epochs": 4,
        "training.batch_size": 50,
        "log.keep_checkpoints": 1,
        "log.figures": ("training_curves",),
        "evaluation.metrics": ("elbo", "latents"),
    }
    return nest(values_of(Path("tiny.npz")) | few | changes)


def write() -> None:
    """The folders, in the current one."""
    write_tiny_npz(Path("tiny.npz"))
    save = Checkpoints.save

    def killed(self: Checkpoints, *arguments: Any) -> None:
        save(self, *arguments)
        self.wait()
        if (self.folder / str(AT)).exists():
            raise Killed

    for kind, changes in KINDS.items():
        train(values(changes), Path(f"{kind}_finished"))
        for part in (folder.CHECKPOINTS, "figures", "evaluation"):
            shutil.rmtree(Path(f"{kind}_finished", part), ignore_errors=True)
        Checkpoints.save = killed  # type: ignore[method-assign]
        with contextlib.suppress(Killed):
            train(values(changes), Path(f"{kind}_stopped"))
        Checkpoints.save = save  # type: ignore[method-assign]
        shutil.rmtree(Path(f"{kind}_stopped", "figures"), ignore_errors=True)
    train(values(RAE), Path("rae_finished"))
    shutil.rmtree(Path("rae_finished", "figures"), ignore_errors=True)


def main() -> None:
    archive = Path(sys.argv[1]).absolute()
    with tempfile.TemporaryDirectory() as at:
        os.chdir(at)
        write()
        with tarfile.open(archive, "w:xz") as packed:
            for path in sorted(Path().iterdir()):
                packed.add(path)


if __name__ == "__main__":
    main()
