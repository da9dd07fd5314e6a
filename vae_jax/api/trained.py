"""A trained lane: its model, its results, and functions of images."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vae_jax.api.arguments import (
    batch_of,
    classes_of,
    codes_of,
    floats,
    known_units,
    pictures,
    scaled,
)
from vae_jax.checks import number, whole, written
from vae_jax.checks import seed as seed_of
from vae_jax.config.build import lane_spec
from vae_jax.data.dataset import Dataset
from vae_jax.data.units import Units
from vae_jax.devices.setup import pinned
from vae_jax.errors import UserError
from vae_jax.evaluation.importance_sampling import importance_sampling
from vae_jax.figures import style
from vae_jax.frames import history, results
from vae_jax.functions import decode
from vae_jax.models import ModelSpec, make_model
from vae_jax.models.model import (
    Model,
    Variables,
    descend,
    generate,
    joined,
    kl_by_unit,
    latents,
    layer_sizes,
    posterior_mean,
    posterior_means,
    posterior_samples,
    reconstruct,
)
from vae_jax.objectives.elbo import elbo_terms
from vae_jax.reports import run_figures
from vae_jax.runs.checkpoint import Progress
from vae_jax.runs.run import Run
from vae_jax.words import count

SPLITS = ("train", "validation", "test")
MODELS = 32  # whose compiled functions are kept
BATCH = 1_000  # images at a time; the result does not depend on it
DECODINGS = 1_000_000  # samples times images at a time, of nll


@functools.lru_cache(MODELS)
def compiled(spec: ModelSpec, sizes: tuple[int, ...]) -> dict[str, Callable]:
    """Functions of (variables, ...) of the model; lanes with an equal model share them."""
    model = make_model(spec)

    def decoded(variables, z, label):
        return decode(model, variables, z, label).mean()

    def descended(variables, z, label, layer):
        return descend(model, variables, z, sizes, layer, label)

    def codes(variables, x, label):
        trace = model.trace(variables, posterior_means, x, label)
        return joined(latents(trace))[0], kl_by_unit(trace)

    def scales(variables, x, label):
        """The sd of q(z | x) of each layer, the bottom first; None: it is not known."""
        take = posterior_samples(model, jax.random.key(0), 1)
        layers = model.trace(variables, take, x, label).layers[::-1]
        known = [getattr(layer.q, "scale", None) for layer in layers]
        return [None if scale is None else scale() for scale in known]

    def terms(variables, x, label):
        return elbo_terms(model, variables, jax.random.key(0), x, 1, label).parts

    def log_likelihood(variables, x, key, label, num_samples):
        return importance_sampling(model, variables, key, x, num_samples, label).log_likelihood

    return {
        "encode": jax.jit(functools.partial(posterior_mean, model)),
        "reconstruct": jax.jit(functools.partial(reconstruct, model)),
        "decode": jax.jit(decoded),
        "generate": jax.jit(functools.partial(generate, model), static_argnums=2),
        "descend": jax.jit(descended, static_argnums=3),
        "codes": jax.jit(codes),
        "scales": jax.jit(scales),
        "terms": jax.jit(terms),
        "log_likelihood": jax.jit(log_likelihood, static_argnums=4),
    }


@dataclasses.dataclass(frozen=True)
class Trained:
    """The best params of one lane of a run, and functions of images.

    Images go in as [n, height, width] or [n, height, width, channels] (one image without n), in the
    units of the training images, and come out as floats in the same shape. They are taken as they
    were at training: uint8 of 0 to 255, uint8 of 0 and 1, booleans, or floats; those in other units
    are refused. A model that reads labels takes them as `labels` [n]: as they were given at
    training, or names of `class_names`.

    A wrong argument raises UserError.
    """

    workdir: Path
    lane: int  # its number in the run or sweep
    model: Model
    variables: Variables
    data: Dataset | None  # None: the images are not where they were
    run: Run  # of its program
    progress: Progress

    def __repr__(self) -> str:
        values = self.run.values
        return (
            f"<lane {self.lane} of {self.workdir}: {values['model.name']}, "
            f"{self.latent_size} latent units, images {self.image_shape}>"
        )

    @property
    def config(self) -> dict[str, Any]:
        """Its whole config: {"model.latent_size": 2, ...}."""
        return dict(self._own.values)

    @property
    def params(self) -> Any:
        """The params of the networks."""
        return self.variables["params"]

    @property
    def results(self):
        """The test-set results of all lanes: a pandas DataFrame, one row for each lane."""
        return results(self.workdir)

    @property
    def history(self):
        """The metrics of all lanes: a pandas DataFrame, one row for each lane, step and split."""
        return history(self.workdir)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.run.data.image_shape

    @property
    def latent_size(self) -> int:
        """The number of latent units, of all layers."""
        return sum(self._sizes)

    @property
    def _at(self) -> int:
        return next(i for i, lane in enumerate(self.run.lanes) if lane.number == self.lane)

    @property
    def _own(self):
        return self.run.lanes[self._at]

    @property
    def reads_labels(self) -> bool:
        """Whether its functions take labels."""
        return self.run.spec.model.abilities.reads_labels

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, in the order of `data.test.labels`: 0, 1, ...

        Those of labels that were numbers are these numbers, as texts.
        """
        data = self.run.data
        return data.class_names or tuple(map(str, range(data.num_classes)))

    @functools.cached_property
    def _sizes(self) -> tuple[int, ...]:
        label = np.zeros(1, np.int32) if self.reads_labels else None
        return layer_sizes(self.model, self.variables, label)

    @property
    def _functions(self) -> dict[str, Callable]:
        return compiled(lane_spec(self._own.values, self.run.data).model, self._sizes)

    def images(self, split: str = "test") -> np.ndarray:
        """The images of a set, in their shape: [n, height, width], with several channels
        [n, height, width, channels].

        They are uint8, 0 to 255, or floats; binarised, where the config says so. With the
        binarisation "dynamic" the training images are still grey.

        Args:
          split: "train", "validation" or "test".

        Raises:
          UserError: another set; the images are not where they were.
        """
        if split not in SPLITS:
            raise UserError(f"split = {written(split)} should be one of {', '.join(SPLITS)}")
        if self.data is None:
            raise UserError("the images are not where they were: load(..., data_path=) says where")
        return self._images(getattr(self.data, split).images)

    @pinned()
    def encode(self, images, labels=None) -> np.ndarray:
        """The posterior means [n, l]."""
        x, y, _ = self._inputs(images, labels)
        return self._in_batches("encode", x, y)

    @pinned()
    def reconstruct(self, images, labels=None) -> np.ndarray:
        """E[x | z] at the posterior means: images."""
        x, y, shape = self._inputs(images, labels)
        return self._in_batches("reconstruct", x, y).reshape(shape)

    @pinned()
    def codes(self, images, labels=None) -> tuple[np.ndarray, np.ndarray | None]:
        """The posterior means [n, l], and the mean KL of each unit [l]; None: no closed form."""
        x, y, _ = self._inputs(images, labels)
        codes_nl, kl_nl = self._functions["codes"](self.variables, x, y)
        return np.asarray(codes_nl), None if kl_nl is None else np.asarray(kl_nl).mean(axis=0)

    @pinned()
    def posterior(self, image, label=None) -> dict[str, Any]:
        """Of one image: "mean" and "sd" [l] of q(z | x); "elbo", "reconstruction" and "kl", nats.

        The terms are of one sample of z; a sd is NaN where it is not known, as that of a flow.
        """
        x, y, _ = self._inputs(image, label)
        if len(x) > 1:
            raise UserError(f"posterior() is of one image, and these are {len(x)}")
        mean_l = self._in_batches("encode", x, y)[0]
        found = self._functions["scales"](self.variables, x, y)
        sd = [
            np.full(size, np.nan) if own is None else np.asarray(own)[0, 0]
            for own, size in zip(found, self._sizes[::-1], strict=True)
        ]
        terms = self._functions["terms"](self.variables, x, y)
        numbers = {name: float(np.asarray(term)[0]) for name, term in terms.items()}
        return {"mean": mean_l, "sd": np.concatenate(sd)} | numbers

    @pinned()
    def pictures(self, images) -> np.ndarray:
        """Images as [n, height, width, channels] floats, 0 to 1, for looking at them.

        Floats may also be what the model gives.
        """
        return pictures(images, self.image_shape, self._units)

    @pinned()
    def decode(self, codes, labels=None) -> np.ndarray:
        """E[x | z] of codes [n, l] (or one code [l]): images."""
        z, single = codes_of(codes, self.latent_size)
        images = self._decoded(z, self._labels(labels, len(z)))
        return images[0] if single else images

    def _decoded(self, z: np.ndarray, y) -> np.ndarray:
        return self._images(self._in_batches("decode", z, y))

    @pinned()
    def generate(
        self, n: int = 16, seed: int = 0, labels=None, temperature: Any = None
    ) -> np.ndarray:
        """E[x | z] for n samples z of the prior: images.

        temperature: multiplies the distance of z from the prior's mean: a number, or one for each
        layer, the top first; None: 1.
        """
        n, seed = whole(1)("n", n), seed_of("seed", seed)
        y = self._labels(labels, n)
        if temperature is not None:
            layers = len(self._sizes)
            given = floats(temperature, "temperature")
            if given.shape not in ((), (layers,)):
                raise UserError(f"temperature should be a number, or {count(layers, 'number')}")
            for own in given.ravel():
                number(0)("temperature", own)
            temperature = np.broadcast_to(given, (layers,))
        key, made = jax.random.key(seed), self._functions["generate"]
        return self._images(made(self.variables, key, n, y, temperature))

    @pinned()
    def descend(self, codes, layer: int = 0, labels=None) -> np.ndarray:
        """Codes [n, l], each layer below `layer` (0: the top) at its mean given those above."""
        layer = whole(0, len(self._sizes) - 1)("layer", layer)
        z, _ = codes_of(codes, self.latent_size)
        y = self._labels(labels, len(z))
        return np.asarray(self._functions["descend"](self.variables, z, y, layer))

    @property
    def layers(self) -> np.ndarray:
        """The layer of each latent unit [l], 0 at the top."""
        n = len(self._sizes)
        return np.repeat(np.arange(n)[::-1], self._sizes[::-1])

    @pinned()
    def interpolate(self, one, other, steps: int = 11, labels=None) -> np.ndarray:
        """Images along the straight line between the codes of two images: [steps, ...].

        Of several pairs [n, ...]: [n, steps, ...].
        """
        steps = whole(1)("steps", steps)
        x, y, _ = self._inputs(one, labels)
        other_x, _, _ = self._inputs(other, labels)
        if len(x) != len(other_x):
            raise UserError(f"{len(x)} images and {len(other_x)} can't be paired")
        start, end = (self._in_batches("encode", own, y)[:, None] for own in (x, other_x))
        along = np.linspace(0, 1, steps, dtype=np.float32)[None, :, None]
        codes = (1 - along) * start + along * end
        repeated = None if y is None else np.repeat(y, steps)
        images = self._decoded(codes.reshape(-1, codes.shape[-1]), repeated)
        images = images.reshape(len(x), steps, *images.shape[1:])
        single = all(batch_of(own, self.image_shape)[1] for own in (one, other))
        return images[0] if single else images

    @pinned()
    def nll(self, images, num_samples: int = 1_000, seed: int = 0, labels=None) -> np.ndarray:
        """-log p(x) of each image [n], nats, by importance sampling.

        Raises:
          UserError: grey images, and the likelihood is one of binary images.
        """
        num_samples, seed = whole(1)("num_samples", num_samples), seed_of("seed", seed)
        x, y, _ = self._inputs(images, labels)
        if self._support == "binary" and not np.isin(x, (0, 1)).all():
            raise UserError(
                "the model is one of binary images, and these are grey: log p(x) is of "
                "(images > 0.5), for floats"
            )
        key, batch = jax.random.key(seed), max(1, DECODINGS // num_samples)
        parts = [
            self._functions["log_likelihood"](
                self.variables,
                x[i : i + batch],
                jax.random.fold_in(key, i),
                None if y is None else y[i : i + batch],
                num_samples,
            )
            for i in range(0, len(x), batch)
        ]
        return -np.concatenate([np.asarray(part) for part in parts])

    @pinned()
    def figures(self) -> dict[str, Any]:
        """The figures of this lane, as matplotlib figures by name."""
        if self.data is None:
            raise UserError("the images are not where they were, and the figures show them")
        with style.shown() as found:
            run_figures.draw_lane(self.run, self.progress, self._at, self.workdir)
        return found

    @property
    def _units(self) -> Units | None:
        return known_units(self.run.data.units, self._support)

    @property
    def _support(self) -> str:
        return self.run.spec.model.likelihood.support

    def _inputs(self, images, labels) -> tuple[np.ndarray, Any, tuple[int, ...]]:
        """x [n, d], the classes [n], and the shape of the images that come out.

        Raises:
          UserError: another shape, type or units than the training images have; wrong labels.
        """
        batch, single = batch_of(images, self.image_shape)
        x = scaled(batch, self._units, self._support)
        return x, self._labels(labels, len(x)), batch.shape[single:]

    def _labels(self, labels, n: int):
        """The classes [n]; None: the model reads none."""
        if not self.reads_labels:
            if labels is not None:
                raise UserError("this model reads no labels; leave them out")
            return None
        if labels is None:
            raise UserError("this model reads labels: give labels=, one an image")
        return classes_of(labels, n, self.class_names)

    def _images(self, x) -> np.ndarray:
        """Rows [n, d] as images."""
        height, width, channels = self.image_shape
        shape = (height, width) if channels == 1 else self.image_shape
        return np.asarray(x).reshape(len(x), *shape)

    def _in_batches(self, name: str, rows: np.ndarray, y) -> np.ndarray:
        function = self._functions[name]
        parts = [
            function(self.variables, rows[i : i + BATCH], None if y is None else y[i : i + BATCH])
            for i in range(0, len(rows), BATCH)
        ]
        return np.concatenate([np.asarray(part) for part in parts])
