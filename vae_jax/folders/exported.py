"""An exported model has a config.json too, and is no run folder."""

from pathlib import Path

from vae_jax.errors import UserError

WEIGHTS = "model.safetensors"


def refuse_export(workdir: Path) -> None:
    """Raises UserError if the folder holds an exported model."""
    if (workdir / WEIGHTS).exists():
        raise UserError(
            f"{workdir} holds an exported model, which vae_jax.load_exported loads, and no run; "
            "take the folder of a run"
        )
