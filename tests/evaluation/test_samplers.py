"""What is fitted to codes: of known codes, the known distribution; and samples by it."""

import jax
import numpy as np
import pytest
from scipy.stats import multivariate_normal

import vae_jax
from tests.small.runs import train, values_of, write_tiny_npz
from vae_jax.config.check import check
from vae_jax.config.needs import refuse_idle, refuse_measured_data
from vae_jax.config.schema import nest
from vae_jax.errors import UserError
from vae_jax.evaluation import samplers
from vae_jax.evaluation.samplers import fit, log_prob, padded, sample
from vae_jax.runs.run import make_dataset

MEANS = np.array([[-3.0, 100.0], [3.0, 140.0]])
COVARIANCES = np.array([[[0.5, 3.0], [3.0, 40.0]], [[0.3, -1.0], [-1.0, 20.0]]])
WEIGHTS = np.array([0.3, 0.7])


def codes_of_two(n, seed=0):
    """Codes of a mixture of two; the units have very different scales."""
    rng = np.random.default_rng(seed)
    component = (rng.random(n) > WEIGHTS[0]).astype(int)
    noise = rng.normal(size=(n, 2, 1))
    return (MEANS[component, :, None] + np.linalg.cholesky(COVARIANCES)[component] @ noise)[..., 0]


def exact_log_prob(z):
    parts = [
        w * multivariate_normal(m, c).pdf(z)
        for w, m, c in zip(WEIGHTS, MEANS, COVARIANCES, strict=True)
    ]
    return np.log(sum(parts))


def test_a_mixture_of_two_is_recovered():
    found = fit("mixture", codes_of_two(20_000), 2)
    order = np.argsort(found.mean_cl[:, 0])
    np.testing.assert_allclose(np.exp(found.log_weights_c[order]), WEIGHTS, atol=0.02)
    np.testing.assert_allclose(found.mean_cl[order], MEANS, rtol=0.01, atol=0.05)
    covariance = found.factor_cll @ np.swapaxes(found.factor_cll, 1, 2)
    np.testing.assert_allclose(covariance[order], COVARIANCES, rtol=0.1, atol=0.3)
    held_out = codes_of_two(5_000, seed=1)
    gap = exact_log_prob(held_out) - jax.jit(log_prob)(found, np.float32(held_out))
    assert abs(gap.mean()) < 0.01


def test_a_gaussian_has_the_moments_of_the_codes():
    codes = codes_of_two(1_000)
    found = fit("gaussian", codes, 10)
    covariance = np.cov(codes.T, bias=True)
    np.testing.assert_allclose(found.mean_cl[0], codes.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.factor_cll[0] @ found.factor_cll[0].T, covariance, rtol=1e-4)
    expected = multivariate_normal(codes.mean(axis=0), covariance).logpdf(codes[:50])
    np.testing.assert_allclose(log_prob(found, np.float32(codes[:50])), expected, rtol=1e-3)


def test_samples_are_of_the_density():
    found = fit("mixture", codes_of_two(20_000), 2)
    z = np.asarray(jax.jit(sample, static_argnums=2)(found, jax.random.key(0), 20_000))
    of = exact_log_prob(codes_of_two(20_000, seed=1))
    own = exact_log_prob(z)
    assert abs(own.mean() - of.mean()) < 5 * np.hypot(own.std(), of.std()) / np.sqrt(20_000) + 0.01
    np.testing.assert_allclose(z.mean(axis=0), WEIGHTS @ MEANS, rtol=0.02, atol=0.1)


def test_a_padded_sampler_has_the_same_first_units():
    found = fit("mixture", codes_of_two(2_000), 3)
    more = padded(found, 4)
    keys = jax.random.split(jax.random.key(0), 100)
    one = jax.jit(jax.vmap(lambda fitted, key: sample(fitted, key, 1)[0], (None, 0)))
    z, z_more = one(found, keys), one(more, jax.random.clone(keys))  # as the metric has it
    assert z_more.shape == (100, 4)
    np.testing.assert_allclose(z_more[:, :2], z, rtol=1e-5)
    own = log_prob(found, z_more[:, :2])
    rest = -0.5 * np.square(z_more[:, 2:]).sum(axis=1) - np.log(2 * np.pi)
    np.testing.assert_allclose(log_prob(more, z_more), own + rest, rtol=1e-4, atol=1e-4)


def test_codes_that_can_t_be_fitted():
    constant = fit("gaussian", np.ones((50, 3)), 1)  # a unit that is never used
    assert np.isfinite(np.concatenate([leaf.ravel() for leaf in constant])).all()
    with pytest.raises(UserError, match="10 components can't be fitted to 8 codes; take fewer"):
        fit("mixture", np.zeros((8, 2)), 10)
    with pytest.raises(UserError, match="codes that are not finite"):
        fit("gaussian", np.full((8, 2), np.nan), 1)


