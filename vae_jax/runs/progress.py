"""What a run shows while it trains: a progress bar, or lines in a log."""

import contextlib
import math
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tqdm import tqdm

from vae_jax.devices.processes import is_first

LINE_SECONDS = 30.0  # between two lines in a log
# Times below these are told in seconds, or in minutes.
IN_SECONDS, IN_MINUTES = 120.0, 7_200.0


class Follower(NamedTuple):
    """Whoever follows a run, such as another process: its wishes, and functions that inform it."""

    wants_stop: Callable[[], bool]  # whether the run should save and stop
    tell: Callable[[int, int, str], None]  # its step, its number of steps, what was last measured
    is_anyone: bool = True  # False: the terminal is told too
    rows: Callable[[list[dict[str, Any]]], None] = lambda rows: None  # the metrics of a chunk
    # Whether the run should end at the chunk that `rows` was last told of; None: it never does.
    ends: Callable[[], bool] | None = None


NOBODY = Follower(lambda: False, lambda step, total_steps, said: None, is_anyone=False)


def bar(total_steps: int, first_step: int, label: str | None, *, hidden: bool = False) -> tqdm:
    """A bar of training steps, shown by the first process if stderr is a terminal."""
    return tqdm(
        desc=f"program {label}" if label else None,
        total=total_steps,
        initial=first_step,
        unit="step",
        disable=without_bar(hidden=hidden),
        dynamic_ncols=not in_notebook(),
    )


def in_notebook() -> bool:
    """Whether this is a Jupyter kernel: its output is no terminal, and shows a bar well."""
    shell = sys.modules.get("IPython")
    return shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"


def without_bar(*, hidden: bool = False) -> bool | None:
    """tqdm's `disable`: only the first process has a bar, on a terminal or in a notebook."""
    if hidden or not is_first():
        return True
    return False if in_notebook() else None


@contextlib.contextmanager
def lines(
    status: Callable[[], str],
    every: float = LINE_SECONDS,
    *,
    hidden: bool = False,
    on_terminals: bool = False,
) -> Iterator[None]:
    """In this context, prints status() on stderr every `every` seconds, if no terminal shows a bar.

    `on_terminals`: also on a terminal, where there is no bar.
    """
    shown = (sys.stderr.isatty() and not on_terminals) or in_notebook()
    if hidden or shown or not is_first():
        yield
        return
    over = threading.Event()

    def tell() -> None:
        while not over.wait(every):
            print(status(), file=sys.stderr, flush=True)

    thread = threading.Thread(target=tell, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def status(step: int, first_step: int, total_steps: int, seconds: float, more: str) -> str:
    """A line for a log: how far it is, what was last measured, and about how long it takes.

    seconds: since the first step of this process.
    """
    taken = step - first_step
    parts = [f"step {step:,} of {total_steps:,}", more]
    if taken:
        parts.append(f"about {duration(seconds / taken * (total_steps - step))} left")
    return ", ".join(part for part in parts if part)


def duration(seconds: float) -> str:
    """Such as "40 s", "5 min" or "3.5 h"."""
    if seconds < IN_SECONDS:
        return f"{max(1, math.ceil(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < IN_MINUTES else f"{seconds / 3600:.1f} h"


def describe(bar: tqdm, rows: list[dict[str, Any]], prefix: str) -> str:
    """Shows the mean bound over lanes of the newest validation rows, and returns the words."""
    own = "objective" if any("objective" in row for row in rows) else "bound"
    bounds = [row[own] for row in rows if row[own] is not None]
    if not bounds:
        return ""
    name = "elbo" if all(row[own] == row["elbo"] for row in rows) else own
    said = f"validation {prefix}{name} {sum(bounds) / len(bounds):.2f}"
    bar.set_postfix_str(said)
    return said
