"""What follows a run while it trains: an Observer for each who does, and the loop knows no more."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from vae_jax.training.step import State

MetricRows = list[dict[str, Any]]  # of metrics.jsonl


def nothing(*arguments: Any) -> None:
    return None


def never() -> bool:
    return False


class Observer(NamedTuple):
    """Functions that are called while a run trains, in the order of these fields.

    One that takes or closes something is made by a context manager.
    """

    # The step of each lane [lanes] that it begins after, once, when the run is restored.
    begins: Callable[[Sequence[int]], object] = nothing
    # A validated state, on the devices: what it will be shown of it, dispatched to the devices.
    views: Callable[[State], Any] | None = None
    # Whether the run should save its state and stop. May raise, if the run is no longer its own.
    wants_stop: Callable[[], bool] = never
    # After a chunk: the run's step, and the chunk's rows, which are in metrics.jsonl.
    rows: Callable[[int, MetricRows], None] = nothing
    # After a validation: the step, what `views` gave, on the host, and diverged_step [lanes].
    validated: Callable[[int, Any, np.ndarray], None] = nothing
    # Whether the run should end at the chunk that `rows` was last given; None: it never does.
    ends: Callable[[], bool] | None = None


def wants_stop(observers: Sequence[Observer]) -> bool:
    """Whether any of them wants the run to save its state and stop; all are asked."""
    asked = [observer.wants_stop() for observer in observers]
    return any(asked)


def may_end(observers: Sequence[Observer]) -> bool:
    """Whether any of them may end the run."""
    return any(observer.ends for observer in observers)


def ends(observers: Sequence[Observer]) -> bool:
    """Whether any of them ends the run now; all are asked."""
    asked = [observer.ends() for observer in observers if observer.ends]
    return any(asked)
