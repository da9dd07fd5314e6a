"""The views of one trained lane and its test images: arrays, each computed when first asked for."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, UInt32

from vae_jax.data.binarization import scaled
from vae_jax.data.dataset import Dataset
from vae_jax.models import ModelSpec, make_model
from vae_jax.models.model import Variables, layer_sizes, names_of_layers
from vae_jax.objectives.corruption import NoCorruption
from vae_jax.views import points
from vae_jax.views.compiled import Compiled, compiled
from vae_jax.views.profiles import in_rows

SAMPLES, PER_ROW = 100, 10
RECONSTRUCTED = 20
MANIFOLD_SIDE = 21  # odd: z = 0 is in the middle
TRAVERSED = 10  # latent units
TRAVERSAL = np.linspace(-3, 3, 11)
INTERPOLATED, STEPS = 6, 11  # pairs; points of a line
MOST_CODES = 50_000_000  # numbers, of the codes of the test images
TEMPERATURES = (1.0, 0.8, 0.6, 0.4, 0.2, 0.0)
DECODED = 128  # codes at a time, the last of them padded: one program for any number


@jax.jit
def corrupted(
    corruption: Any, seed: UInt32[Array, ""], x_bd: Float[Array, "b d"]
) -> Float[Array, "b d"]:
    """The images as the encoder sees them."""
    return corruption(jax.random.key(seed), x_bd)


@dataclasses.dataclass(frozen=True)
class LaneViews:
    """What is shown of a lane; images are [rows, columns, height, width, channels].

    The noise depends on `seed` alone: every evaluation shows the same pictures.
    """

    spec: ModelSpec
    load: Callable[[], Variables]  # of this lane, on a device
    data: Dataset
    corruption: Any  # of the objective
    batch_size: int
    seed: int

    @functools.cached_property
    def variables(self) -> Variables:
        return self.load()

    @property
    def functions(self) -> Compiled:
        return compiled(self.spec)

    @property
    def labels(self) -> np.ndarray | None:
        """What the model is given of the test images: labels, or conditions; None: nothing."""
        return self.data.test.given if self.num_classes else None

    @property
    def num_classes(self) -> int:
        return self.data.num_given if self.spec.abilities.reads_labels else 0

    @property
    def shown(self) -> str:
        """What is shown of p(x | z), for labels."""
        if self.spec.is_autoregressive(self.data.image_shape):
            return "means given a sample's pixels before"
        return "E[x | z]"

    def images(self, x: Any, rows: int) -> np.ndarray:
        return in_rows(np.asarray(x), rows, self.data)

    @functools.cached_property
    def sizes(self) -> tuple[int, ...]:
        """The number of latent units of each layer, the top first."""
        label = np.zeros(1, np.int32) if self.num_classes else None
        return layer_sizes(make_model(self.spec), self.variables, label)

    def batches(self) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """x [b, d] and labels of the test set; of models with very many units, of its first."""
        most = max(self.batch_size, MOST_CODES // sum(self.sizes))
        images, labels = self.data.test.images[:most], self.labels
        for i in range(0, len(images), self.batch_size):
            rows = slice(i, i + self.batch_size)
            yield scaled(images[rows]), None if labels is None else labels[rows]

    @functools.cached_property
    def codes(self) -> Float[np.ndarray, "n l"]:
        """The posterior means of the test set."""
        means = [self.functions.means(self.variables, *batch) for batch in self.batches()]
        return np.concatenate(means)

    @functools.cached_property
    def samples_of_z(self) -> tuple[np.ndarray, np.ndarray]:
        """A sample of q(z | x) for each test image, and as many of p(z): [n, l]."""
        both = [
            self.functions.samples(self.variables, np.uint32(self.seed), np.uint32(i), *batch)
            for i, batch in enumerate(self.batches())
        ]
        posterior, prior = zip(*both, strict=True)
        return np.concatenate(posterior), np.concatenate(prior)

    @property
    def limit(self) -> float:
        """One scale for the codes, the samples of q(z | x) and those of the prior."""
        return 1.05 * max(float(np.abs(z).max()) for z in (self.codes, *self.samples_of_z))

    @property
    def in_use(self) -> list[int]:
        """The latent units, those in use first; of several layers, those of the lowest."""
        return [int(unit) for unit in points.by_use(self.codes[:, : self.sizes[-1]])]

    def decoded(self, z_nl: np.ndarray, labels: Any) -> np.ndarray:
        """E[x | z] [n, d]; labels: [n], or one for all, and not read where there are no classes."""
        return self.in_batches(self.functions.decode, z_nl, labels, np.uint32(self.seed))

    def in_batches(self, function: Callable, z_nl: np.ndarray, labels: Any, *more: Any) -> Any:
        """`function` of the variables and z [n, l], some at a time; labels as in `decoded`."""
        n = len(z_nl)
        padded = np.pad(z_nl, ((0, -n % DECODED), (0, 0)))
        label_n = np.resize(labels, len(padded)) if self.num_classes else None
        parts = [
            function(
                self.variables,
                padded[i : i + DECODED],
                None if label_n is None else label_n[i : i + DECODED],
                *more,
            )
            for i in range(0, len(padded), DECODED)
        ]
        return np.concatenate(parts)[:n]

    def reconstructions(self) -> tuple[np.ndarray, np.ndarray]:
        """Test images as the encoder is trained on them, and their reconstructions: two rows."""
        count = min(RECONSTRUCTED, len(self.data.test.images)) // 2 * 2
        x = scaled(self.data.test.images[:count])
        if not isinstance(self.corruption, NoCorruption):
            x = corrupted(self.corruption, np.uint32(self.seed), x)
        labels = None if self.labels is None else self.labels[:count]
        shown = self.functions.reconstruct(self.variables, x, labels, np.uint32(self.seed))
        return self.images(x, 2), self.images(shown, 2)

    def samples(self) -> np.ndarray:
        """Samples of the prior, decoded; if there are classes, a row of each."""
        classes = np.arange(self.num_classes)
        rows = np.repeat(classes, PER_ROW)[:SAMPLES] if self.num_classes else None
        n = SAMPLES if rows is None else len(rows)
        seed = np.uint32(self.seed)
        return self.images(
            self.functions.generate(self.variables, seed, n, rows, None), n // PER_ROW
        )

    @property
    def groups(self) -> dict[str, int]:
        """The groups of layers, the top first, and the number of the last layer of each."""
        return {name: i for i, name in enumerate(names_of_layers(make_model(self.spec)))}

    def first_layers(self) -> np.ndarray:
        """A row of test images, and one for each group of layers: what they are reconstructed to
        by it and those above it, with the layers below at their means."""
        codes = self.codes[:PER_ROW]
        shown = [scaled(self.data.test.images[: len(codes)])]
        for last in self.groups.values():
            z = self.in_batches(self.functions.descend, codes, None, self.sizes, np.int32(last))
            shown.append(self.decoded(z, None))
        return self.images(np.stack(shown), len(shown))

    def temperatures(self) -> np.ndarray:
        """A row of samples of the prior for each temperature, all of the same noise."""
        rows = [
            self.functions.generate(
                self.variables,
                np.uint32(self.seed),
                PER_ROW,
                None,
                np.full(len(self.sizes), temperature, np.float32),
            )
            for temperature in TEMPERATURES
        ]
        return self.images(np.stack(rows), len(rows))

    def manifold(self) -> tuple[np.ndarray, np.ndarray]:
        """The images of a grid of two-dimensional z, and the values of z along a side."""
        values = points.quantiles(MANIFOLD_SIDE)
        return self.images(self.decoded(points.plane(values), 0), MANIFOLD_SIDE), values

    def traversals(self) -> tuple[np.ndarray, list[int]]:
        """Images of the first test image's code, with one unit at a time varied; and the units.

        Of several layers, a unit is varied as noise of p: the layers below follow.
        """
        units, code = self.in_use[:TRAVERSED], self.codes[0]
        label = 0 if self.labels is None else int(self.labels[0])
        noise_nl = self.noise if len(self.sizes) > 1 else None
        if noise_nl is not None:
            units, code = [int(u) for u in points.by_use(noise_nl)[:TRAVERSED]], noise_nl[0]
        z = points.traversals(code, units, TRAVERSAL)
        z = z.reshape(-1, z.shape[-1])
        if noise_nl is not None:
            z = self.in_batches(self.functions.of_noise, z, label, self.sizes)
        return self.images(self.decoded(z, label), len(units)), units

    @functools.cached_property
    def noise(self) -> Float[np.ndarray, "n l"] | None:
        """The codes of the first test images as noise of p; None: p has no such form."""
        codes = self.codes[: self.batch_size]
        label = None if self.labels is None else self.labels[: len(codes)]
        noise_nl = self.functions.noise(self.variables, codes, label, self.sizes)
        return None if noise_nl is None else np.asarray(noise_nl)

    def interpolations(self) -> np.ndarray:
        """Images between the codes of test images; each line has the label of its start."""
        pairs = min(INTERPOLATED, len(self.codes) // 2)
        z = points.between(self.codes[:pairs], self.codes[pairs : 2 * pairs], STEPS)
        labels = None if self.labels is None else np.repeat(self.labels[:pairs], STEPS)
        return self.images(self.decoded(z.reshape(-1, z.shape[-1]), labels), pairs)
