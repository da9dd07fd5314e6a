"""Critics: at their best they are log ratios that are known, and nothing is called an ELBO."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.small import exact
from tests.small.models import mlp_spec
from tests.small.runs import train, values_of, write_tiny_npz
from vae_jax.cli.main import main
from vae_jax.config.check import check
from vae_jax.config.needs import refuse_idle
from vae_jax.config.schema import nest
from vae_jax.errors import UserError
from vae_jax.evaluation.importance_sampling import importance_sampling
from vae_jax.models import ModelSpec
from vae_jax.models.model import posterior_samples
from vae_jax.models.vae import VAE
from vae_jax.objectives.aae import AAE
from vae_jax.objectives.avb import AVB
from vae_jax.objectives.critic import CRITIC, cross_entropy, taken_for_p
from vae_jax.probability.implicit import ImplicitPosterior
from vae_jax.probability.posteriors import Diagonal

# q(z | x) of three x, the rows of the identity: N(mean, scale^2). p(z) is N(0, 1).
MEAN, SCALE = np.float32([[-1.0], [0.0], [1.5]]), np.float32([[0.5], [1.0], [0.7]])
KL = -np.log(SCALE) + 0.5 * (SCALE**2 + MEAN**2 - 1)
WIDTHS = (32, 32)


def gaussians():
    spec = ModelSpec(
        VAE(posterior=Diagonal()), 1, mlp_spec(), mlp_spec(), image_shape=(3, 1, 1)
    )  # fmt: skip
    model = exact.model_of(spec)
    variables = exact.variables_of(model)
    for head, values in (("mean", MEAN), ("log_scale", np.log(SCALE))):
        variables["params"]["encoder"][head] = {"kernel": values, "bias": np.zeros(1, np.float32)}
    return spec, model, variables


def log_normal(z, mean, scale):
    return -0.5 * np.square((z - mean) / scale) - np.log(scale) - 0.5 * np.log(2 * np.pi)


def best_critic(bound, x_bd, steps=1_200):
    """The variables with the critic that its own loss leads to."""
    spec, model, variables = gaussians()
    player = bound.players(spec)[CRITIC]
    schedule = optax.cosine_decay_schedule(5e-3, steps)
    optimizer = optax.adam(schedule)

    def step(carry, key):
        params, state = carry

        def loss_of(params):
            moved = variables | {"players": {CRITIC: params}}
            return player.loss(model, moved, key, x_bd, None, None)

        value, gradient = jax.value_and_grad(loss_of)(params)
        updates, state = optimizer.update(gradient, state)
        return (optax.apply_updates(params, updates), state), value

    @jax.jit
    def trained(key):
        params = player.init(key)
        keys = jax.random.split(jax.random.fold_in(key, 1), steps)
        (params, _), values = jax.lax.scan(step, (params, optimizer.init(params)), keys)
        return params, values

    params, values = trained(jax.random.key(0))
    return model, variables | {"players": {CRITIC: params}}, values


def test_the_critic_of_aae_is_log_q_minus_log_p():
    x_bd = jnp.tile(jnp.eye(3)[2:], (512, 1))  # q(z) is that of the third x
    bound = AAE(widths=WIDTHS)
    _, variables, values = best_critic(bound, x_bd)
    z = np.linspace(0.5, 2.5, 11, dtype=np.float32)[:, None]
    found = bound.log_ratio(variables, z, None)
    known = (log_normal(z, MEAN[2], SCALE[2]) - log_normal(z, 0, 1))[:, 0]
    assert np.abs(found - known).max() < 0.2
    assert values[-100:].mean() < 0.45  # and where the two are one, it is log 2


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.slow
def test_the_critic_of_avb_gives_the_kl_and_adaptive_contrast_leaves_it_nothing(adaptive):
    x_bd = jnp.tile(jnp.eye(3), (200, 1))
    bound = AVB(widths=WIDTHS, adaptive_contrast=adaptive)
    model, variables, values = best_critic(bound, x_bd)
    noise = np.linspace(-1.7, 1.7, 9, dtype=np.float32)[:, None, None]
    z_kbl = MEAN[None] + SCALE[None] * noise
    if adaptive:  # T is log q - log r of standardised z, and r is q
        found, known = bound.log_ratio(variables, noise * jnp.ones((1, 3, 1)), jnp.eye(3), None), 0
        assert abs(values[-100:].mean() - np.log(2)) < 1e-2
    else:
        found = bound.log_ratio(variables, z_kbl, jnp.eye(3), None)
        known = (log_normal(z_kbl, MEAN[None], SCALE[None]) - log_normal(z_kbl, 0, 1))[..., 0]
    assert np.abs(found - known).max() < (0.1 if adaptive else 0.35)

    @jax.jit
    def kl(key):
        take = posterior_samples(model, key, 4_000)
        trace = model.trace(variables, take, jnp.eye(3))
        return bound.kl_of(variables, trace, jnp.eye(3), None).mean(axis=0)

    np.testing.assert_allclose(kl(jax.random.key(5)), KL[:, 0], atol=0.1)


def test_a_critic_that_cannot_tell_has_log_2():
    t = jnp.zeros(5)
    assert cross_entropy(t, t) == pytest.approx(np.log(2))
    assert taken_for_p(t) == pytest.approx(np.log(2))
    far = cross_entropy(jnp.full(3, 1e4), jnp.full(3, -1e4))
    assert far == 0
    assert np.isfinite(jax.grad(lambda t: cross_entropy(t, -t))(jnp.float32(-1e4)))


def test_an_implicit_posterior_starts_as_the_noise_and_has_its_moments():
    posterior = ImplicitPosterior(3, 8)
    params = posterior.init(jax.random.key(0), 2)
    outputs = {"mean": jnp.zeros((4, 2)), "factors": jnp.zeros((4, 6))}
    z_kbl, log_q_kb = posterior.distribution(params, outputs, None).sample(
        jax.random.key(1), 20_000
    )
    assert log_q_kb is None
    np.testing.assert_allclose(z_kbl.mean(axis=0), 0, atol=0.03)
    np.testing.assert_allclose(z_kbl.std(axis=0), 1, atol=0.03)
    keys = jax.random.split(jax.random.key(2), 3)
    params |= {"out": 2 * jax.random.normal(keys[0], (3, 8, 2))}
    outputs = {"mean": jax.random.normal(keys[1], (4, 2)), "factors": jnp.ones((4, 6))}
    q = posterior.distribution(params, outputs, None)
    z_kbl, _ = q.sample(keys[2], 20_000)
    scale = q.scale()[0]
    np.testing.assert_allclose(z_kbl.std(axis=0) / scale, 1, atol=0.15)  # by 256 samples
    assert np.abs((z_kbl.mean(axis=0) - q.mean()[0]) / scale).max() < 0.25
    assert not np.allclose(scale[0], np.sqrt(4 / 3), atol=0.3)


def test_importance_sampling_of_an_implicit_posterior_is_exact_where_that_is_known():
    """Its z is never of q, whose density is unknown, but of a Gaussian with its moments."""
    _, known = exact.linear()
    spec = ModelSpec(
        VAE(posterior=ImplicitPosterior(4, 8)), exact.L, mlp_spec(), mlp_spec(),
        image_shape=(exact.D, 1, 1), likelihood=exact.GaussianLikelihood(exact.NOISE_SCALE),
    )  # fmt: skip
    model = exact.model_of(spec)
    variables = exact.variables_of(model)
    encoder, of_known = variables["params"]["encoder"], known["params"]["encoder"]
    variables["params"]["decoder"] = known["params"]["decoder"]
    encoder["mean"] = of_known["mean"]
    scales = np.exp(np.tile(of_known["log_scale"]["bias"], 4)) - 1
    encoder["factors"] = {"kernel": np.zeros((exact.D, 4 * exact.L), np.float32), "bias": scales}
    x_bd = np.float32(np.random.default_rng(1).normal(size=(4, exact.D)))

    @jax.jit
    def estimate(key):
        return importance_sampling(model, variables, key, x_bd, 4_000)

    found = estimate(jax.random.key(0))
    covariance = exact.W_DL @ exact.W_DL.T + exact.NOISE_SCALE**2 * np.eye(exact.D)
    away = x_bd - exact.B_D
    log_p = -0.5 * (
        np.einsum("bd,de,be->b", away, np.linalg.inv(covariance), away)
        + np.linalg.slogdet(2 * np.pi * covariance)[1]
    )
    np.testing.assert_allclose(found.log_likelihood, log_p, atol=0.03)
    assert found.effective_sample_size.min() > 2_000


AVB_VALUES = {
    "model.posterior": "implicit",
    "objective.name": "avb",
    "objective.critic.widths": (8,),
    "training.keep": "last",
    "log.figures": ("training_curves",),
    "evaluation.num_importance_samples": 20,
    "evaluation.metrics": ("latents", "nll"),
}


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    at = tmp_path_factory.mktemp("avb")
    npz = write_tiny_npz(at / "tiny.npz")
    train(nest(values_of(npz, training__num_epochs=1) | AVB_VALUES), at / "run")
    return at / "run"


@pytest.mark.slow
def test_what_a_critic_estimates_is_never_called_an_elbo(workdir, capsys):
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        assert not {"elbo", "kl"} & row.keys()
        assert row["bound"] == row["critic_bound"]
        total = row["reconstruction"] - row["critic_kl"]
        assert row["critic_bound"] == pytest.approx(total, abs=1e-4)
        assert ("critic_loss" in row) == (row["split"] == "train")
    (lane, *_) = json.loads((workdir / "results.json").read_text())["lanes"]
    assert lane["bound_name"] == "critic_bound"
    assert lane["elbo"] is lane["kl"] is lane["bits_per_dim"] is None
    assert lane["nll"] > 0
    assert main(["report", f"--workdir={workdir}"]) == 0
    said = capsys.readouterr().out
    assert "critic_bound" in said
    assert main(["report", f"--workdir={workdir}", "--html"]) == 0
    page = (workdir / "report.html").read_text()
    text = re.sub(r"<script.*?</script>|<style.*?</style>", "", page, flags=re.DOTALL)
    for found in (said, text):
        assert not re.search("elbo|bits/dim", found, re.IGNORECASE)


AAE_VALUES = {"model.posterior": "deterministic", "objective.name": "aae"}
VAE_GAN = {"objective.name": "vae_gan", "training.keep": "last"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (AAE_VALUES | {"objective.beta": 2.0}, "objective.beta = 2.0 has no effect while"),
        (AAE_VALUES | {"objective.warmup_epochs": 2.0}, "warmup_epochs = 2.0 has no effect"),
        (AAE_VALUES | {"training.batch_size": 1}, "batch_size = 1 should be at least 2$"),
        (AAE_VALUES | {"model.prior": "mixture"}, r"does not train p\(z\), .*'standard_normal'$"),
        (AAE_VALUES | {"objective.name": "elbo"}, "it should be 'aae' or 'rae' or 'wae_gan'$"),
        (AAE_VALUES | {"objective.num_samples": 2}, "num_samples = 2 are samples"),
        (
            {"objective.name": "aae", "model.name": "two_layers", "model.top.latent_size": 2},
            "'aae' has a critic of one layer of latents, .*; model.name should be 'vae'$",
        ),
        (AVB_VALUES | {"evaluation.metrics": ("gaps",)}, "'gaps' needs the ELBO of"),
        (
            {"model.posterior": "implicit"},
            "'elbo' needs a density .* has one that is not known; .* 'aae' or 'avb' or 'wae_gan'$",
        ),
        (
            {"objective.name": "avb", "model.posterior": "deterministic"},
            "'avb' needs a density .* has none; it should be 'aae' or 'rae' or 'wae_gan'$",
        ),
        (
            {"objective.name": "avb", "model.posterior": "planar"},
            "adaptive_contrast = True needs the scales of .*; it should be False$",
        ),
        (VAE_GAN | {"training.keep": "best"}, "keep = 'best' compares .* should be 'last'$"),
        (VAE_GAN | {"objective.critic.widths": ()}, "should be at least one layer"),
        (VAE_GAN | {"objective.critic.times": 2}, "at once with the others; it should be 1$"),
        (VAE_GAN | {"model.posterior": "deterministic"}, "'vae_gan' needs a density"),
        (
            {"objective.critic.times": 2},
            "objective.critic.times = 2 has no effect",
        ),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, values, message):
    npz = write_tiny_npz(tmp_path / "tiny.npz")
    with pytest.raises(UserError, match=message):
        refuse_idle([check(nest(values_of(npz) | values))])
