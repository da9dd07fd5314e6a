"""The results.json of a sweep, made by hand."""

from vae_jax import files
from vae_jax.folders import folder


def write_results(workdir, rows):
    """A results.json of lanes with these numbers."""
    usual = {
        "status": "done", "diverged_step": None, "best_step": 1, "best_epoch": 1.0,
        "validation_bound": 0.0, "bound": 0.0, "elbo": 0.0, "reconstruction": 0.0, "kl": 0.0,
        "bits_per_dim": 0.0,
    }  # fmt: skip
    lanes = [usual | {"lane": i} | row for i, row in enumerate(rows)]
    data = {
        "name": "mine", "checksum": "0", "train_size": 1, "validation_size": 1, "test_size": 1,
        "binarization": "none",
    }  # fmt: skip
    whole = {
        "finished": True, "lanes": lanes, "dataset": data, "pseudo_likelihood": False,
        "wall_seconds": 1.0, "evaluation": {},
    }  # fmt: skip
    files.write_json(workdir / folder.RESULTS, whole)
