"""Writes a trained lane as a folder that leaves."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import vae_jax
from vae_jax.api.folders import load
from vae_jax.api.trained import Trained
from vae_jax.config.schema import DATA_PATH
from vae_jax.devices.setup import pinned
from vae_jax.errors import UserError
from vae_jax.exports.card import card
from vae_jax.exports.folder import (
    CARD,
    CONFIG,
    FORMAT,
    SUFFIX,
    Description,
    Function,
    file_of,
    is_export,
    read_description,
    sealed,
)
from vae_jax.exports.functions import (
    FUNCTIONS,
    LABEL,
    PLATFORMS,
    exported,
    flattened,
    refuse_without_packages,
    shapes_of,
)
from vae_jax.folders.exported import WEIGHTS
from vae_jax.folders.folder import read_results
from vae_jax.folders.lanes import STOPPED
from vae_jax.models.model import layer_sizes, names_of_layers
from vae_jax.sections.checks import path_of, written
from vae_jax.training.spec import START_FROM
from vae_jax.words import reason

PRIVATE = (DATA_PATH, START_FROM)  # keys that say where something is on this machine
MOST_LETTERS = 200  # of a licence


@pinned()
def export(run: Trained, to: str | os.PathLike[str], licence: str = "") -> Path:
    """Writes one lane as a folder of weights and functions; returns the folder.

    It is there whole, or not at all. Two exports of one lane are equal byte for byte.

    Args:
      run: of `vae_jax.load`, or its `with_sampler`.
      to: a new folder.
      licence: what others may do with the model, as the model card says it.

    Raises:
      UserError: the run is not finished; the folder is there; a package is missing.
    """
    refuse_without_packages()
    to = target(run, to)
    if not isinstance(licence, str) or len(licence) > MOST_LETTERS or not licence.isprintable():
        raise UserError(
            f"licence = {written(licence)} should be a line of at most {MOST_LETTERS} letters, "
            "such as 'CC BY 4.0'"
        )
    contents = contents_of(run, results_of(run), licence)
    try:
        write_folder(to, contents)
    except OSError as error:
        raise UserError(
            f"{to} can't be written ({error.strerror}); mend that, or take another folder"
        ) from error
    return to


def export_lane(
    workdir: Path, lane: int | None, to: Path, licence: str = "", trust: bool = False
) -> None:
    """Exports a lane of the run, sweep or search in `workdir`, and prints what that holds.

    Args:
      lane: its number; None: the best.
      trust: as in `vae_jax.load`.

    Raises:
      UserError: as `vae_jax.load` and `export`.
    """
    print(told(export(load(workdir, lane, trust=trust), to, licence)))


def results_of(run: Trained) -> dict[str, Any]:
    """results.json of the run.

    Raises:
      UserError: there is none; its training goes on.
    """
    results = read_results(run.workdir)
    own = next((lane for lane in results["lanes"] if lane["lane"] == run.lane), None)
    if own is None or not (results["finished"] or own["status"] == STOPPED):
        raise UserError(
            f"{run.workdir} is not finished; the command that trains it goes on, and what it ends "
            "with can be exported"
        )
    return results


def write_folder(to: Path, contents: Mapping[str, bytes]) -> None:
    """Writes the files into a folder of another name beside `to`, which then gets this name."""
    to.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{to.name}.", dir=to.parent))
    try:
        temporary.chmod(0o777 & ~umask())
        for name, content in contents.items():
            (temporary / name).write_bytes(content)
        os.rename(temporary, to)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def told(to: Path) -> str:
    """Lines that say what an export holds."""
    description = read_description(to)
    size = sum(file["bytes"] for file in description["files"].values())
    return "\n".join(
        [
            f"lane {description['lane']}, seed {description['seed']}, as of step "
            f"{description['step']:,}: {', '.join(sorted(description['functions']))}",
            *(f"no {name}: {why}" for name, why in description["left_out"].items()),
            f"export       {to} ({size:,} bytes)",
        ]
    )


def umask() -> int:
    """The mask of this process, which can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def target(run: Trained, to: Any) -> Path:
    """The folder to write, absolute.

    Raises:
      UserError: it is no path; it is there, and not empty; it is in the run folder.
    """
    if not isinstance(to, str | os.PathLike) or not os.fspath(to):
        raise UserError(f"to = {written(to)} should be the path of a new folder")
    path = path_of(os.fspath(to)).absolute()
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is a file; take a new folder")
    if path.is_dir() and any(path.iterdir()):
        if is_export(path):
            raise UserError(f"{path} holds an export; remove it, or take another folder")
        raise UserError(f"{path} is not empty, and holds no export; take another folder")
    if path.resolve().is_relative_to(run.workdir.resolve()):
        raise UserError(f"{path} is in the run folder {run.workdir}; take a folder outside of it")
    return path


