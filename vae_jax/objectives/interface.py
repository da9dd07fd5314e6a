"""What an objective, a bound of several samples, a regulariser and a corruption are."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from jaxtyping import Array, Float

from vae_jax.models.model import Model, Trace, Variables
from vae_jax.objectives.objective import TERMS, Loss, Player, Scalar, Weights
from vae_jax.sections.interface import Part


class Bound(Part, Protocol):
    """What is optimised, by `objective.name`."""

    @abstractmethod
    def loss(
        self,
        model: Model,
        variables: Variables,
        key: Any,
        x_bd: Any,
        label_b: Any,
        weights: Weights,
        /,
    ) -> Loss:
        """The loss of a minibatch x [b, d], y [b] or None, and its terms for each example, nats: a
        vae_jax.objectives.objective.Loss."""

    @property
    def terms(self) -> tuple[str, ...]:
        """The names of the terms in Loss.terms.parts."""
        return TERMS

    @property
    def compared(self) -> str:
        """ "": Terms.bound is a bound on log p(x). Else the name of what it is, one of `terms`:
        there is no bound then, and epochs and lanes are compared by this; higher is better."""
        return ""

    @property
    def kinds_of_q(self) -> tuple[str, ...]:
        """The q(z | x) that it is for: "density" (log q is known of its samples), "implicit" (it is
        not known), "point"."""
        return ("density",)

    @property
    def owns(self) -> tuple[str, ...]:
        """The parts of the model's params that this loss moves, such as "encoder"; (): all."""
        return ()

    def players(self, spec: Any, /) -> dict[str, Player]:
        """{name: vae_jax.objectives.objective.Player}: what is trained beside the model, in order.
        spec: has latent_size, image_shape, num_classes."""
        return {}

    @property
    def kl(self) -> str:
        """How the KL of a layer of latents is computed: "analytic" or "sampled"."""
        return "sampled"

    @property
    def infers_labels(self) -> bool:
        """Whether it is for a model that infers labels."""
        return False

    @property
    def is_unit_by_unit(self) -> bool:
        """Whether no part of it mixes latent units: then lanes may differ in the latent size."""
        return False

    @property
    def is_constrained(self) -> bool:
        """Whether it is another function than the bound, even where beta is 1."""
        return False

    @property
    def is_mean(self) -> bool:
        """Whether the loss of a minibatch is the mean of those of its parts."""
        return True

    def evaluated(self) -> "Bound":
        """The bound that validation and the test set measure: with exact samples of q(z | x)."""
        return self

    @property
    def annealed_steps(self) -> Scalar:
        """The step from which on it is the same function at every step."""
        return 0.0

    def validation_score(self, means: Mapping[str, float], kl_u: Any, weights: Weights, /) -> float:
        """The objective of a whole split, higher is better, nats: by it the best epoch is picked.
        means: of each term, "bound" and "loss" (of single examples); kl_u [u]: the mean KL of each
        latent unit, or None."""
        return means["bound"] if weights.beta == 1 else -means["loss"]


class SampleBound(Bound, Protocol):
    """A bound of several samples, with loss = importance_loss of objectives/importance.py."""

    @property
    @abstractmethod
    def gradient(self) -> str:
        """The name of its gradient estimator: a key, gradient_key(), or "reparameterized"."""

    @abstractmethod
    def value(self, log_w_kb: Any, /) -> Float[Array, " b"]:
        """The bound of each example [b], of the log weights [k, b]."""

    def curvature(self, log_w_kb: Any, /) -> Float[Array, "k b"]:
        """Its second derivative in each log weight [k, b]: for "doubly_reparameterized" alone."""
        raise NotImplementedError(f"{type(self).__name__} has no curvature(log_w_kb)")

    def encoder_bound(self) -> "SampleBound | None":
        """The bound that the encoder's params maximise; None: this one."""
        return None


class Added(NamedTuple):
    """What a regulariser adds to the loss."""

    value: Float[Array, ""]  # before its weight


class Regularizer(Part, Protocol):
    """A term of a minibatch that is added to the loss."""

    @property
    @abstractmethod
    def weight(self) -> Scalar:
        """Its weight in the loss: a key, weight_key() of objectives/regularizers.py."""

    @abstractmethod
    def __call__(
        self, key: Any, model: Model, variables: Variables, trace: Trace, x_bd: Any, label_b: Any, /
    ) -> Added:
        """What it adds: a vae_jax.objectives.interface.Added. `trace`: that of the bound."""

    def players(self, spec: Any, /) -> dict[str, Player]:
        """{name: vae_jax.objectives.objective.Player}: what is trained beside the model, in order.
        spec: has latent_size, image_shape, num_classes."""
        return {}


class Corruption(Part, Protocol):
    """Noise on the encoder's input; the likelihood is of the clean x."""

    @abstractmethod
    def __call__(self, key: Any, x_bd: Any, /) -> Array:
        """The encoder's input [b, d], of x [b, d]."""

    @property
    def amount(self) -> Any:
        """How much noise; 0: none, and then it is refused, as it has no effect."""
        return 1
