"""What all figures share: colours, sizes, and how files are written."""

import contextlib
import functools
import io
import math
import os
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec

from vae_jax.files import replacing

if TYPE_CHECKING:
    from matplotlib.axis import XAxis, YAxis
    from matplotlib.figure import Figure

Given = ParamSpec("Given")
# Of figures and pages. Each has a contrast of at least 3 : 1 with white and with black; within
# these bounds they were chosen to be far apart for readers with red-green blindness too.
COLOURS = (
    "#0c9ce4", "#f06c00", "#006c00", "#cc0000", "#9c00cc", "#0ca86c",
    "#fc48cc", "#4830fc", "#a86c9c", "#0c6084", "#6c6cfc", "#a8186c",
)  # fmt: skip
LONG = 50  # letters of a label that stands beside the axes
LINE_INCHES = 0.14  # of a line of a legend
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
            matplotlib.rcParams["pdf.fonttype"] = 42  # letters that other programs can edit
            matplotlib.rcParams["svg.hashsalt"] = "vae_jax"  # equal figures give equal files
            function(*arguments, **named)

    return with_own_style


def logarithmic(axis: "XAxis | YAxis") -> None:
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


def legend(fig: "Figure") -> None:
    """The legend of all axes: at the right, or below a figure that grows where labels are long."""
    handles = [handle for axes in fig.axes for handle in axes.get_legend_handles_labels()[0]]
    labels = [str(handle.get_label()) for handle in handles]
    if max(map(len, labels), default=0) <= LONG:
        fig.legend(loc="outside right center", fontsize=7, frameon=False)
        return
    width, height = fig.get_size_inches()
    wrapped = ["\n".join(textwrap.wrap(label, int(16 * width))) for label in labels]
    lines = sum(label.count("\n") + 1 for label in wrapped)
    fig.set_size_inches(width, height + LINE_INCHES * lines)
    fig.legend(handles, wrapped, loc="outside lower left", fontsize=7, frameon=False)


def cut(text: str, longest: int) -> str:
    """The text, with "..." in its middle if it has more characters than `longest`."""
    if len(text) <= longest:
        return text
    half = (longest - 3) // 2
    return f"{text[:half]}...{text[-half:]}"


FORMATS = {
    "png": "pixels, log.figure_dpi an inch",
    "pdf": "lines and letters, for papers and talks",
    "svg": "lines and letters, for web pages and drawing programs",
}
# What a file says of its making, left out: so equal figures give equal files.
UNSAID = {"png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
DPI = 110


class Files(NamedTuple):
    """How figures are written: a file for each of the formats, with so many pixels an inch."""

    formats: Sequence[str] = ("png",)
    dpi: int = DPI


AS_USUAL = Files()
FILES: ContextVar[Files] = ContextVar("FILES", default=AS_USUAL)
SHOWN: ContextVar[dict[str, Any] | None] = ContextVar("SHOWN", default=None)


@contextlib.contextmanager
def written(files: Files) -> Iterator[None]:
    """In this context, figures are written so."""
    token = FILES.set(files)
    try:
        yield
    finally:
        FILES.reset(token)


def paths(path: Path) -> list[Path]:
    """The files of a figure, of which `path` would be the PNG."""
    return [path.with_suffix(f".{name}") for name in FILES.get().formats]


@contextlib.contextmanager
def shown() -> Iterator[dict[str, Any]]:
    """In this context, figures are not written, but put into the dict that it yields, by name."""
    figures: dict[str, Any] = {}
    token = SHOWN.set(figures)
    try:
        yield figures
    finally:
        SHOWN.reset(token)


def png(fig: "Figure", dpi: int) -> bytes:
    """The figure as a PNG."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def save(fig: "Figure", path: Path) -> None:
    """Makes the folder, and writes the files of `paths`, each under a temporary name, renamed."""
    figures, dpi = SHOWN.get(), FILES.get().dpi
    if figures is not None:
        fig._repr_png_ = functools.partial(png, fig, dpi)  # type: ignore[attr-defined]  # notebooks
        figures[path.stem] = fig
        return
    path.parent.mkdir(exist_ok=True)
    for file in paths(path):
        kind = file.suffix[1:]
        with replacing(file) as written:
            fig.savefig(written, format=kind, dpi=dpi, metadata=UNSAID[kind])


@own_style
def save_all(figures: Mapping[str, "Figure"], folder: Path) -> None:
    """Writes figures, by name, into the folder."""
    for name, fig in figures.items():
        save(fig, folder / f"{name}.png")


PERPLEXITY = "perplexity"  # of a codebook's use: no nats
OF_A_PLAYER = "_loss"  # what the names of players' losses end with
COMPARED = {
    "elbo": "ELBO",
    "reconstruction": "reconstruction",
    "critic_bound": "critic's bound",
    "feature_reconstruction": "feature reconstruction",
}


def panels(rows: Iterable[dict[str, Any]]) -> dict[str, str]:
    """{column to plot: its name}, of those that have values.

    Where validation is of an objective that is not the bound, that is the first column. The losses
    of players, such as a critic's, are the last.
    """
    rows = list(rows)
    has_objective = any("objective" in row for row in rows)
    first = {"objective": "objective"} if has_objective else {"bound": bound_name(rows)}
    names = {**first, "reconstruction": "reconstruction", "kl": "KL", "critic_kl": "critic's KL"}
    losses = {name for row in rows for name in row if name.endswith(OF_A_PLAYER)}
    names |= {name: name.replace("_", " ") for name in sorted(losses)}
    names[PERPLEXITY] = "perplexity of the codes"
    if first == {"bound": "reconstruction"}:
        del names["bound"]
    known = {n: name for n, name in names.items() if any(row.get(n) is not None for row in rows)}
    return known or names  # of lanes that all diverged


def bound_name(rows: Sequence[dict[str, Any]]) -> str:
    """What is compared: the ELBO, what stands in its place where there is no bound, or a bound."""
    for term, name in COMPARED.items():
        if all(row["bound"] == row.get(term) for row in rows):
            return name
    return "bound"


def elbo_lines(
    left: float, right: float, low: float, high: float
) -> list[tuple[float, tuple[float, float], tuple[float, float]]]:
    """(-ELBO, rates, distortions) of lines of constant ELBO that cross a plane.

    Rates are from `left` to `right` and distortions from `low` to `high`, nats; the ends of a line
    are at the edges. -ELBO = rate + distortion is at round numbers.

    References: Alemi et al. (2018), "Fixing a broken ELBO", section 3.
    """
    step = round_step((right - left + high - low) / 6)
    lines = []
    for i in range(math.ceil((left + low) / step), math.floor((right + high) / step) + 1):
        total = i * step
        start, end = max(left, total - high), min(right, total - low)
        if end > start:
            lines.append((total, (start, end), (total - start, total - end)))
    return lines


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
    points = [
        (
            rates[0] + t * (rates[1] - rates[0]),
            distortions[0] + t * (distortions[1] - distortions[0]),
        )
        for t in (i / 24 for i in range(25))
    ]
    inside = [
        (x, y)
        for x, y in points
        if left + wide <= x <= right - wide and low + tall <= y <= high - tall
    ]

    def room(point: tuple[float, float]) -> float:
        distances = [math.hypot((point[0] - x) / wide, (point[1] - y) / tall) for x, y in taken]
        return min(distances, default=math.inf)

    return max(inside, key=room, default=None)


def round_step(about: float) -> float:
    """The least number not below `about` that is 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(max(about, 1e-30)))
    return next(n * power for n in (1, 2, 5, 10) if n * power >= 0.999 * about)
