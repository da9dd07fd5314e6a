"""Words for people."""

import functools
import math
import re
from collections.abc import Collection, Sequence

LONGEST, LEFT_OUT = 1_000, " [...] "  # letters of a message
IN_SECONDS, IN_MINUTES = 120.0, 7_200.0  # shorter durations are said in these units
# Control characters, and those that turn the direction of a text: a name with one could move the
# cursor, set the terminal's title, or hide a part of itself.
CONTROL = re.compile(r"\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


# The packages of the extras of setup.cfg that messages ask for. `pip install -e '.[EXTRA]'` would
# need a clone; their names are right beside an installed vae_jax too.
EXTRAS = {
    "anndata": "anndata",
    "cluster": "bokeh dask-jobqueue distributed",
    "evaluation": "blackjax scikit-learn",
    "export": "flatbuffers safetensors",
    "h5py": "h5py",
    "hub": "huggingface_hub",
    "hugging_face": "datasets",
    "notebook": "pandas",
    "pages": "bokeh jinja2",
    "tensorboard": "tensorboardX",
    "wandb": "wandb",
}


def to_install(extra: str) -> str:
    """The command that installs an extra, such as "pip install blackjax scikit-learn"."""
    return f"pip install {EXTRAS[extra]}"


def page(name: str) -> str:
    """The address of a page of the documentation, such as "troubles#diverged".

    Where the package is not installed, or without an address, the file in the repository.
    """
    name, hash_, part = name.partition("#")
    site = documentation()
    return f"{site}/{name}.html{hash_}{part}" if site else f"docs/{name}.md{hash_}{part}"


@functools.cache
def documentation() -> str:
    """The address of the documentation, which setup.cfg gives; "" if it is not known."""
    from importlib import metadata  # slow, and only messages need it

    try:
        urls = metadata.metadata("vae_jax").get_all("Project-URL") or []
    except metadata.PackageNotFoundError:
        return ""
    named = dict(url.split(", ", maxsplit=1) for url in urls)
    return named.get("Documentation", "").rstrip("/")


def count(number: int, noun: str) -> str:
    """A number with its noun, such as "1 lane" or "10,000 images"."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def duration(seconds: float) -> str:
    """A length of time, such as "40 s", "5 min" or "3.5 h"."""
    if seconds < IN_SECONDS:
        return f"{max(1, math.ceil(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < IN_MINUTES else f"{seconds / 3600:.1f} h"


def reason(error: BaseException) -> str:
    """The message of an error as one line; of an error without a message, its type."""
    return " ".join(str(error).split()) or type(error).__name__


def aligned(rows: Sequence[Sequence[str]], left: Collection[int] = ()) -> list[str]:
    """A line for each row of a table, with the columns in `left` to the left, others to the right.

    Columns are as wide as their widest cell, and two spaces apart.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            f"{cell:{'<' if i in left else '>'}{width}}"
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def printable(text: str) -> str:
    """The text with its control characters written out; tabs and line breaks stay."""
    return CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def as_name(text: str) -> str:
    """The text in one line, with all that can't be printed written out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def as_one_line(text: str) -> str:
    """The text as one line, without its middle if it is longer than LONGEST."""
    line = " ".join(printable(text).split())
    if len(line) > LONGEST:  # its end often says what would be right
        half = LONGEST // 2 - len(LEFT_OUT)
        line = f"{line[:half]}{LEFT_OUT}{line[-half:]}"
    return line
