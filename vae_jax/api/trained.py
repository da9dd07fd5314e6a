"""A trained lane: its model, its results, and functions of images."""

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from vae_jax.api.arguments import (
    Classes,
    Labels,
    batch_of,
    codes_of,
    in_batches,
    in_shape,
    known_classes,
    known_units,
    pictures,
    refuse_lines,
    scaled,
    temperatures,
)
from vae_jax.api.evaluations import evaluate_images
from vae_jax.api.fitted import Sampler, kept_names, kept_sampler, refuse_other_codes
from vae_jax.api.frames import history, results
from vae_jax.api.likelihood import estimated_nll, refuse_no_likelihood
from vae_jax.config.build import lane_spec
from vae_jax.data.dataset import Dataset
from vae_jax.data.stored import all_in_memory
from vae_jax.data.units import Units
from vae_jax.devices.setup import pinned
from vae_jax.errors import UserError
from vae_jax.evaluation.samplers.prior import with_sampler
from vae_jax.folders.checkpoint import Progress
from vae_jax.models import ModelSpec, make_model
from vae_jax.models.model import Model, Variables, layer_sizes, names_of_layers
from vae_jax.models.with_prior import SAMPLER
from vae_jax.reports import run_figures
from vae_jax.runs.run import Lane, Run
from vae_jax.sections.checks import seed as seed_of
from vae_jax.sections.checks import whole, written
from vae_jax.views import points
from vae_jax.views.compiled import Compiled, compiled

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class Trained:
    """The best params of one lane of a run, and functions of images.

    Images go in as [n, height, width] or [n, height, width, channels], vectors as [n, d] (one
    without n), in the units of the training data, and come out as floats in the same shape. They
    are taken as they were at training: uint8 of 0 to 255, uint8 of 0 and 1, booleans, floats or
    counts; those in other units are refused. A model that reads labels takes them as `labels` [n]:
    as they were given at training, or names of `class_names`; of data with covariates, rows [n, c].

    A wrong argument raises UserError.
    """

    workdir: Path
    lane: int  # its number in the run or sweep
    model: Model
    variables: Variables
    data: Dataset | None  # None: the images are not where they were
    run: Run  # of its program
    progress: Progress
    sampler: Sampler | None = None  # in place of the prior; None: none is

    def __repr__(self) -> str:
        values = self.run.config.values
        return (
            f"<lane {self.lane} of {self.workdir}: {values['model.name']}, "
            f"{self.latent_size} latent units, images {self.image_shape}>"
        )

    @property
    def config(self) -> dict[str, Any]:
        """Its whole config: {"model.latent_size": 2, ...}."""
        return dict(self._own.config.values)

    @property
    def params(self) -> Any:
        """The params of the networks."""
        return self.variables["params"]

    @property
    def results(self) -> "DataFrame":
        """The test-set results of all lanes: a pandas DataFrame, one row for each lane."""
        return results(self.workdir)

    @property
    def history(self) -> "DataFrame":
        """The metrics of all lanes: a pandas DataFrame, one row for each lane, step and split."""
        return history(self.workdir)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The shape of an image: (height, width, channels)."""
        return self.run.data.image_shape

    @property
    def latent_size(self) -> int:
        """The number of latent units, of all layers."""
        return sum(self._sizes)

    @property
    def _at(self) -> int:
        return next(i for i, lane in enumerate(self.run.lanes) if lane.number == self.lane)

    @property
    def _own(self) -> Lane:
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
    def _functions(self) -> Compiled:
        kind = None if self.sampler is None else self.sampler.kind
        return compiled(self._spec) if kind is None else compiled(self._spec, kind)

    @property
    def _spec(self) -> ModelSpec:
        return lane_spec(self._own.config, self.run.data).model

    def images(self, split: str = "test") -> np.ndarray:
        """The images of a set, in their shape: [n, height, width], with several channels
        [n, height, width, channels].

        They are uint8, 0 to 255, or floats; binarised, where the config says so. With the
        binarisation "dynamic" the training images are still grey.

        Args:
          split: "train", "validation" or "test".

        Raises:
          UserError: another set; the images are not where they were; they stay on disk.
        """
        if split not in SPLITS:
            raise UserError(f"split = {written(split)} should be one of {', '.join(SPLITS)}")
        if self.data is None:
            raise UserError("the images are not where they were: load(..., data_path=) says where")
        return in_shape(self.image_shape, all_in_memory(getattr(self.data, split).images))

    @pinned()
    def encode(self, images: ArrayLike, labels: Labels = None) -> np.ndarray:
        """The posterior means [n, l]."""
        x, y, _ = self._inputs(images, labels)
        return self._codes(x, y)[0]

    @pinned()
    def reconstruct(self, images: ArrayLike, labels: Labels = None, seed: int = 0) -> np.ndarray:
        """E[x | z] at the posterior means: images.

        An autoregressive decoder has none: then each value's mean given a sample's values before
        it. `seed`: of that sample; all images have the same noise.
        """
        x, y, shape = self._inputs(images, labels)
        return self._shown(self._functions.reconstruct, x, y, seed).reshape(shape)

    @pinned()
    def codes(
        self, images: ArrayLike, labels: Labels = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """The posterior means [n, l], and the mean KL of each unit [l]; None: it is not known."""
        x, y, _ = self._inputs(images, labels)
        codes_nl, kl_nl = self._codes(x, y)
        return codes_nl, None if kl_nl is None else kl_nl.mean(axis=0)

    def _codes(self, x: np.ndarray, y: Classes) -> tuple[np.ndarray, np.ndarray | None]:
        return self._in_batches(self._functions.codes, x, y)

    @pinned()
    def posterior(self, image: ArrayLike, label: Labels = None) -> dict[str, Any]:
        """What the model says of one image, by name.

        "mean" and "sd" [l] of q(z | x); "elbo", "reconstruction" and "kl", nats. These terms are of
        one sample of z; a sd is NaN where it is not known, as that of a flow.
        """
        x, y, _ = self._inputs(image, label)
        if len(x) > 1:
            raise UserError(f"posterior() is of one image, and these are {len(x)}")
        mean_l = self._codes(x, y)[0][0]
        scales = self._functions.scales(self.variables, x, y)
        sd = [
            np.full(size, np.nan) if scale is None else np.asarray(scale)[0, 0]
            for scale, size in zip(scales, self._sizes[::-1], strict=True)
        ]
        terms = self._functions.terms(self.variables, x, y)
        numbers = {name: float(np.asarray(term)[0]) for name, term in terms.items()}
        return {"mean": mean_l, "sd": np.concatenate(sd)} | numbers

    @pinned()
    def pictures(self, images: ArrayLike) -> np.ndarray:
        """Images, or the profiles of vectors, as [n, height, width, channels] floats, 0 to 1.

        Floats may also be what the model gives.
        """
        return pictures(images, self.image_shape, self._units)

    @pinned()
    def decode(self, codes: ArrayLike, labels: Labels = None, seed: int = 0) -> np.ndarray:
        """E[x | z] of codes [n, l] (or one code [l]): images; `seed` as in `reconstruct`."""
        z, single = codes_of(codes, self.latent_size)
        images = self._decoded(z, self._labels(labels, len(z)), seed)
        return images[0] if single else images

    def _decoded(self, z: np.ndarray, y: Classes, seed: int = 0) -> np.ndarray:
        return in_shape(self.image_shape, self._shown(self._functions.decode, z, y, seed))

    def _shown(self, function: Callable, rows: np.ndarray, y: Classes, seed: int) -> np.ndarray:
        """The pictures of all rows. The noise of each is that of the seed alone."""
        key = np.uint32(seed_of("seed", seed))
        return self._in_batches(lambda *batch: function(*batch, key), rows, y)

    @pinned()
    def generate(
        self,
        n: int = 16,
        seed: int = 0,
        labels: Labels = None,
        temperature: ArrayLike | None = None,
        sampler: Sampler | str | None = None,
    ) -> np.ndarray:
        """E[x | z] for n samples z of the prior, or what stands for it as in `reconstruct`: images.

        temperature: multiplies the distance of z from the prior's mean: a number, or one for each
        layer, the top first; None: 1. sampler: in place of the prior, as in `with_sampler`.
        """
        if sampler is not None:
            return self.with_sampler(sampler).generate(n, seed, labels, temperature)
        n, seed = whole(1)("n", n), seed_of("seed", seed)
        y = self._labels(labels, n)
        if temperature is not None:
            temperature = temperatures(temperature, len(self._sizes))
        arguments = (self.variables, np.uint32(seed), n, y, temperature)
        return in_shape(self.image_shape, self._functions.generate(*arguments))

    def with_sampler(self, sampler: Sampler | str) -> "Trained":
        """This lane with another p(z): a sampler of `fit_sampler`, or the name of one that an
        evaluation kept in the run folder (`samplers`).

        What is computed of p(z) is by it: generate, nll, posterior, the KL of codes. Figures,
        results and evaluate stay those of the run.
        """
        if not isinstance(sampler, Sampler):
            sampler = kept_sampler(self.run, self.progress.best, self._at, sampler)
        refuse_other_codes(sampler, self._own.config, self.latent_size)
        model = with_sampler(make_model(self._spec), sampler.kind)
        variables: Any = {**self.variables, SAMPLER: sampler.fitted}
        return dataclasses.replace(self, model=model, variables=variables, sampler=sampler)

    @property
    def samplers(self) -> tuple[str, ...]:
        """The samplers that an evaluation kept in the run folder."""
        return kept_names(self.run, self.progress.best)

    @pinned()
    def descend(self, codes: ArrayLike, layer: int = 0, labels: Labels = None) -> np.ndarray:
        """Codes [n, l], each layer below `layer` (0: the top) at its mean given those above."""
        layer = whole(0, len(self._sizes) - 1)("layer", layer)
        z, _ = codes_of(codes, self.latent_size)
        of = (self._labels(labels, len(z)), self._sizes, layer)
        return np.asarray(self._functions.descend(self.variables, z, *of))

    @property
    def layers(self) -> np.ndarray:
        """The layer of each latent unit [l], 0 at the top."""
        n = len(self._sizes)
        return np.repeat(np.arange(n)[::-1], self._sizes[::-1])

    @property
    def groups(self) -> tuple[str, ...]:
        """Of each layer, the top first: its name, or that of its map."""
        return names_of_layers(self.model)

    @pinned()
    def interpolate(
        self, one: ArrayLike, other: ArrayLike, steps: int = 11, labels: Labels = None
    ) -> np.ndarray:
        """Images between the codes of two images [steps, ...]; of n pairs, [n, steps, ...]."""
        refuse_lines("interpolate", self.run)
        steps = whole(1)("steps", steps)
        x, y, _ = self._inputs(one, labels)
        other_x, _, _ = self._inputs(other, labels)
        if len(x) != len(other_x):
            raise UserError(f"{len(x)} images and {len(other_x)} can't be paired")
        codes = points.between(self._codes(x, y)[0], self._codes(other_x, y)[0], steps)
        repeated = None if y is None else np.repeat(y, steps)
        images = self._decoded(codes.reshape(-1, codes.shape[-1]), repeated)
        images = images.reshape(len(x), steps, *images.shape[1:])
        single = all(batch_of(image, self.image_shape)[1] for image in (one, other))
        return images[0] if single else images

    @pinned()
    def nll(
        self, images: ArrayLike, num_samples: int = 1_000, seed: int = 0, labels: Labels = None
    ) -> np.ndarray:
        """-log p(x) of each image [n], nats, by importance sampling.

        Raises:
          UserError: q(z | x) is a point; grey images, and the likelihood is one of binary images.
        """
        num_samples, seed = whole(1)("num_samples", num_samples), seed_of("seed", seed)
        x, y, _ = self._inputs(images, labels)
        refuse_no_likelihood(self._own.config.model, self.sampler, x)
        of_lane = (self._functions, self._spec, self.variables)
        return estimated_nll(*of_lane, x, y, num_samples, seed)

    @pinned()
    def figures(
        self,
        to: str | os.PathLike[str] | None = None,
        formats: str | Sequence[str] | None = None,
        dpi: int | None = None,
        names: str | Sequence[str] | None = None,
    ) -> "dict[str, Figure]":
        """The figures of this lane, as matplotlib figures by name; also written to a folder `to`.

        `formats` is "pdf", "png" or "svg", or several; with None, formats and dpi are the config's.
        `names` are figures as in the key log.figures; None: those of the config that show what the
        lane's model gives. A name that is unknown, or a figure that does not fit, raises UserError.
        """
        if self.data is None:
            raise UserError("the images are not where they were, and the figures show them")
        values = {"log.figure_format": formats, "log.figure_dpi": dpi}
        return run_figures.lane_figures(self.run, self.progress, self._at, to, names, values)

    @pinned()
    def evaluate(
        self,
        images: ArrayLike | os.PathLike[str],
        labels: Labels = None,
        *,
        covariates: ArrayLike | None = None,
        keys: Mapping[str, Any] | None = None,
    ) -> "DataFrame":
        """Measures all lanes of the run on other images, as `vae-jax evaluate --on` does.

        The results are kept in `on/` in the run folder, apart from the run's own.

        Args:
          images: [n, height, width] or [n, height, width, channels]; or the path of a folder of
            image files, or of an .npz with `images` or `test_images`.
          labels, covariates: [n] and [n, c], beside arrays.
          keys: such as {"evaluation.metrics": ("nll", "latents")}; None: as its config says.

        Returns:
          A pandas DataFrame, one row for each lane, as `results`.

        Raises:
          UserError: images that the model was not trained for; the run's own images, to which some
            metrics fit, are not where they were.
        """
        of_images = (images, labels, covariates, keys)
        return evaluate_images(self.workdir, self.data, self.config, *of_images)

    @property
    def _units(self) -> Units | None:
        return known_units(self.run.data.units, self.run.spec.model.likelihood.support)

    def _inputs(
        self, images: ArrayLike, labels: Labels
    ) -> tuple[np.ndarray, Classes, tuple[int, ...]]:
        """x [n, d], the classes [n], and the shape of the images that come out."""
        batch, single = batch_of(images, self.image_shape)
        x = scaled(batch, self._units, self.run.spec.model.likelihood.support)
        return x, self._labels(labels, len(x)), batch.shape[single:]

    def _labels(self, labels: Labels, n: int) -> Classes:
        return known_classes(labels, n, self.run.data.given_names if self.reads_labels else None)

    def _in_batches(self, function: Callable, rows: np.ndarray, y: Classes) -> Any:
        return in_batches(partial(function, self.variables), rows, y)
