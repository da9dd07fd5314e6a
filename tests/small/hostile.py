"""A run folder whose every text is markup: as of a data file with such a name, swept."""

from pathlib import Path

from tests.small.runs import config_of
from vae_jax import files
from vae_jax.folders import folder

PAYLOAD = "x<img src=q onerror=document.title='PWNED'>$$\\alpha$$&amp;"


def write_hostile(at: Path) -> Path:
    """Writes the records of a sweep of three lanes, without checkpoints; returns its folder."""
    workdir = at / PAYLOAD.replace("/", "")
    programs = workdir / "programs" / "000"
    programs.mkdir(parents=True)
    (programs / "error.txt").write_text(PAYLOAD)
    config = config_of(f"/data/{PAYLOAD}.npz")
    folder.write_config(workdir, config)
    (workdir / "sweep.json").write_text("{}")
    identity = {
        "name": f"/data/{PAYLOAD}.npz", "checksum": PAYLOAD, "train_size": 1,
        "validation_size": 1, "test_size": 1, "binarization": PAYLOAD,
    }  # fmt: skip
    environment = {
        "command": [PAYLOAD], "platform": PAYLOAD, "devices": [PAYLOAD], "commit": PAYLOAD,
        "packages": {PAYLOAD: PAYLOAD}, "dataset": identity,
    }  # fmt: skip
    files.write_json(workdir / "environment.json", environment)
    numbers = dict.fromkeys(("bound", "elbo", "reconstruction", "kl", "bits_per_dim"), -1.0)
    lanes = [
        numbers
        | {"lane": i, "seed": 0, "status": status, "diverged_step": 1, "best_step": 5,
           "best_epoch": 1.0, "validation_bound": -1.0, "dataset.path": f"{PAYLOAD}{i}",
           "bound_of": f"{PAYLOAD}{i}", "bound_name": PAYLOAD}
        for i, status in enumerate(("done", "done", "diverged"))
    ]  # fmt: skip
    results = {
        "finished": False, "lanes": lanes, "dataset": identity, "pseudo_likelihood": False,
        "wall_seconds": 1.0, "evaluation": {}, "swept": ["dataset.path"],
        "not_measured": {PAYLOAD: PAYLOAD}, "kept": PAYLOAD, "corruption": PAYLOAD,
    }  # fmt: skip
    files.write_json(workdir / "results.json", results)
    row = numbers | {"seed": 0, "step": 5, "epoch": 1.0}
    folder.append_rows(
        workdir,
        [row | {"lane": i, "split": s} for i in range(3) for s in ("train", "validation", PAYLOAD)],
    )
    return workdir
