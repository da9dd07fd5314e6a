"""The VAE and its variants. To add one, write a function that returns a VAE and list it here."""

from vae_jax.models import m2, two_layers, vae
from vae_jax.models.model import DEFAULT_HYPER, VAE, ModelHyper, ModelSpec

# (spec, hyper, labels [b] or None) -> VAE.
MODELS = {"m2": m2.m2, "two_layers": two_layers.two_layers, "vae": vae.vae}


def make_model(spec: ModelSpec, hyper: ModelHyper = DEFAULT_HYPER, label_b=None) -> VAE:
    """The model that `spec` names, of the labels given if it is conditional."""
    return MODELS[spec.name](spec, hyper, label_b)
