"""One run over several processes: all of them compute, and only the first one writes."""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from vae_jax.errors import UserError

# What jax reads to join the tasks of a SLURM step.
SLURM_STEP = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_PROCID", "SLURM_LOCALID")


class Processes(NamedTuple):
    """Flags: the address of the first process, the number of processes, and this one's index."""

    coordinator: str | None
    num_processes: int | None
    process_id: int | None


def initialize(processes: Processes) -> None:
    """Joins the other processes, if the flags or the environment of a SLURM step ask for it.

    Call it before anything is computed.

    Raises:
      UserError: only some of the three flags are given, or of the environment's settings.
    """
    coordinator, number, index = processes
    if coordinator is not None and number is not None and index is not None:
        if not 0 <= index < number:
            raise UserError(
                f"--process_id={index} should be at least 0 and below --num_processes={number}"
            )
        _join(coordinator, number, index)
    elif any(value is not None for value in processes):
        raise UserError(
            "one run over several processes needs --coordinator=HOST:PORT, --num_processes and "
            "--process_id, all three"
        )
    elif (tasks := slurm_tasks(os.environ)) > 1:
        host = os.environ["SLURM_STEP_NODELIST"]
        print(f"waiting for the {tasks} tasks of the SLURM step on {host}", flush=True)
        _join()


def slurm_tasks(environment: Mapping[str, str]) -> int:
    """How many tasks the SLURM step of this process has; 1 outside of one.

    Raises:
      UserError: it has several, but the environment does not say which this is, or says nonsense.
    """
    given = environment.get("SLURM_STEP_NUM_TASKS", "1")
    tasks = whole_number("SLURM_STEP_NUM_TASKS", given)
    if tasks <= 1:
        return 1
    missing = [name for name in SLURM_STEP if not environment.get(name)]
    if missing:
        raise UserError(
            f"SLURM_STEP_NUM_TASKS={given} says that {given} processes share this run, but "
            f"{', '.join(missing)} is not set; start it with srun, or unset SLURM_STEP_NUM_TASKS"
        )
    index = whole_number("SLURM_PROCID", environment["SLURM_PROCID"])
    if index >= tasks:
        raise UserError(f"SLURM_PROCID={index} should be below SLURM_STEP_NUM_TASKS={tasks}")
    return tasks


def whole_number(name: str, given: str) -> int:
    """The whole number that a variable of the environment holds."""
    if not given.isdecimal():
        raise UserError(f"{name}={given} in the environment should be a whole number")
    return int(given)


def _join(*processes: Any) -> None:
    """Joins the other processes; `processes`: address, number and index, or what SLURM tells."""
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
