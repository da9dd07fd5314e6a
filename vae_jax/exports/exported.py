"""An export that is loaded: functions of images, by its programs and weights alone."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export as jax_export
from numpy.typing import ArrayLike

import vae_jax
from vae_jax.api.arguments import (
    BATCH,
    Labels,
    batch_of,
    codes_of,
    in_shape,
    known_classes,
    known_units,
    scaled,
)
from vae_jax.data.units import from_record
from vae_jax.devices.setup import pinned
from vae_jax.errors import UserError, tell
from vae_jax.exports.folder import ANEW, Description, Function, Shape, read_description
from vae_jax.exports.functions import refuse_without_packages, shapes_of
from vae_jax.exports.hub import HUB, from_hub
from vae_jax.exports.rebuild import UnreadProgram, rebuilt
from vae_jax.folders.exported import WEIGHTS
from vae_jax.folders.schemas import read_bytes
from vae_jax.sections.checks import path_of, whole, written
from vae_jax.sections.checks import seed as seed_of
from vae_jax.words import reason


@dataclasses.dataclass(frozen=True)
class Exported:
    """A model that was exported, and functions of images.

    Images go in and come out, and labels go in, as in `Trained`. A wrong argument, or a function
    that the model does not have, raises UserError.
    """

    folder: Path
    description: Description  # config.json
    params: dict[str, np.ndarray]  # by their paths, such as "params/encoder/output/bias"
    functions: dict[str, Callable[..., Any]]  # (params, arrays [b, ...]) -> arrays, compiled by jax

    def __repr__(self) -> str:
        return (
            f"<export {self.folder}: {self.config['model.name']}, {self.latent_size} latent units, "
            f"images {self.image_shape}; {', '.join(self.functions)}>"
        )

    @property
    def config(self) -> dict[str, Any]:
        """The config of its run: {"model.latent_size": 2, ...}."""
        return self.description["config"]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The shape of an image: (height, width, channels)."""
        height, width, channels = self.description["images"]["shape"]
        return height, width, channels

    @property
    def latent_size(self) -> int:
        """The number of latent units, of all layers."""
        return self.description["latent_size"]

    @property
    def reads_labels(self) -> bool:
        """Whether its functions take labels."""
        return self.description["reads_labels"]

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes 0, 1, ..."""
        return tuple(self.description["class_names"])

    def encode(self, images: ArrayLike, labels: Labels = None) -> np.ndarray:
        """The posterior means [n, l]."""
        return self.posterior(images, labels)["mean"]

    def posterior(self, images: ArrayLike, labels: Labels = None) -> dict[str, np.ndarray]:
        """ "mean" [n, l] of q(z | x), and "sd" [n, l] where it has one."""
        x, y = self._inputs(images, labels)
        return self._call("encode", [x], y)

    def decode(self, codes: ArrayLike, labels: Labels = None) -> np.ndarray:
        """E[x | z] of codes [n, l] (or one code [l]): images.

        An autoregressive decoder has none: then each value's mean given a sample's values before
        it; the noise of that is that of seed 0.
        """
        z, single = codes_of(codes, self.latent_size)
        images = self._images(self._call("decode", [z], self._labels(labels, len(z))))
        return images[0] if single else images

    def generate(self, n: int = 16, seed: int = 0, labels: Labels = None) -> np.ndarray:
        """E[x | z] for n samples z of the prior: images. Image i depends on (seed, i) alone.

        With seed 0 it is `run.generate(1, seed=i)` of the run.
        """
        n, seed = whole(1)("n", n), seed_of("seed", seed)
        return self._images(self._call("generate", [keys(seed, n)], self._labels(labels, n)))

    def elbo(self, images: ArrayLike, labels: Labels = None, seed: int = 0) -> np.ndarray:
        """The ELBO of each image [n], nats, by one sample of z, which depends on (seed, i) alone.

        Raises:
          UserError: grey images, and the likelihood is one of binary images.
        """
        x, y = self._inputs(images, labels)
        seed = seed_of("seed", seed)
        if self.description["images"]["support"] == "binary" and not np.isin(x, (0, 1)).all():
            raise UserError(
                "the model is one of binary images, and these are grey: the ELBO is of "
                "(images > 0.5), for floats"
            )
        return self._call("elbo", [keys(seed, len(x)), x], y)

    def _inputs(self, images: ArrayLike, labels: Labels) -> tuple[np.ndarray, np.ndarray | None]:
        """x [n, d], and the classes [n]."""
        of = self.description["images"]
        batch, _ = batch_of(images, self.image_shape)
        x = scaled(batch, known_units(from_record(of["units"]), of["support"]), of["support"])
        return x, self._labels(labels, len(x))

    def _labels(self, labels: Labels, n: int) -> np.ndarray | None:
        y = known_classes(labels, n, self.class_names if self.reads_labels else None)
        return None if y is None else np.asarray(y, np.int32)

    def _images(self, x: np.ndarray) -> np.ndarray:
        return in_shape(self.image_shape, x)

    @pinned()
    def _call(self, name: str, rows: list[np.ndarray], y: np.ndarray | None) -> Any:
        """What a function gives of all rows, some at a time."""
        if name not in self.functions:
            why = self.description["left_out"].get(name, "it was not exported")
            raise UserError(f"this export has no {name}: {why}")
        arrays = rows if y is None else [*rows, y]
        parts = []
        for i in range(0, len(rows[0]), BATCH):
            try:
                part = self.functions[name](self.params, *(a[i : i + BATCH] for a in arrays))
            except (ValueError, TypeError, NotImplementedError) as error:
                raise UserError(
                    f"{name} of {self.folder} does not run here ({reason(error)[:200]}): it was "
                    f"written with jax {self.description['jax']} for "
                    f"{', '.join(self.description['platforms'])}, and here are jax "
                    f"{jax.__version__} and {jax.default_backend()}"
                ) from error
            parts.append(part)
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def keys(seed: int, n: int) -> np.ndarray:
    """Two numbers for each example, (seed, 0), (seed, 1), ...: uint32 [n, 2]."""
    return np.stack([np.full(n, seed), np.arange(n)], axis=1).astype(np.uint32)


def load_exported(folder: str | os.PathLike[str]) -> Exported:
    """The export in a folder. All of its files are checked first, and no pickle is read.

    Where jax can't read programs of another jax, they are made anew of config and weights.

    folder: or "hf:owner/name", of the Hugging Face hub.

    Raises:
      UserError: it is no export; a file is missing, or is not what was exported; it is of another
        format; jax here can't read its programs, and they can't be made anew.
    """
    refuse_without_packages()
    if not isinstance(folder, str | os.PathLike) or not os.fspath(folder):
        raise UserError(f"folder = {written(folder)} should be the folder of an export")
    name = os.fspath(folder)
    path = from_hub(name) if name.startswith(HUB) else path_of(name).absolute()
    description = read_description(path)
    try:
        functions = {
            name: read_function(path, function, description)
            for name, function in description["functions"].items()
        }
    except UnreadProgram as error:
        if description["jax"] == jax.__version__:  # then no other jax would read it
            raise
        functions = rebuilt(description, error)
        tell(f"{error}; its functions are made of its config, by vae_jax {vae_jax.__version__}")
    return Exported(path, description, read_params(path, description["params"]), functions)


def read_params(folder: Path, shapes: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The weights, of the names, sizes and types that config.json says.

    Raises:
      UserError: the file is no safetensors file, or has other arrays.
    """
    import safetensors.numpy

    path = folder / WEIGHTS
    try:
        # It believes no header: arrays must fill the bytes that are there.
        params = safetensors.numpy.load(read_bytes(path))
    except UserError:
        raise
    except Exception as error:  # of its own, or of numpy: by what is wrong
        raise UserError(f"{path} is no safetensors file ({reason(error)[:200]}); {ANEW}") from error
    found = shapes_of(params)
    if found != shapes:
        wrong = sorted(n for n in {*found, *shapes} if found.get(n) != shapes.get(n))
        raise UserError(f"{path} has not the array {wrong[0][:100]!r} of config.json; {ANEW}")
    return params


def read_function(folder: Path, function: Function, description: Description) -> Callable[..., Any]:
    """A function, to be compiled where it is first called.

    Of another jax, it is lowered once: a program of a newer one is refused there, not before.

    Raises:
      UnreadProgram: it is no program that jax here can read.
    """
    path = folder / function["file"]
    content = bytearray(read_bytes(path))
    try:
        program = jax_export.deserialize(content)
        call = jax.jit(program.call)
        if description["jax"] != jax.__version__:
            shapes = [shape_of(own) for own in function["arguments"]]
            call.lower({n: shape_of(own) for n, own in description["params"].items()}, *shapes)
    except Exception as error:  # by what is wrong, and by the version of jax
        raise UnreadProgram(
            f"{path} is no program that jax {jax.__version__} reads ({reason(error)[:200]}); it "
            f"was written with jax {description['jax']}"
        ) from error
    return call


def shape_of(array: Shape) -> jax.ShapeDtypeStruct:
    """An array of that shape, of a batch of one."""
    sizes = [1 if axis == "b" else int(axis) for axis in array["shape"]]
    return jax.ShapeDtypeStruct(sizes, array["dtype"])
