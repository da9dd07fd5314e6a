"""The semi-supervised model M2: a conditional VAE, p(y) uniform, and a classifier q(y | x).

References: Kingma, Rezende, Mohamed and Welling 2014, section 2.1.
"""

from functools import partial

import jax
from jaxtyping import Array, Float, Int, Key

from vae_jax.models.model import DEFAULT_HYPER, VAE, ModelHyper, ModelSpec, Params
from vae_jax.models.vae import vae
from vae_jax.networks import ENCODERS


def m2(
    spec: ModelSpec, hyper: ModelHyper = DEFAULT_HYPER, label_b: Int[Array, " b"] | None = None
) -> VAE:
    """The conditional VAE of the labels given, with a classifier of the encoder's architecture."""
    model = vae(spec, hyper, label_b)
    classifier = ENCODERS[spec.encoder.name](
        spec.encoder, spec.image_shape, (("label", spec.num_classes),)
    )

    def init(
        key: Key[Array, ""],
        mean_d: Float[Array, " d"] | None = None,
        examples: Float[Array, "n d"] | None = None,
    ) -> Params:
        model_key, classifier_key = jax.random.split(key)
        params = model.init(model_key, mean_d, examples)
        return params | {"classifier": classifier.init(classifier_key)}

    def classify(params: Params, x_bd: Float[Array, "b d"]) -> Float[Array, "b c"]:
        return classifier.apply(params["classifier"], x_bd)["label"]

    return model._replace(init=init, classify=classify, given=partial(m2, spec, hyper))
