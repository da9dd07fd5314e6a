"""One run over several processes: every process computes, the first one writes."""

import os
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from vae_jax.errors import UserError


class Processes(NamedTuple):
    """Flags: where the first process listens, how many there are, and which one this is."""

    coordinator: str | None
    num_processes: int | None
    process_id: int | None


def initialize(processes: Processes) -> None:
    """Joins the other processes, if the flags or the environment of a SLURM step ask for it.

    To be called before anything is computed.

    Raises:
      UserError: only some of the three flags.
    """
    coordinator, number, own = processes
    if coordinator is not None and number is not None and own is not None:
        if not 0 <= own < number:
            raise UserError(
                f"--process_id={own} should be at least 0 and below --num_processes={number}"
            )
        _join(coordinator, number, own)
    elif any(value is not None for value in processes):
        raise UserError(
            "one run over several processes needs --coordinator=HOST:PORT, --num_processes and "
            "--process_id, all three"
        )
    elif int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        _join()


def _join(*processes) -> None:
    # On a CPU, two computations side by side may exchange each other's messages.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    jax.distributed.initialize(*processes)


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return jax.process_index() == 0


def any_process(flag: bool) -> bool:
    """Whether the flag is set in any process; all must ask at the same point."""
    if jax.process_count() == 1:
        return flag
    return bool(np.any(multihost_utils.process_allgather(np.array(flag))))


def from_first(tree: Any) -> Any:
    """The first process's host arrays; the others give arrays of the same shapes and types."""
    if jax.process_count() == 1:
        return tree
    return jax.tree.map(np.asarray, multihost_utils.broadcast_one_to_all(tree))
