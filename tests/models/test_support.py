"""What z is, is known: real or discrete; and both together are refused."""

import re
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import pytest

from tests.small.models import Codebook, Ladder
from tests.small.runs import values_of
from vae_jax.config.check import check
from vae_jax.config.needs import refuse_combination, refuse_data
from vae_jax.config.schema import nest
from vae_jax.errors import UserError
from vae_jax.evaluation.metrics.likelihood import Ais, GapsMetric
from vae_jax.models import MODELS
from vae_jax.models.support import of_posterior, of_prior
from vae_jax.probability.distributions import DiagonalGaussian
from vae_jax.probability.interface import Posterior, Prior
from vae_jax.probability.posteriors import POSTERIORS
from vae_jax.probability.priors import PRIORS
from vae_jax.runs.run import make_dataset
from vae_jax.sections.declare import replace, section


class Drawn(NamedTuple):
    """A distribution of one's own, of logits [b, l]; its type says nothing."""

    logits_bl: Any

    def sample(self, key, k):
        z_kbl = self.draw(key, (k, *self.logits_bl.shape))
        return z_kbl, jnp.zeros(z_kbl.shape[:2])

    def draw(self, key, shape):
        code = jax.random.categorical(key, self.logits_bl, shape=shape[:2])
        return jax.nn.one_hot(code, shape[2])


class Bits(Drawn):
    def draw(self, key, shape):
        return 1.0 * (jax.random.uniform(key, shape) < jax.nn.sigmoid(self.logits_bl)[None])


class Counts(Drawn):
    def draw(self, key, shape):
        return jax.random.poisson(key, jnp.exp(self.logits_bl)[None], shape)


class Code(Drawn):
    """The nearest of some vectors, at a place without noise: the same every time."""

    def draw(self, key, shape):
        return jnp.broadcast_to(jnp.round(2 * self.logits_bl) / 2 + 0.1, shape)


class Rectified(Drawn):
    def draw(self, key, shape):
        return jnp.maximum(0.0, jax.random.normal(key, shape))


class Laplace(Drawn):
    def draw(self, key, shape):
        return self.logits_bl[None] + jax.random.laplace(key, shape)


class Broken(Drawn):
    def draw(self, key, shape):
        raise RuntimeError


def posterior_of(kind, **says):
    @section
    class Own(Posterior):
        distribution_type: ClassVar = kind
        has_density: ClassVar = True

        def heads(self, latent_size):
            return (("logits", latent_size),)

        def init(self, key, latent_size):
            return {}

        def distribution(self, params, outputs, mask_l=None):
            return kind(outputs["logits"])

    for name, value in says.items():
        setattr(Own, name, value)
    return Own


def prior_of(kind, **says):
    @section
    class Own(Prior):
        distribution_type: ClassVar = kind
        can_be_masked: ClassVar = False
        examples: ClassVar = 0

        def init(self, key, latent_size, num_classes, examples_nd=None):
            return {}

        def distribution(self, params, encode, label_b, shape):
            return kind(jnp.zeros((shape.batch_size, shape.latent_size)))

    for name, value in says.items():
        setattr(Own, name, value)
    return Own


KINDS = {
    Drawn: "discrete", Bits: "discrete", Counts: "discrete", Code: "discrete",
    Rectified: "discrete", Laplace: "real", Broken: "real",
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_samples_tell_what_says_nothing(kind):
    assert of_posterior(posterior_of(kind)()) == KINDS[kind]
    assert of_prior(prior_of(kind)()) == KINDS[kind]


def test_what_it_says_counts_as_does_what_ours_say():
    assert of_posterior(posterior_of(Laplace, support="discrete")()) == "discrete"
    assert of_prior(prior_of(Drawn, support="real")()) == "real"
    of_q = {name: of_posterior(own()) for name, own in POSTERIORS.items()}
    of_p = {name: of_prior(own()) for name, own in PRIORS.items()}
    for found, discrete in (
        (of_q, {"categorical", "fsq", "vq"}),
        (of_p, {"categorical", "causal", "uniform"}),
    ):
        assert {name for name, support in found.items() if support == "discrete"} == discrete
        assert set(found.values()) == {"discrete", "real"}
    assert of_posterior(posterior_of(DiagonalGaussian)()) == "real"


@pytest.fixture
def config(tiny_npz, monkeypatch):
    """(posterior, prior, metrics) -> the config with members of one's own, and its data."""

    def make(posterior="diagonal", prior="standard_normal", model="vae", metrics=("elbo",)):
        values = values_of(tiny_npz) | {"objective.kl": "sampled", "evaluation.metrics": metrics}
        own = check(nest(values))
        kind = MODELS["vae"]()
        if not isinstance(posterior, str):
            monkeypatch.setitem(POSTERIORS, "own", posterior)
            kind = replace(kind, posterior=posterior())
        if not isinstance(prior, str):
            monkeypatch.setitem(PRIORS, "own", prior)
            kind = replace(kind, prior=prior())
        if not isinstance(model, str):
            monkeypatch.setitem(MODELS, "own", model)
            kind = model()
        return replace(own, model=replace(own.model, kind=kind)), make_dataset(own)

    return make


def test_a_probability_beside_a_density_is_refused(config):
    what = "q.z | x. is a probability of discrete values and p.z. is a density of real numbers, so"
    with pytest.raises(UserError, match=f"{what}.*model.posterior = 'own'"):
        refuse_data(*config(posterior_of(Drawn)))
    with pytest.raises(UserError, match=r"q\(z \| x\) is a density .* p\(z\) is a probability"):
        refuse_data(*config(prior=prior_of(Drawn)))
    refuse_data(*config(posterior_of(Drawn), prior_of(Bits)))
    refuse_data(*config(posterior_of(Laplace)))
    said = config(posterior_of(Laplace, support="discrete"))[0]
    with pytest.raises(UserError, match="has no meaning"):  # before any data are loaded
        refuse_combination(said)
    with pytest.raises(UserError, match=r"Own.support = 'whole' should be 'real' or 'discrete'"):
        refuse_combination(config(posterior_of(Laplace, support="whole"))[0])


METRICS = {"ais": Ais(), "gaps": GapsMetric()}


@pytest.mark.parametrize("name", METRICS)
def test_metrics_that_move_z_refuse_a_discrete_one(config, name):
    message = f"metrics = '{name}' follows the gradient of a density of z, and z of .* is discrete"
    own, data = config(posterior_of(Drawn), prior_of(Drawn))
    assert [m for m in METRICS[name].needs_of_data(own, data) if re.search(message, m)]
    for model in ("vae", MODELS["two_layers"], MODELS["m2"]):
        own, data = config(model=model)
        assert not [m for m in METRICS[name].needs_of_data(own, data) if "discrete" in m]


@pytest.mark.parametrize(("model", "is_discrete"), [(Codebook, True), (Ladder, False)])
def test_a_model_of_one_s_own_is_sampled(config, model, is_discrete):
    own, data = config(model=model)
    assert own.model.has_discrete_z(data) == is_discrete
