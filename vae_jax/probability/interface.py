"""What a likelihood, a prior and a posterior are, and their distributions.

x [..., d] is float32, images scaled to [0, 1]; z [k, b, l]: k samples, batch, latent units. All
densities are in nats.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from jaxtyping import Array, Float, Int, Key

from vae_jax.sections.interface import Part

Params = Any  # a pytree of arrays; {} for none
Heads = tuple[tuple[str, int], ...]  # the names of an encoder's outputs, and their sizes
Outputs = Mapping[str, Float[Array, "b size"]]  # an encoder's, by their names
Raw = Float[Array, "*batch d p"]  # a decoder's output
Scale = float | Float[Array, ""]  # a standard deviation
Mask = Float[Array, " l"] | None  # 0 for padded latent units; None: none is padded
Labels = Int[Array, " b"] | None  # None: no labels are known
Examples = Float[Array, "n d"] | None  # training images
Encode = Callable[[Float[Array, "n d"]], Any]  # x -> q(z | x), of the config's posterior


class Shape(NamedTuple):
    """The shape of z under a prior."""

    batch_size: int
    latent_size: int
    mask_l: Mask = None
    book: Any = (
        None  # of the entries of a discrete z [stages, c, w]; None: one-hot, or not discrete
    )


class LikelihoodDistribution(Protocol):
    """p(x | z): a pytree of parameters [..., d]."""

    @abstractmethod
    def log_prob(self, x: Float[Array, "*batch d"], /) -> Float[Array, "*batch"]:
        """log p(x | z) of x [..., d], nats [...], summed over d; axes of size 1 are broadcast."""

    @abstractmethod
    def mean(self) -> Float[Array, "*batch d"]:
        """E[x] [..., d]."""

    @abstractmethod
    def sample(self, key: Key[Array, ""], /) -> Float[Array, "*batch d"]:
        """A sample x [..., d]."""

    def picture(self, key: Any, /) -> Array:
        """What is shown [..., d]: the mean, where it has one. key: of a sample where it has none;
        one for all rows, or one for each."""
        return self.mean()


class Likelihood(Part, Protocol):
    """p(x | z), by the decoder's output."""

    @property
    @abstractmethod
    def params_per_dim(self) -> int:
        """p: the number of decoder outputs per dimension."""

    @property
    @abstractmethod
    def support(self) -> str:
        """Its x: "binary" (0 or 1), "unit" (0 to 1), "real", "levels" (n / 255 of whole n up to
        255) or "counts" (n / 255 of any whole n)."""

    @property
    def learns_size(self) -> bool:
        """Whether the first unit of z is the standardised log of the example's total. The decoder
        is not given it; `distribution` is, as params["log_size"] [k, b, 1], not standardised."""
        return False

    def init(self, scale: Scale = 1.0, /) -> Params:
        """Its own params, trained with the model; {} for none. `scale`: of the data around their
        means, 1 where nothing is known."""
        return {}

    def in_context(self, params: Params, context: Any, /) -> Params:
        """The params for each example, which `distribution` is given; context [..., c]: what the
        decoder is given beside z, such as one-hot labels. It is asked where there is some."""
        return params

    @abstractmethod
    def distribution(self, params: Params, raw: Raw, /) -> LikelihoodDistribution:
        """p(x | z) of the decoder's output raw [..., d, p]."""

    @abstractmethod
    def initial_bias(
        self, mean_d: Float[Array, " d"], scale: Scale = 1.0, /
    ) -> Float[Array, "d p"]:
        """raw [d, p] whose p(x | z) has the mean [d] (and, where it has a scale, that standard
        deviation): the decoder's first output bias."""

    def init_stats(self, scale: Scale = 1.0, /) -> Params | None:
        """Params that follow the data and are not trained, before the first step; None: it has
        none."""
        return None

    def update(self, stats: Params, p: Any, x_bd: Float[Array, "b d"], /) -> Params:
        """The params of `init_stats` after a minibatch x [b, d], whose p(x | z) is p [k, b, d]."""
        return stats


class LatentDistribution(Protocol):
    """A distribution of z [k, b, l]: a pytree of its parameters."""

    @abstractmethod
    def sample(
        self, key: Key[Array, ""], k: int, /
    ) -> tuple[Float[Array, "k b l"], Float[Array, "k b"] | None]:
        """k samples z [k, b, l], differentiable, and their log densities [k, b]; None in their
        place: it has no density, or one that is not known."""

    @abstractmethod
    def mean(self) -> Float[Array, "1 b l"]:
        """E[z] [1, b, l]."""

    @property
    def log_prob(self) -> Callable[[Any], Array] | None:
        """A method of z [k, b, l]: its log density [k, b]; None: known for its own samples alone. A
        prior needs it."""
        return None


