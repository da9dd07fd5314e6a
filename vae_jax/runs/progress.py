"""What a run shows while it trains: a progress bar, or lines in a log."""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from tqdm import tqdm

from vae_jax.devices.processes import is_first
from vae_jax.words import duration

LINE_SECONDS = 30.0  # between two lines in a log
# Times below these are told in seconds, or in minutes.


def bar(total_steps: int, first_step: int, label: str | None) -> tqdm:
    """A bar of training steps, shown by the first process if stderr is a terminal."""
    return tqdm(
        desc=f"program {label}" if label else None,
        total=total_steps,
        initial=first_step,
        unit="step",
        disable=without_bar(),
        dynamic_ncols=not in_notebook(),
    )


def in_notebook() -> bool:
    """Whether this is a Jupyter kernel: its output is no terminal, and shows a bar well."""
    shell = sys.modules.get("IPython")
    return shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"


def without_bar() -> bool | None:
    """tqdm's `disable`: only the first process has a bar, on a terminal or in a notebook."""
    if not is_first():
        return True
    return False if in_notebook() else None


@contextlib.contextmanager
def lines(
    status: Callable[[], str],
    every: float = LINE_SECONDS,
    *,
    on_terminals: bool = False,
) -> Iterator[None]:
    """In this context, prints status() on stderr every `every` seconds, if no terminal shows a bar.

    `on_terminals`: also on a terminal, where there is no bar.
    """
    shown = (sys.stderr.isatty() and not on_terminals) or in_notebook()
    if shown or not is_first():
        yield
        return
    over = threading.Event()

    def tell() -> None:
        last_line = ""
        while not over.wait(every):
            line = status()
            if line != last_line:
                print(line, file=sys.stderr, flush=True)
            last_line = line

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


def describe(rows: list[dict[str, Any]], *, pseudo: bool) -> str:
    """The mean over lanes of the bound, or the objective, in the validation rows; "": none."""
    rows = [row for row in rows if row["split"] == "validation"]
    term = "objective" if any("objective" in row for row in rows) else "bound"
    bounds = [row[term] for row in rows if row[term] is not None]
    if not bounds:
        return ""
    name = "elbo" if all(row[term] == row.get("elbo") for row in rows) else term
    return f"validation {'pseudo-' if pseudo else ''}{name} {sum(bounds) / len(bounds):.2f}"
