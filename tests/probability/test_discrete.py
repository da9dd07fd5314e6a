"""Categorical latents and codebooks against sums over all z and closed forms."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.evaluation.metrics.codebook import shares
from vae_jax.probability import priors
from vae_jax.probability.categorical import Categorical, index_of, vectors
from vae_jax.probability.causal import Causal
from vae_jax.probability.codebooks import FiniteScalar, VectorQuantized, perplexity
from vae_jax.probability.discrete import (
    CategoricalPosterior,
    CausalPrior,
    LearnedCategorical,
    Uniform,
)
from vae_jax.probability.divergences import kl_divergence
from vae_jax.probability.interface import Shape
from vae_jax.probability.posteriors import POSTERIORS
from vae_jax.sections.declare import replace

B, L, C = 3, 2, 3
PRIORS = {
    "categorical": LearnedCategorical((1, C)),
    "causal": CausalPrior(1, 8, (1, C)),
    "uniform": Uniform((1, C)),
}
# The causal prior takes the longest.
of_every_prior = pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name == "causal")) for name in PRIORS],
)
BOOK = jnp.asarray(np.random.default_rng(1).normal(size=(1, C, 4)).astype(np.float32))


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def prior_of(name, book=None, batch_size=1):
    """A p(z) of two units of three values, of random params."""
    prior = PRIORS[name]
    params = jax.jit(lambda key: prior.init(key, L, 0, None))(jax.random.key(0))
    params = jax.tree.map(lambda leaf: leaf + 0.5 * normal(leaf.size, *leaf.shape), params)
    return prior.distribution(params, None, None, Shape(batch_size, L, None, book))


def q_of(seed=0):
    return CategoricalPosterior(C).distribution({}, {"logits": 2 * normal(seed, B, L * C)})


def every(book=None):
    """All z, [9, 1, z]."""
    index = jnp.asarray(list(itertools.product(range(C), repeat=L)))
    return vectors(book, index, C)[:, None]


def test_every_discrete_member_is_here():
    assert {n: type(p) for n, p in PRIORS.items()} == {
        name: own for name, own in priors.PRIORS.items() if own().support == "discrete"
    }
    discrete = {name for name, own in POSTERIORS.items() if own().support == "discrete"}
    assert discrete == {"categorical", "fsq", "vq"}


@pytest.mark.parametrize("book", [None, BOOK], ids=["one-hot", "book"])
@of_every_prior
def test_probabilities_of_all_z_sum_to_one_and_samples_have_them(name, book):
    @jax.jit
    def found(key):
        p = prior_of(name, book)
        z, log_p = p.sample(key, 20_000)
        return p.log_prob(every(book)), z, log_p, p.log_prob(z)

    log_p, z, reported, again = found(jax.random.key(2))
    np.testing.assert_allclose(np.exp(log_p).sum(), 1, rtol=1e-5)
    np.testing.assert_allclose(reported, again, rtol=1e-5, atol=1e-5)
    is_equal = np.isclose(np.asarray(z)[:, 0, None], np.asarray(every(book))[None, :, 0]).all(-1)
    assert (is_equal.sum(axis=1) == 1).all()  # each sample is one of them
    chance = np.exp(np.asarray(log_p)[:, 0])
    error = np.sqrt(chance * (1 - chance) / 20_000)
    assert (np.abs(is_equal.mean(axis=0) - chance) < 4.4 * error).all()
    assert chance.max() > 1.5 / 9 or name == "uniform"  # and it could tell


@of_every_prior
def test_a_temperature_divides_the_logits(name):
    """At 0 the most probable value is left of an independent unit; at infinity all are alike."""

    @jax.jit
    def of(temperature):
        return jnp.exp(prior_of(name).cooled(temperature).log_prob(every()))[:, 0]

    np.testing.assert_allclose(of(1e6), 1 / 9, rtol=1e-3)
    np.testing.assert_allclose(of(1.0), jnp.exp(prior_of(name).log_prob(every()))[:, 0], rtol=1e-5)
    if name != "uniform":
        assert of(1e-3).max() == pytest.approx(1, abs=1e-4)


def test_a_new_causal_prior_is_uniform():
    prior = PRIORS["causal"]
    p = prior.distribution(prior.init(jax.random.key(0), L, 0), None, None, Shape(1, L))
    np.testing.assert_allclose(p.log_prob(every()), -np.log(9), rtol=1e-6)


@pytest.mark.parametrize("name", ["categorical", "uniform"])
def test_the_kl_is_the_sum_over_all_z(name):
    q, p = q_of(), prior_of(name)
    z = jnp.broadcast_to(every(), (9, B, L * C))
    log_q = q.log_prob(z)
    by_sum = jnp.sum(jnp.exp(log_q) * (log_q - p.log_prob(every())), axis=0)
    np.testing.assert_allclose(kl_divergence(q, p)[0].sum(axis=-1), by_sum, rtol=1e-5)
    assert kl_divergence(q, prior_of("causal")) is None
    np.testing.assert_array_equal(q.every(), z)


def test_relaxed_samples_tend_to_hard_ones_and_have_their_means():
    q, key = q_of(), jax.random.key(3)

    @jax.jit
    def found(temperature):
        soft = q.relaxed(key, 5_000, temperature, hard=False)
        return q.sample(jax.random.clone(key), 5_000)[0], soft

    hard, soft = found(1e-3)
    assert np.abs(hard - soft).mean() < 1e-3
    _, soft = found(1.0)
    np.testing.assert_allclose(soft.reshape(5_000, B, L, C).sum(axis=-1), 1, rtol=1e-4)
    assert (np.abs(hard.mean(axis=0) - q.mean()[0]) < 4.4 * 0.5 / np.sqrt(5_000)).all()
    np.testing.assert_array_equal(q.centre()[0].argmax(-1), q.centre()[0].argmax(-1))
    np.testing.assert_array_equal(index_of(None, q.centre(), C)[0], q.logits_btc.argmax(-1))


def test_straight_through_samples_are_hard_with_the_relaxed_gradient():
    key, weights = jax.random.key(4), normal(5, 50, B, L * C)

    def total(logits, hard):
        q = Categorical(logits)
        return jnp.sum(weights * q.relaxed(jax.random.clone(key), 50, 0.7, hard=hard))

    logits = q_of().logits_btc
    grad = jax.jit(jax.grad(total), static_argnums=1)
    np.testing.assert_allclose(grad(logits, True), grad(logits, False), rtol=1e-5, atol=1e-6)
    hard = q_of().relaxed(jax.random.clone(key), 50, 0.7, hard=True)
    np.testing.assert_allclose(hard, q_of().sample(jax.random.clone(key), 50)[0], atol=1e-6)


def test_noise_of_a_unit_does_not_depend_on_the_others():
    one, two = (Categorical(jnp.zeros((B, size, C))) for size in (1, 2))
    key = jax.random.key(0)
    z_one, z_two = (p.sample(jax.random.clone(key), 7)[0] for p in (one, two))
    np.testing.assert_array_equal(z_one, z_two[..., :C])


VQ = VectorQuantized(entries=8, unit_size=2, decay=0.9, restart_below=0.0)


def stats_of(vq, seed=0):
    return vq.init_stats(jax.random.key(seed), L)


def test_the_gradient_of_a_code_is_the_identity_s():
    params = stats_of(VQ)

    def z(h):
        return VQ.distribution(params, {"mean": h}).mean()[0]

    h = normal(1, 1, 4)
    jacobian = jax.jit(jax.jacobian(z))(h).reshape(4, 4)
    np.testing.assert_array_equal(jacobian, np.eye(4))
    q = VQ.distribution(params, {"mean": h})
    distance = np.linalg.norm(
        np.asarray(params["book"])[0] - np.asarray(h).reshape(2, 1, 2), axis=-1
    )
    np.testing.assert_array_equal(q.index_bt[0], distance.argmin(axis=-1))
    np.testing.assert_allclose(
        z(h)[0].reshape(2, 2), np.asarray(params["book"])[0][q.index_bt[0]], rtol=1e-5
    )
    np.testing.assert_array_equal(index_of(params["book"], z(h), 8), q.index_bt)


def test_the_book_is_the_closed_form_of_its_averages():
    stats, counts, totals = stats_of(VQ), [], []
    first = stats
    for seed in range(3):
        h = normal(seed, 64, 4)
        q = VQ.distribution(stats, {"mean": h})
        use = np.eye(8)[np.ravel(q.index_bt)]
        counts.append(use.sum(axis=0)[:, None])
        totals.append(use.T @ np.asarray(h).reshape(-1, 2))
        stats = VQ.update(stats, q)
    weights = [0.1 * 0.9**i for i in (2, 1, 0)]
    count, total = (
        0.9**3 * np.asarray(first[name][0])
        + sum(w * own for w, own in zip(weights, parts, strict=True))
        for name, parts in (("count", counts), ("total", totals))
    )
    np.testing.assert_allclose(stats["count"][0], count, rtol=1e-5)
    np.testing.assert_allclose(stats["book"][0], total / count, rtol=1e-4, atol=1e-5)


def test_an_entry_that_is_never_used_stays_finite_where_it_is():
    far = stats_of(VQ)
    far = far | {"book": far["book"].at[0, 0].set(100.0), "total": far["total"].at[0, 0].set(100.0)}
    h = normal(0, 16, 4)

    @jax.jit
    def after(stats):
        def step(i, stats):
            return VQ.update(stats, VQ.distribution(stats, {"mean": h}))

        return jax.lax.fori_loop(0, 10_000, step, stats)

    stats = after(far)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(stats))
    np.testing.assert_allclose(stats["book"][0, 0], 100.0, rtol=1e-3)


def test_unused_entries_start_anew_at_encodings_and_stay():
    vq = replace(VQ, restart_below=0.03)
    stats = stats_of(vq)
    stats = stats | {"book": stats["book"].at[0, 4:].add(100.0), "count": stats["count"] * 0.01}
    h = normal(0, 64, 4)
    q = vq.distribution(stats, {"mean": h})
    assert float(vq.note(q)["codes_used"]) <= 0.5
    stats = vq.update(stats, q)
    rows = np.asarray(h).reshape(-1, 2)
    for entry in np.asarray(stats["book"])[0, 4:]:
        assert np.isclose(rows, entry, atol=1e-5).all(axis=1).any()
    again = vq.distribution(vq.update(stats, vq.distribution(stats, {"mean": h})), {"mean": h})
    assert float(vq.note(again)["codes_used"]) > 0.9


@pytest.mark.slow
def test_each_stage_codes_what_is_left():
    vq = VectorQuantized(entries=8, unit_size=2, stages=2)
    params, h = stats_of(vq), normal(0, 16, 4)
    q = vq.distribution(params, {"mean": h})
    books, index = np.asarray(params["book"]), np.asarray(q.index_bt).reshape(-1, 2)
    left = np.asarray(h).reshape(-1, 2)
    losses = 0.0
    for stage in range(2):
        distance = np.linalg.norm(books[stage] - left[:, None], axis=-1)
        np.testing.assert_array_equal(index[:, stage], distance.argmin(axis=-1))
        left = left - books[stage][index[:, stage]]
        losses += 0.25 * np.square(left).sum(axis=-1).reshape(16, -1).sum(axis=-1)
    np.testing.assert_allclose(np.asarray(h - q.mean()[0]).reshape(-1, 2), left, atol=1e-5)
    np.testing.assert_allclose(vq.losses_of(q)["commitment"], losses, rtol=1e-4)
    p = Uniform((2, 8)).distribution({}, None, None, Shape(1, L, None, params["book"]))
    np.testing.assert_allclose(kl_divergence(q, p)[0], 2 * np.log(8), rtol=1e-5)
    z, log_p = p.sample(jax.random.key(0), 3)
    assert z.shape == (3, 1, 4)
    np.testing.assert_allclose(log_p, -4 * np.log(8), rtol=1e-5)


def test_a_book_by_gradient_is_drawn_to_the_encodings_and_they_to_it():
    vq = replace(VQ, rule="gradient")
    params, h = vq.init(jax.random.key(0), L), normal(0, 16, 4)
    assert vq.init_stats(jax.random.key(0), L) is None

    def loss(params, h):
        q = vq.distribution(params, {"mean": h})
        return jnp.sum(vq.losses_of(q)["commitment"])

    of_book, of_h = jax.jit(jax.grad(loss, argnums=(0, 1)))(params, h)
    q = vq.distribution(params, {"mean": h})
    away = np.asarray(h - q.mean()[0])
    np.testing.assert_allclose(of_h, 2 * 0.25 * away, rtol=1e-4, atol=1e-5)
    use = np.eye(8)[np.ravel(q.index_bt)]
    np.testing.assert_allclose(of_book["book"][0], -2 * use.T @ away.reshape(-1, 2), atol=1e-4)


@pytest.mark.parametrize(
    "levels", [(4, 3, 6), *(pytest.param(n, marks=pytest.mark.slow) for n in ((3,), (8, 5)))]
)
def test_fsq_rounds_to_the_levels_and_uses_all(levels):
    fsq = FiniteScalar(levels)
    h = 2 * normal(0, 4_000, len(levels))
    q = fsq.distribution({}, {"mean": h})
    z, entries = np.asarray(q.mean()[0]), int(np.prod(levels))
    for column, count in zip(z.T, levels, strict=True):
        assert len(np.unique(column.round(5))) == count
        assert np.abs(column).max() <= 1 + 1e-6
    np.testing.assert_allclose(vectors(q.book, q.index_bt, entries), z, atol=1e-6)
    np.testing.assert_array_equal(index_of(q.book, jnp.asarray(z), entries), q.index_bt)
    assert len(np.unique(q.index_bt)) == entries
    # At 0 the code is 0 where the number of levels is odd, and its gradient is that of tanh.
    slope = jax.grad(lambda h: jnp.sum(fsq.distribution({}, {"mean": h}).mean()))(jnp.zeros_like(h))
    assert (np.asarray(slope) > 0.3).all()


def test_perplexity_by_hand():
    use = jnp.array([[0.5, 0.5, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]])
    assert float(perplexity(use)) == pytest.approx((2 + 4) / 2)


@pytest.mark.slow
def test_a_code_s_kl_under_a_causal_prior_is_its_log_probability():
    vq = VectorQuantized(entries=C, unit_size=4)
    params = {"book": BOOK}
    q = vq.distribution(params, {"mean": normal(0, B, L * 4)})
    p = prior_of("causal", BOOK)
    z, log_q = q.sample(jax.random.key(0), 1)
    np.testing.assert_allclose(kl_divergence(q, p)[0].sum(-1), -p.log_prob(z)[0], rtol=1e-5)
    np.testing.assert_array_equal(log_q, 0)
    assert isinstance(p, Causal)


def test_the_metric_counts_the_use_of_every_entry():
    index = np.array([[0, 3], [0, 2]])  # two images of one unit with two stages, four entries
    share_sc = shares(index, (2, 4))
    np.testing.assert_allclose(share_sc, [[1, 0, 0, 0], [0, 0, 0.5, 0.5]])
    assert float(perplexity(share_sc)) == pytest.approx(1.5)
