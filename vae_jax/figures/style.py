"""What all figures share: colours, sizes, and how a file is written."""

import math
import os
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Paul Tol's "muted" scheme: ten colours that colour-blind readers tell apart.
COLOURS = (
    "#332288", "#88CCEE", "#44AA99", "#117733", "#999933",
    "#DDCC77", "#CC6677", "#882255", "#AA4499", "#888888",
)  # fmt: skip


def figure(width: float, height: float, title: str) -> "Figure":
    """An empty figure of that many inches, titled."""
    from matplotlib.figure import Figure  # 0.4 s, which training's first step need not wait for

    fig = Figure(figsize=(width, height), layout="constrained")
    longest = int(13 * width)  # characters of that size
    lines = [part for line in title.split("\n") for part in textwrap.wrap(line, longest)]
    fig.suptitle("\n".join(lines), fontsize=9)
    return fig


def save(fig: "Figure", path: Path) -> None:
    """Writes a PNG under a temporary name and renames it; makes its folder."""
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    # Without the Software entry, equal figures are equal files.
    fig.savefig(temporary, format="png", dpi=110, metadata={"Software": None})
    os.replace(temporary, path)


def panels(rows: Iterable[dict[str, Any]]) -> dict[str, str]:
    """What is plotted of such rows, and its name: the bound, "ELBO" where it is that itself."""
    is_elbo = all(row["bound"] == row["elbo"] for row in rows)
    return {
        "bound": "ELBO" if is_elbo else "bound",
        "reconstruction": "reconstruction",
        "kl": "KL",
    }


def round_step(about: float) -> float:
    """1, 2 or 5 times a power of ten: the least that is not below `about`."""
    power = 10.0 ** math.floor(math.log10(max(about, 1e-30)))
    return next(n * power for n in (1, 2, 5, 10) if n * power >= 0.999 * about)
