"""The semi-supervised model M2: a conditional VAE, p(y) uniform, and a classifier q(y | x).

References: Kingma, Rezende, Mohamed and Welling 2014, section 2.1.
"""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from vae_jax.models.inputs import seen
from vae_jax.models.interface import ModelSection
from vae_jax.models.model import NO_START, Abilities, Model, Start, Take, Trace, Variables
from vae_jax.models.vae import one_layer_abilities, posterior_key, prior_key, vae
from vae_jax.probability.interface import Posterior, Prior
from vae_jax.sections.declare import section


@section
class M2(ModelSection):
    """p(z) p(y) p(x | z, y), q(z | x, y) and a classifier q(y | x) (Kingma et al. 2014)."""

    prior: Prior = prior_key()
    posterior: Posterior = posterior_key()

    @property
    def abilities(self) -> Abilities:
        return one_layer_abilities(
            self.prior, self.posterior, reads_labels=True, infers_labels=True
        )

    def model(self, spec: Any) -> Model:
        """The conditional VAE, with a classifier of the encoder's architecture.

        If no labels are given, it uses those that the classifier finds most likely.
        """
        conditional = vae(spec, self.prior, self.posterior, spec.num_classes)
        classifier = spec.encoder.encoder(spec.image_shape, (("label", spec.num_classes),))

        def init(key: Key[Array, ""], start: Start = NO_START) -> Variables:
            model_key, classifier_key = jax.random.split(key)
            variables = conditional.init(model_key, start)
            params = variables["params"] | {"classifier": classifier.init(classifier_key)}
            return variables | {"params": params}

        def trace(
            variables: Variables,
            take: Take,
            x_bd: Float[Array, "b d"] | None = None,
            label_b: Int[Array, " b"] | None = None,
        ) -> Trace:
            if x_bd is None:
                return conditional.trace(variables, take, None, label_b)
            seen_bd = seen(spec.inputs, variables["stats"], x_bd)
            logits_bc = classifier.apply(variables["params"]["classifier"], seen_bd)["label"]
            label_b = jnp.argmax(logits_bc, axis=-1) if label_b is None else label_b
            return conditional.trace(variables, take, x_bd, label_b)._replace(y=logits_bc)

        return conditional._replace(init=init, trace=trace)

    def needs(self, config: Any) -> Iterator[str]:
        if not config.objective.bound.infers_labels:
            yield (
                "model.name = 'm2' infers labels, and an objective that does so too belongs to it; "
                "objective.name should be 'm2'"
            )
