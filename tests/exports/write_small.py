"""Writes the export that `test_exported.py` keeps of a version, and its numbers.

python -m tests.exports.write_small small_0_2
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import vae_jax
from tests.small.runs import run as train_run
from tests.small.runs import write_tiny_npz

CHANGES = {
    "model__latent_size": 2,
    "model__encoder__widths": (4,),
    "model__decoder__widths": (4,),
    "training__seeds": (0, 1),
}


def short(value: Any) -> Any:
    return [short(own) for own in value] if isinstance(value, list) else round(value, 6)


def write(name: str) -> None:
    """The folder, and NAME.json: images, and what the run itself makes of them."""
    to = Path(__file__).parent / name
    shutil.rmtree(to, ignore_errors=True)
    with tempfile.TemporaryDirectory() as at:
        train_run(write_tiny_npz(Path(at, "tiny.npz")), Path(at, "run"), **CHANGES)
        run = vae_jax.load(Path(at, "run"))
        vae_jax.export(run, to, "Apache 2.0, as the rest of this repository")
        x = np.where(np.indices((2, 6, 6))[2] < 3, 255, 0).astype(np.uint8)
        x[1] = x[1].T
        numbers = {
            "images": x.tolist(),
            "mean": run.encode(x).tolist(),
            "decoded": run.decode(np.eye(2)).tolist(),
            "generated": [run.generate(1, seed=i)[0].tolist() for i in range(2)],
            "elbo": vae_jax.load_exported(to).elbo(x).tolist(),
        }
    text = json.dumps({key: short(value) for key, value in numbers.items()})
    to.with_suffix(".json").write_text(text + "\n")


if __name__ == "__main__":
    write(sys.argv[1])
