"""The files of an export, and how they are checked before anything is made of them.

    config.json        what the model is, what its functions take, and the checksums of all files
    model.safetensors  the weights
    *.jaxexport        the functions
    README.md          the model card

config.json has a checksum of itself too: a bit that flipped anywhere is found.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from vae_jax.errors import UserError
from vae_jax.folders.exported import WEIGHTS
from vae_jax.folders.schemas import decode, read_bytes, without_waiting

FORMAT = 1

CONFIG = "config.json"
CARD = "README.md"
SUFFIX = ".jaxexport"

LARGEST_CONFIG = 4_000_000  # bytes


class File(TypedDict):
    """What a file has to be."""

    bytes: int
    sha256: str


class Shape(TypedDict):
    """An array: its axes, which are sizes, or "b" for that of the batch; and its type."""

    shape: list[int | str]
    dtype: str


class Named(Shape):
    """An argument."""

    name: str


class Function(TypedDict):
    """A function: its arguments after the params, in their order; and what it returns."""

    file: str
    arguments: list[Named]
    returns: dict[str, str]  # {name in the dict, or "" of a single array: axes and meaning}


class Images(TypedDict):
    """The images that the model is of."""

    shape: tuple[int, int, int]  # height, width, channels
    units: dict[str, Any] | None  # vae_jax.data.units.Units of those that it was trained on
    support: str  # of the likelihood


class Layer(TypedDict):
    """A layer of latents."""

    name: str
    size: int


class Description(TypedDict):
    """config.json."""

    format: int
    vae_jax: str  # the version that wrote it
    jax: str
    lane: int
    seed: int
    step: int
    latent_size: int  # of all layers
    layers: list[Layer]  # the bottom first, as they are in z
    images: Images
    reads_labels: bool
    class_names: list[str]
    dataset: dict[str, Any]  # its identity
    sampler: str | None  # in place of the prior
    licence: str
    platforms: list[str]
    functions: dict[str, Function]
    left_out: dict[str, str]  # {function: why there is none}
    params: dict[str, Shape]
    config: dict[str, Any]  # the values of the run's config
    files: dict[str, File]
    checksum: NotRequired[str]  # of all else here


class Version(TypedDict):
    """What is the same in config.json of every format."""

    format: int


def sealed(description: Mapping[str, Any]) -> bytes:
    """config.json of a description, with its checksum."""
    rest = {name: value for name, value in description.items() if name != "checksum"}
    return text_of(rest | {"checksum": hashlib.sha256(text_of(rest)).hexdigest()})


def text_of(content: Mapping[str, Any]) -> bytes:
    """Strict JSON, which depends on the content alone."""
    return (json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def file_of(content: bytes) -> File:
    """What config.json says of a file."""
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def is_export(folder: Path) -> bool:
    """Whether the folder looks like an export: it is not read."""
    return all((folder / name).is_file() for name in (CONFIG, WEIGHTS))


def read_description(folder: Path) -> Description:
    """config.json of an export of this format, after all files were compared with it.

    No file is read into memory before its size and sum are as they should be.

    Raises:
      UserError: it is no export, or one of another format; a file is missing or changed.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; give that of an export of `vae-jax export`")
    path = folder / CONFIG
    if not path.is_file():
        raise UserError(
            f"{folder} holds no export (no {CONFIG}); `vae-jax export --workdir=RUN --to={folder}` "
            "makes one"
        )
    if path.stat().st_size > LARGEST_CONFIG:
        raise UserError(
            f"{path} has {path.stat().st_size:,} bytes, and that of an export has at most "
            f"{LARGEST_CONFIG:,}; copy the folder anew"
        )
    content = read_bytes(path)
    if not (folder / WEIGHTS).is_file() and b'"checksum"' not in content:
        raise UserError(
            f"{folder} holds a run or another thing, and no export; "
            f"`vae-jax export --workdir={folder}` makes one of a run"
        )
    written = decode(content, dict[str, Any], str(path))
    if written.get("format") != FORMAT:
        raise UserError(
            f"{folder} is an export of format {str(written.get('format'))[:20]}, and vae_jax here "
            f"reads format {FORMAT}; export it again, or take the vae_jax that wrote it "
            f"({str(written.get('vae_jax'))[:20]})"
        )
    if sealed(written) != content:
        raise UserError(f"{path} is not what was exported: its checksum differs; {ANEW}")
    description: Description = decode(content, Description, str(path))
    refuse_names(path, description)
    for name, file in description["files"].items():
        refuse_changed(folder / name, file)
    return description


ANEW = "copy the folder anew, or export it again"


def refuse_names(path: Path, description: Description) -> None:
    """Raises UserError for a name that is no file of the folder itself, or has no checksum."""
    named = {WEIGHTS, CARD, *(own["file"] for own in description["functions"].values())}
    if wrong := [name for name in description["files"] if Path(name).name != name]:
        raise UserError(f"{path} names {wrong[0][:50]!r}, which is no file of an export; {ANEW}")
    if missing := sorted(named - set(description["files"])):
        raise UserError(f"{path} has no checksum of {missing[0][:50]!r}; {ANEW}")


def refuse_changed(path: Path, file: File) -> None:
    """Raises UserError unless the file has its size and sum; it is read a block at a time."""
    if not path.is_file():  # or a pipe, which would never end
        raise UserError(f"{path} is missing; {ANEW}")
    size = path.stat().st_size
    if size != file["bytes"]:
        raise UserError(f"{path} has {size:,} bytes, and {file['bytes']:,} were exported; {ANEW}")
    try:
        with open(path, "rb", opener=without_waiting) as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror})") from error
    if found != file["sha256"]:
        notes = "; notes of your own belong into another file" if path.name == CARD else ""
        raise UserError(
            f"{path} is not what was exported: its sha256 is {found[:16]}..., and "
            f"should be {file['sha256'][:16]}...; {ANEW}{notes}"
        )