POINT = {"model.posterior": "deterministic", "objective.name": "rae", "objective.beta": 0.01}
ALL = {
    "evaluation.metrics": ("samples",),
    "evaluation.samplers": ("prior", "gaussian", "mixture"),
    "evaluation.mixture.components": 3,
}


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    at = tmp_path_factory.mktemp("samplers")
    values = values_of(write_tiny_npz(at / "tiny.npz"), training__num_epochs=2)
    train(nest(values | POINT | ALL | {"log.figures": ("samplers",)}), at / "run")
    return at / "run"


def test_each_sampler_has_its_scores_and_its_row(workdir):
    kept = np.load(workdir / "evaluation" / "samples.npz")
    assert kept.keys() == {"made", "made_gaussian", "made_mixture"}
    assert len({kept[name].tobytes() for name in kept}) == 3
    lane = vae_jax.frames.results(workdir).iloc[0]
    for of in ("", "_gaussian", "_mixture"):
        assert 0 <= lane[f"precision{of}"] <= 1
        assert lane[f"frechet_distance{of}"] >= 0
    assert (workdir / "figures" / "samplers.png").exists()
    codes = np.load(workdir / "evaluation" / "codes.npz")["code"][0]
    run = vae_jax.load(workdir, lane=0)
    assert codes.shape == (len(run.data.train.images), run.latent_size)


def test_from_python_it_is_what_the_metric_fitted(workdir):
    run = vae_jax.load(workdir, lane=0)
    own = vae_jax.fit_sampler(run, "gaussian")
    codes = np.load(workdir / "evaluation" / "codes.npz")["code"][0]
    np.testing.assert_allclose(own.fitted.mean_cl[0], codes.mean(axis=0), rtol=1e-3, atol=1e-4)
    z = own.sample(7, seed=3)
    assert z.shape == (7, run.latent_size)
    np.testing.assert_array_equal(z, own.sample(7, seed=3))
    assert np.isfinite(own.log_prob(z)).all()
    assert run.decode(z).shape[0] == 7
    with pytest.raises(UserError, match=r"name = 'mixtur' .* did you mean 'mixture'"):
        vae_jax.fit_sampler(run, "mixtur")


def test_others_beside_do_not_change_the_samples_of_the_prior(workdir, tmp_path):
    alone = {"evaluation.samplers": ("prior",), "evaluation.mixture.components": 10}
    npz = workdir.parent / "tiny.npz"
    values = values_of(npz, training__num_epochs=2) | POINT | ALL | alone
    train(nest(values | {"log.figures": ("training_curves",)}), tmp_path / "run")
    one, several = (
        np.load(at / "evaluation" / "samples.npz")["made"] for at in (tmp_path / "run", workdir)
    )
    np.testing.assert_array_equal(one, several)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"evaluation.samplers": ("mixtures",)}, r"\[0\] = 'mixtures' .* did you mean 'mixture'"),
        (
            {"evaluation.samplers": ("gaussian",)},
            r"components = 3 has no effect while evaluation.samplers is \('gaussian',\); leave",
        ),
        (
            {"evaluation.samplers": (), "evaluation.mixture.components": 10},
            "should have one name or more, each once: prior, gaussian, mixture",
        ),
        ({"evaluation.samplers": ("mixture", "mixture")}, "each once"),
        (
            {"model.name": "ladder", "model.posterior": "diagonal", "objective.name": "elbo"},
            "'gaussian' is fitted to one layer of codes",
        ),
        ({"model.conditional": True}, "of a model that reads no labels"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, changes, message):
    values = values_of(write_tiny_npz(tmp_path / "tiny.npz"))
    with pytest.raises(UserError, match=message):
        refuse_idle([check(nest(values | POINT | ALL | changes))])


def test_a_mixture_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.mixture", None)
    with pytest.raises(UserError, match=r"a mixture needs scikit-learn: pip install"):
        samplers.fit("mixture", codes_of_two(100), 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"evaluation.mixture.components": 250}, "should be fewer than the 250 training images"),
        ({"model.latent_size": 1_001}, "has 1,001 units; it is for at most 1,000: leave it out"),
    ],
)
def test_what_does_not_fit_the_data_is_refused(tmp_path, changes, message):
    config = check(nest(values_of(write_tiny_npz(tmp_path / "tiny.npz")) | POINT | ALL | changes))
    with pytest.raises(UserError, match=message):
        refuse_measured_data(config, make_dataset(config))