def contents_of(run: Trained, results: Mapping[str, Any], licence: str) -> dict[str, bytes]:
    """{name: content} of all files of an export."""
    import safetensors.numpy

    flat = flattened(run.variables)
    contents = {WEIGHTS: safetensors.numpy.save(flat)}
    functions, left_out = functions_of(run, contents)
    description = describe(run, flat, functions, left_out, licence)
    contents[CARD] = card(description, results).encode()
    files = {name: file_of(content) for name, content in sorted(contents.items())}
    contents[CONFIG] = sealed(description | {"files": files})
    return contents


def functions_of(
    run: Trained, contents: dict[str, bytes]
) -> tuple[dict[str, Function], dict[str, str]]:
    """What config.json says of the functions, and why some are left out; adds their files."""
    functions: dict[str, Function] = {}
    left_out: dict[str, str] = {}
    sizes = {"d": int(np.prod(run.image_shape)), "l": run.latent_size, "2": 2}
    for name, what in FUNCTIONS.items():
        try:
            found = exported(name, run.model, run.variables, sizes, reads_labels=run.reads_labels)
        except UserError as error:  # it has no meaning for this model
            left_out[name] = reason(error)
            continue
        arguments = (*what.arguments, *([LABEL] if run.reads_labels else []))
        functions[name] = {
            "file": f"{name}{SUFFIX}",
            "arguments": [
                {
                    "name": own.name,
                    "shape": ["b", *(sizes[axis] for axis in own.axes)],
                    "dtype": own.dtype,
                }
                for own in arguments
            ],
            "returns": found.returns,
        }
        contents[f"{name}{SUFFIX}"] = found.serialized
    return functions, left_out


def describe(
    run: Trained,
    flat: Mapping[str, np.ndarray],
    functions: dict[str, Function],
    left_out: dict[str, str],
    licence: str,
) -> Description:
    """config.json, but for the files."""
    identity, spec = run.run.data.identity, run.run.spec.model
    place = next(i for i, own in enumerate(run.run.lanes) if own.number == run.lane)
    label = np.zeros(1, np.int32) if run.reads_labels else None
    sizes = layer_sizes(run.model, run.variables, label)[::-1]
    return {
        "format": FORMAT,
        "vae_jax": vae_jax.__version__,
        "jax": version("jax"),
        "lane": run.lane,
        "seed": run.run.lanes[place].seed,
        "step": int(run.progress.best.step[place]),
        "latent_size": run.latent_size,
        "layers": [
            {"name": name, "size": size}
            for name, size in zip(names_of_layers(run.model)[::-1], sizes, strict=True)
        ],
        "images": {
            "shape": run.image_shape,
            "units": identity.get("units"),
            "support": spec.likelihood.support,
        },
        "reads_labels": run.reads_labels,
        "class_names": list(run.run.data.given_names),
        "dataset": dict(identity),
        "sampler": None if run.sampler is None else type(run.sampler.kind).__name__,
        "licence": licence,
        "platforms": list(PLATFORMS),
        "functions": functions,
        "left_out": left_out,
        "params": shapes_of(flat),
        "config": {key: "" if key in PRIVATE else value for key, value in run.config.items()},
        "files": {},
    }
