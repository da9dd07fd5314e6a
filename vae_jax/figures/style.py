"""What all figures share: colours, sizes, and how files are written."""

import contextlib
import functools
import io
import math
import os
import textwrap
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Given = ParamSpec("Given")
# Paul Tol's "muted" scheme: ten colours that colour-blind readers can tell apart.
COLOURS = (
    "#332288", "#88CCEE", "#44AA99", "#117733", "#999933",
    "#DDCC77", "#CC6677", "#882255", "#AA4499", "#888888",
)  # fmt: skip


def own_style(function: Callable[Given, None]) -> Callable[Given, None]:
    """Draws with matplotlib's defaults, whatever the user's settings and backend are.

    No text is taken as mathematics: titles hold the user's file names.
    """

    @functools.wraps(function)
    def with_own_style(*arguments: Given.args, **named: Given.kwargs) -> None:
        # Notebooks name a backend that other environments do not have; no figure here needs one.
        backend = os.environ.pop("MPLBACKEND", None)
        try:
            import matplotlib  # takes 0.4 s: not before the first training step
        finally:
            if backend is not None:
                os.environ["MPLBACKEND"] = backend
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            matplotlib.rcParams["text.parse_math"] = False
            function(*arguments, **named)

    return with_own_style


def logarithmic(axis) -> None:
    """Makes an axis logarithmic, with plain numbers at its ticks: matplotlib's are mathematics."""
    from matplotlib.ticker import LogFormatter

    (axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale)("log")
    axis.set_major_formatter(LogFormatter())
    axis.set_minor_formatter(LogFormatter())


def dot_size(n: int) -> float:
    """The area of each of n dots, in points squared: 3 for 10,000, and 40 at most."""
    return min(40.0, max(3.0, 300 / math.sqrt(max(n, 1))))


def figure(width: float, height: float, title: str) -> "Figure":
    """An empty figure with a title; width and height are in inches."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(width, height), layout="constrained")
    longest = int(13 * width)  # characters of size 9
    lines = [part for line in title.split("\n") for part in textwrap.wrap(line, longest)]
    fig.suptitle("\n".join(lines), fontsize=9)
    return fig


SHOWN: ContextVar[dict[str, Any] | None] = ContextVar("SHOWN", default=None)


@contextlib.contextmanager
def shown() -> Iterator[dict[str, Any]]:
    """In this context, figures are not written, but put into the dict that it yields, by name."""
    figures: dict[str, Any] = {}
    token = SHOWN.set(figures)
    try:
        yield figures
    finally:
        SHOWN.reset(token)


def png(fig: "Figure") -> bytes:
    """The figure as a PNG."""
    written = io.BytesIO()
    fig.savefig(written, format="png", dpi=110)
    return written.getvalue()


def save(fig: "Figure", path: Path) -> None:
    """Makes the folder, writes a PNG under a temporary name, and renames it."""
    figures = SHOWN.get()
    if figures is not None:
        fig._repr_png_ = functools.partial(png, fig)  # type: ignore[attr-defined]  # for notebooks
        figures[path.stem] = fig
        return
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    # Without the Software entry, equal figures give equal files.
    fig.savefig(temporary, format="png", dpi=110, metadata={"Software": None})
    os.replace(temporary, path)


def panels(rows: Iterable[dict[str, Any]]) -> dict[str, str]:
    """{column to plot: its name}; the bound is named "ELBO" if it is the ELBO itself.

    Where validation is of an objective that is not the bound, that is the first column.
    """
    rows = list(rows)
    is_elbo = all(row["bound"] == row["elbo"] for row in rows)
    own = any("objective" in row for row in rows)
    first = {"objective": "objective"} if own else {"bound": "ELBO" if is_elbo else "bound"}
    return {
        **first,
        "reconstruction": "reconstruction",
        "kl": "KL",
    }


def round_step(about: float) -> float:
    """The least number not below `about` that is 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(max(about, 1e-30)))
    return next(n * power for n in (1, 2, 5, 10) if n * power >= 0.999 * about)
