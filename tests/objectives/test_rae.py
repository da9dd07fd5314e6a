"""The objective of an autoencoder: what it adds up to, and that nowhere is an ELBO of it."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vae_jax
from tests.small import exact
from tests.small.models import mlp_spec
from tests.small.runs import train, values_of, write_tiny_npz
from vae_jax.cli.main import main
from vae_jax.config.check import check
from vae_jax.config.needs import refuse_idle
from vae_jax.config.schema import nest
from vae_jax.errors import UserError
from vae_jax.models import ModelSpec
from vae_jax.models.support import REAL, of_posterior
from vae_jax.models.vae import VAE
from vae_jax.objectives import Objective, loss
from vae_jax.objectives.rae import RAE, jacobian_norm, weights_norm
from vae_jax.pages.explorer import Explorer
from vae_jax.probability.likelihoods import GaussianLikelihood
from vae_jax.probability.posteriors import Deterministic
from vae_jax.reports.columns import best_rows, columns_of, kinds, warnings
from vae_jax.runs.summary import PSEUDO
from vae_jax.sections.declare import replace

X_BD = np.float32(np.random.default_rng(0).normal(size=(5, 6)))


def linear():
    """z = A x + a and E[x | z] = B z + b, with noise of variance 1."""
    spec = ModelSpec(
        VAE(posterior=Deterministic()), 3, mlp_spec(), mlp_spec(),
        image_shape=(2, 3, 1), likelihood=GaussianLikelihood(1.0),
    )  # fmt: skip
    model = exact.model_of(spec)
    return model, exact.variables_of(model)


def of_params(variables):
    params = variables["params"]
    code = X_BD @ params["encoder"]["mean"]["kernel"] + params["encoder"]["mean"]["bias"]
    decoder = params["decoder"]["output"]
    return code, code @ decoder["kernel"] + decoder["bias"], decoder["kernel"]


def test_the_loss_is_the_reconstruction_and_the_norm_of_the_code():
    model, variables = linear()
    own = Objective(RAE(), beta=0.3)
    found = loss(own, model, variables, jax.random.key(0), X_BD, None, 0)
    code, mean, _ = of_params(variables)
    log_p = -0.5 * np.square(X_BD - mean).sum(axis=1) - 3 * np.log(2 * np.pi)
    norm = 0.5 * np.square(code).sum(axis=1)
    np.testing.assert_allclose(found.terms.parts["reconstruction"], log_p, rtol=1e-5)
    np.testing.assert_allclose(found.terms.bound, log_p, rtol=1e-5)
    np.testing.assert_allclose(found.terms.parts["code_norm"], norm, rtol=1e-5)
    np.testing.assert_allclose(found.value, (0.3 * norm - log_p).mean(), rtol=1e-5)
    assert found.terms.parts.keys() == {"reconstruction", "code_norm"}


def test_the_penalty_of_the_gradient_is_unbiased():
    model, variables = linear()
    code, _, kernel = of_params(variables)
    keys = jax.random.split(jax.random.key(0), 4_000)
    z = (jnp.asarray(code)[None],)
    found = jax.jit(
        jax.vmap(lambda key: jacobian_norm(model, variables, key, z, None))
    )(keys)  # fmt: skip
    error = 4.4 * np.std(found, axis=0) / np.sqrt(len(keys))
    assert (np.abs(found.mean(axis=0) - np.square(kernel).sum()) < error).all()


@pytest.mark.parametrize("penalty", ["gradient", "l2"])
def test_a_penalty_is_added_with_its_weight(penalty):
    model, variables = linear()
    own = Objective(RAE(penalty, 0.1))
    found = loss(own, model, variables, jax.random.key(0), X_BD, None, 0)
    plain = replace(own, bound=RAE())
    without = loss(plain, model, variables, jax.random.key(0), X_BD, None, 0)
    added = 0.1 * found.terms.parts["penalty"].mean()
    np.testing.assert_allclose(found.value, without.value + added, rtol=1e-5)
    assert added > 0.01


def test_the_norm_of_the_weights_leaves_biases_out():
    params = {"a": {"kernel": jnp.full((2, 3), 2.0), "bias": jnp.ones(3)}, "b": jnp.ones((1, 1))}
    assert weights_norm(params) == 25


RAE_VALUES = {
    "model.posterior": "deterministic",
    "objective.name": "rae",
    "objective.beta": 0.1,
    "objective.penalty": "gradient",
    "objective.penalty_weight": 0.01,
}


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    at = tmp_path_factory.mktemp("rae")
    npz = write_tiny_npz(at / "tiny.npz")
    values = values_of(npz, training__num_epochs=2, evaluation__metrics=("latents",))
    train(nest(values | RAE_VALUES | {"log.figures": ("training_curves",)}), at / "run")
    return at / "run"


@pytest.mark.slow
def test_no_record_has_an_elbo(workdir, capsys):
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        assert not {"elbo", "kl"} & row.keys()
        assert row["bound"] == row["reconstruction"]
        assert row["code_norm"] > 0
    (lane, *_) = json.loads((workdir / "results.json").read_text())["lanes"]
    assert lane["bound_name"] == "reconstruction"
    assert lane["bound_of"] == "probability"
    assert lane["elbo"] is lane["kl"] is lane["bits_per_dim"] is None
    of_validation = [row["objective"] for row in rows if row["split"] == "validation"]
    assert lane["validation_objective"] == max(of_validation)
    assert main(["report", f"--workdir={workdir}"]) == 0
    said = capsys.readouterr().out
    assert "reconstruction" in said
    assert "code_norm" in said
    assert "elbo" not in said
    assert "bits/dim" not in said
    assert main(["report", f"--workdir={workdir}", "--html"]) == 0
    page = (workdir / "report.html").read_text()
    text = re.sub(r"<script.*?</script>|<style.*?</style>", "", page, flags=re.DOTALL)
    assert "code_" in text
    assert not re.search("elbo|bits/dim", text, re.IGNORECASE)


@pytest.mark.slow
def test_from_python_and_in_the_explorer(workdir):
    run = vae_jax.load(workdir)
    x = run.run.data.test.images[:2]
    found = run.posterior(x[:1])
    assert found.keys() == {"mean", "sd", "reconstruction"}
    assert np.isnan(found["sd"]).all()
    np.testing.assert_allclose(run.reconstruct(x[:1]), run.decode(run.encode(x[:1])), rtol=1e-5)
    with pytest.raises(UserError, match="is a point without a density: there is no nll"):
        run.nll(x)
    page = Explorer(run)
    assert "reconstruction" in page.terms.text
    assert "ELBO" not in page.terms.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"objective.name": "elbo"},
            r"'elbo' needs a density of q\(z | x\), .* 'rae'",
        ),
        ({"objective.name": "iwae", "objective.num_samples": 5}, "'iwae' needs a density"),
        ({"model.posterior": "diagonal"}, "model.posterior should be 'deterministic'$"),
        ({"objective.num_samples": 2}, "num_samples = 2 are samples .* it should be 1$"),
        ({"evaluation.num_samples": 9}, "evaluation.num_samples = 9 are samples .* should be 0$"),
        ({"model.prior": "mixture"}, r"does not train p\(z\), .* should be 'standard_normal'$"),
        (
            {"objective.penalty": "none"},
            "objective.penalty_weight = 0.01 has no effect while objective.penalty is 'none'",
        ),
        ({"objective.penalty_weight": 0.0}, "objective.penalty = 'gradient' has no effect while"),
        ({"objective.free_bits": 1.0}, "objective.free_bits = 1.0 has no effect"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, changes, message):
    values = values_of(write_tiny_npz(tmp_path / "tiny.npz")) | RAE_VALUES
    if changes.get("objective.name"):
        values |= {"objective.penalty": "none", "objective.penalty_weight": 1.0}
    with pytest.raises(UserError, match=message):
        refuse_idle([check(nest(values | changes))])


def lane_of(number, **more):
    lane = {"lane": 0, "status": "done", "bound": number, "validation_bound": number, "elbo": None}
    lane |= {"kl": None, "reconstruction": number, "bits_per_dim": None}
    return lane | {"bound_of": "probability", "bound_name": "reconstruction"} | more


def test_reconstructions_are_compared_with_their_kind_alone():
    of_grey = lane_of(700.0, bound_of="density", lane=1)
    with_bound = lane_of(-90.0, bound_name="", elbo=-90.0, kl=20.0, lane=2)
    assert len(kinds([lane_of(-80.0), of_grey, with_bound])) == 3
    said = " ".join(warnings([lane_of(-80.0), of_grey, with_bound]))
    assert "a reconstruction is no bound on log p(x)" in said
    assert "bounds of a probability and of a density can't be compared" in said
    pseudo = columns_of([lane_of(-80.0, bound_of=PSEUDO)])
    assert [column.heading for column in pseudo] == ["pseudo-reconstruction"]
    groups = [[lane_of(-80.0)], [lane_of(-70.0)]]
    columns = columns_of([lane for group in groups for lane in group])
    assert best_rows(groups, columns) == {0: 1}


def test_a_score_named_density_hides_no_bound():
    iwae = lane_of(-90.0, bound_of="density", bound_name="iwae(k=5)", elbo=-95.0, kl=20.0)
    names = [column.heading for column in columns_of([iwae | {"density": 0.9}])]
    assert names == ["iwae(k=5)", "elbo", "reconstruction", "kl", "density"]


def test_pure_functions_say_that_there_is_no_bound():
    model, variables = linear()
    with pytest.raises(UserError, match="there is no bound on log p"):
        vae_jax.elbo(model, variables, jax.random.key(0), X_BD)


def test_a_point_of_one_s_own_is_real():
    class mine(Deterministic):
        distribution_type = tuple
        is_point = True

    assert of_posterior(mine()) == REAL
