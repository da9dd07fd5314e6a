"""What a run shows while it trains: a progress bar and, if chosen, TensorBoard events."""

from pathlib import Path
from typing import Any

from tqdm import tqdm

from vae_jax.devices.processes import is_first
from vae_jax.errors import UserError

# The entries of a row that are not metrics.
HEAD = ("lane", "seed", "step", "epoch", "split", "pseudo_likelihood")


def bar(total_steps: int, first_step: int, label: str | None) -> tqdm:
    """A bar of training steps, shown by the first process if stderr is a terminal."""
    return tqdm(
        desc=f"program {label}" if label else None,
        total=total_steps,
        initial=first_step,
        unit="step",
        disable=None if is_first() else True,
        dynamic_ncols=True,
    )


def describe(bar: tqdm, rows: list[dict[str, Any]], prefix: str) -> None:
    """Shows the mean bound over lanes of the newest validation rows."""
    own = "objective" if any("objective" in row for row in rows) else "bound"
    bounds = [row[own] for row in rows if row[own] is not None]
    if bounds:
        name = "elbo" if all(row[own] == row["elbo"] for row in rows) else own
        bar.set_postfix_str(f"validation {prefix}{name} {sum(bounds) / len(bounds):.2f}")


class TensorBoard:
    """Writes each row of metrics as events, one folder per lane."""

    def __init__(self, folder: Path, first_step: int):
        try:
            import tensorboardX
        except ImportError as error:
            raise UserError(
                "log.tensorboard = True needs tensorboardX: pip install -e '.[tensorboard]'"
            ) from error
        self._open = lambda lane: tensorboardX.SummaryWriter(
            str(folder / f"lane_{lane}"), purge_step=first_step + 1
        )
        self._writers: dict[int, Any] = {}

    def write(self, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            lane = row["lane"]
            if lane not in self._writers:
                self._writers[lane] = self._open(lane)
            for name, value in row.items():
                if name not in HEAD and value is not None:
                    pseudo = "pseudo-" if row.get("pseudo_likelihood") else ""
                    tag = f"{row['split']}/{pseudo}{name}"
                    self._writers[lane].add_scalar(tag, value, row["step"])

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()