class PosteriorDistribution(LatentDistribution, Protocol):
    """q(z | x)."""

    @property
    def scale(self) -> Callable[[], Array] | None:
        """A method: the standard deviation of each unit [1, b, l]; None: not known."""
        return None


class Prior(Part, Protocol):
    """p(z)."""

    @property
    @abstractmethod
    def distribution_type(self) -> type[LatentDistribution]:
        """The type of p(z)."""

    def init(
        self,
        key: Key[Array, ""],
        latent_size: int,
        num_classes: int,
        examples_nd: Examples,
        /,
    ) -> Params:
        """Its params, trained with the model; {} for none. A model without labels has num_classes
        0; examples_nd: training images [n, d], or None."""
        return {}

    @abstractmethod
    def distribution(
        self, params: Params, encode: Encode, label_b: Labels, shape: Shape, /
    ) -> LatentDistribution:
        """p(z). encode: x [n, d] -> q(z | x); label_b: labels [b], or None; shape: (batch size,
        latent size, mask_l)."""

    @property
    def can_be_masked(self) -> bool:
        """Whether its latent units can be masked, so that lanes may differ in the latent size."""
        return False

    @property
    def examples(self) -> int:
        """The number of training images that `init` takes."""
        return 0

    @property
    def support(self) -> str | None:
        """What its z is: "real" or "discrete"; None: samples tell."""
        return None


class Posterior(Part, Protocol):
    """q(z | x). Where all outputs of the encoder are 0, it should be nearly N(0, 1)."""

    @property
    @abstractmethod
    def distribution_type(self) -> type[PosteriorDistribution]:
        """The type of q(z | x)."""

    @abstractmethod
    def heads(self, latent_size: int, /) -> Heads:
        """The names and sizes of the encoder's outputs, each [b, size].

        One named "flow" is close to 0 before training, as the params of a flow's maps should be.
        """

    @abstractmethod
    def distribution(
        self, params: Params, outputs: Outputs, mask_l: Mask, /
    ) -> PosteriorDistribution:
        """q(z | x) of the encoder's outputs {head: [b, size]}; mask_l [l]: 0 for padded units, or
        None."""

    @property
    def has_density(self) -> bool:
        """Whether log q(z | x) is known for any z, not only for its own samples."""
        return False

    @property
    def is_point(self) -> bool:
        """Whether q(z | x) is a point, without a density: then there is no bound on log p(x)."""
        return False

    @property
    def is_code(self) -> bool:
        """Whether q(z | x) has probability 1 at one code of a book."""
        return False

    @property
    def has_path(self) -> bool:
        """Whether samples of it have a gradient; if not, objective.gradient estimates it."""
        return True

    @property
    def unit_size(self) -> int:
        """How many numbers of z each latent unit has."""
        return 1

    @property
    def values(self) -> tuple[int, int] | None:
        """Of a discrete z, the stages of a unit and the entries of each; a prior with a field
        `values` is given them."""
        return None

    @property
    def is_implicit(self) -> bool:
        """Whether the density of q(z | x) is unknown even for its own samples. q(z | x) may then
        have a method proposal(): a distribution like it with a density, to importance-sample."""
        return False

    def init(self, key: Key[Array, ""], latent_size: int, /) -> Params:
        """Its own params, trained with the model; {} for none."""
        return {}

    def book_of(self, params: Params, /) -> Any:
        """The entries [stages, c, w] of a discrete z, which the prior is given; None: one-hot, or
        not discrete."""
        return None

    def init_stats(self, key: Key[Array, ""], latent_size: int, /) -> Params | None:
        """Params that follow the codes and are not trained, before the first step; None: it has
        none. `distribution` is given them with those of `init`."""
        return None

    def update(self, stats: Params, q: Any, /) -> Params:
        """The params of `init_stats` after a minibatch whose q(z | x) is q."""
        return stats

    @property
    def losses(self) -> tuple[str, ...]:
        """The names in `losses_of`."""
        return ()

    def losses_of(self, q: Any, /) -> dict[str, Float[Array, " b"]]:
        """What is added to any objective, for each example."""
        return {}

    @property
    def notes(self) -> tuple[str, ...]:
        """The names in `note`."""
        return ()

    def note(self, q: Any, /) -> dict[str, Float[Array, ""]]:
        """Numbers of a minibatch, for the records of training."""
        return {}

    @property
    def support(self) -> str | None:
        """What its z is: "real" or "discrete"; None: samples tell."""
        return None
