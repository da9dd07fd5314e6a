"""One run over several processes: all of them compute, and only the first one writes."""

import os
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from vae_jax.errors import UserError


class Processes(NamedTuple):
    """Flags: the address of the first process, the number of processes, and this one's index."""

    coordinator: str | None
    num_processes: int | None
    process_id: int | None


def initialize(processes: Processes) -> None:
    """Joins the other processes, if the flags or the environment of a SLURM step ask for it.

    Call it before anything is computed.

    Raises:
      UserError: only some of the three flags are given.
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
    # On a CPU, two concurrent computations may receive each other's messages.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    jax.distributed.initialize(*processes)


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return jax.process_index() == 0


def any_process(flag: bool) -> bool:
    """Whether the flag is set in any process; all must call this at the same point."""
    if jax.process_count() == 1:
        return flag
    return bool(np.any(multihost_utils.process_allgather(np.array(flag))))


def from_first(tree: Any) -> Any:
    """The host arrays of the first process; the others pass arrays of equal shapes and types."""
    if jax.process_count() == 1:
        return tree
    return jax.tree.map(np.asarray, multihost_utils.broadcast_one_to_all(tree))
