"""What all figures share: colours, sizes, and how files are written."""

import contextlib
import functools
import io
import math
import os
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Given = ParamSpec("Given")
# Of figures and pages. Each has a contrast of at least 3 : 1 with white and with black; within
# these bounds they were chosen to be far apart for readers with red-green blindness too.
COLOURS = (
    "#0c9ce4", "#f06c00", "#006c00", "#cc0000", "#9c00cc", "#0ca86c",
    "#fc48cc", "#4830fc", "#a86c9c", "#0c6084", "#6c6cfc", "#a8186c",
)  # fmt: skip
GREY = "#767676"  # of text on white and on black: 4.5 : 1 with both


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
    """An empty figure with a title; width and height are in inches.

    title: the first line is the title, and is cut if it is longer than the figure is wide; what
    follows stands below the figure in small letters.
    """
    from matplotlib.figure import Figure

    fig = Figure(figsize=(width, height), layout="constrained")
    head, _, more = title.partition("\n")
    fig.suptitle(cut(head, int(12.5 * width)), fontsize=9)
    lines = [part for line in more.split("\n") for part in textwrap.wrap(line, int(20 * width))]
    if lines:
        fig.supxlabel("\n".join(lines), fontsize=6, color=GREY)
    return fig


def cut(text: str, longest: int) -> str:
    """The text, with "..." in its middle if it has more characters than `longest`."""
    if len(text) <= longest:
        return text
    half = (longest - 3) // 2
    return f"{text[:half]}...{text[-half:]}"


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


def elbo_lines(
    left: float, right: float, low: float, high: float
) -> list[tuple[float, tuple[float, float], tuple[float, float]]]:
    """(-ELBO, rates, distortions) of lines of constant ELBO that cross a plane.

    Rates are from `left` to `right` and distortions from `low` to `high`, nats; the ends of a line
    are at the edges. -ELBO = rate + distortion is at round numbers.

    References: Alemi et al. (2018), "Fixing a broken ELBO", section 3.
    """
    step = round_step((right - left + high - low) / 6)
    found = []
    for i in range(math.ceil((left + low) / step), math.floor((right + high) / step) + 1):
        total = i * step
        start, end = max(left, total - high), min(right, total - low)
        if end > start:
            found.append((total, (start, end), (total - start, total - end)))
    return found


def free_place(
    rates: tuple[float, float],
    distortions: tuple[float, float],
    taken: Sequence[tuple[float, float]],
    plane: tuple[float, float, float, float],
    label: tuple[float, float] = (0.2, 0.08),
) -> tuple[float, float] | None:
    """Where on a line there is most room for a label; None: nowhere.

    Args:
      rates, distortions: of the two ends of the line.
      taken: the places of points and of other labels.
      plane: left, right, low and high edge.
      label: width and height, as parts of the plane's.
    """
    left, right, low, high = plane
    wide, tall = label[0] / 2 * (right - left), label[1] / 2 * (high - low)
    places = [
        (
            rates[0] + t * (rates[1] - rates[0]),
            distortions[0] + t * (distortions[1] - distortions[0]),
        )
        for t in (i / 24 for i in range(25))
    ]
    inside = [
        (x, y)
        for x, y in places
        if left + wide <= x <= right - wide and low + tall <= y <= high - tall
    ]

    def room(at: tuple[float, float]) -> float:
        own = [math.hypot((at[0] - x) / wide, (at[1] - y) / tall) for x, y in taken]
        return min(own, default=math.inf)

    return max(inside, key=room, default=None)


def round_step(about: float) -> float:
    """The least number not below `about` that is 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(max(about, 1e-30)))
    return next(n * power for n in (1, 2, 5, 10) if n * power >= 0.999 * about)
