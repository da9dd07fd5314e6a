"""A run that starts from a finished one and trains a part of it."""

import json

import jax
import numpy as np
import pytest

from tests.small.runs import config_of, rows_of, run, write_tiny_npz
from vae_jax.errors import UserError
from vae_jax.folders import folder
from vae_jax.runs.load import load_progress
from vae_jax.runs.run import make_run

VQ = {
    "model__posterior": "vq",
    "model__prior": "uniform",
    "model__latent_size": 2,
    "model__codebook__entries": 3,
    "model__codebook__width": 2,
    "training__seeds": (0, 1),
}
PRIOR = {
    "model__prior": "causal",
    "model__causal__layers": 1,
    "model__causal__width": 8,
    "training__trained": ("prior",),
    "optimizer__learning_rate": 1e-2,
}


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """(npz, the folder of a finished run with codes)."""
    at = tmp_path_factory.mktemp("start")
    npz = write_tiny_npz(at / "tiny.npz")
    run(npz, at / "vq", **VQ)
    return npz, at / "vq"


def variables_of(npz, workdir, **changes):
    return load_progress(make_run(config_of(npz, **changes), workdir)).best.variables


@pytest.mark.slow
def test_a_prior_is_trained_over_the_codes_of_a_finished_run(first, tmp_path):
    npz, source = first
    changes = VQ | PRIOR | {"training__start_from": str(source)}
    run(npz, tmp_path / "prior", **changes)
    before, after = (
        variables_of(npz, source, **VQ),
        variables_of(npz, tmp_path / "prior", **changes),
    )
    for kind in ("params", "stats"):
        for name, part in before[kind].items():
            if name != "prior":
                for a, b in zip(
                    jax.tree.leaves(part), jax.tree.leaves(after[kind][name]), strict=True
                ):
                    np.testing.assert_array_equal(a, b)
    old, new = (folder.read_results(workdir)["lanes"] for workdir in (source, tmp_path / "prior"))
    for one, other in zip(old, new, strict=True):
        assert one["reconstruction"] == other["reconstruction"]
        assert one["kl"] == pytest.approx(2 * np.log(3), rel=1e-5)
        assert other["kl"] < one["kl"] - 0.1  # few of the nine pairs of codes are in use
        assert other["kl"] > 0
    found = json.loads((tmp_path / "prior" / folder.ENVIRONMENT).read_text())["started_from"]
    assert found["path"] == str(source)
    assert len(found["steps"]) == 2
    rows = [row for row in rows_of(tmp_path / "prior") if row["split"] == "train"]
    assert {"perplexity", "codes_used", "commitment"} <= set(rows[0])
    assert rows[0]["perplexity"] <= 3


@pytest.mark.slow
def test_it_needs_its_start_no_more_once_it_has_begun(first, tmp_path):
    npz, source = first
    gone = tmp_path / "gone"
    gone.symlink_to(source)
    changes = VQ | PRIOR | {"training__start_from": str(gone)}
    run(npz, tmp_path / "short", **changes)
    gone.unlink()
    longer = changes | {"training__num_epochs": config_of(npz).training.num_epochs + 2}
    run(npz, tmp_path / "short", **longer)
    whole = changes | {"training__start_from": str(source)}
    run(
        npz,
        tmp_path / "whole",
        **(whole | {"training__num_epochs": longer["training__num_epochs"]}),
    )
    one, other = (folder.read_results(tmp_path / name)["lanes"] for name in ("short", "whole"))
    assert [lane["elbo"] for lane in one] == [lane["elbo"] for lane in other]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training__start_from": "nowhere"}, "should be the folder of a finished run; there is"),
        ({"training__seeds": (0, 5)}, "a lane starts from that of its own seed"),
        ({"model__codebook__width": 3}, "'decoder' of the params has other shapes"),
        ({"training__trained": ()}, "'prior' of the params has other shapes"),
        ({"training__trained": ("prior", "priors")}, "should be among the parts of the params"),
        ({"dataset__validation_size": 51}, "is not the one that the run in"),
    ],
)
def test_another_start_is_refused_before_anything_is_written(first, tmp_path, changes, message):
    npz, source = first
    given = VQ | PRIOR | {"training__start_from": str(source)} | changes
    with pytest.raises(UserError, match=message):
        run(npz, tmp_path / "new", **given)
    assert not (tmp_path / "new").exists()


def test_a_part_alone_is_trained_of_a_finished_run_only(first, tmp_path):
    npz, _ = first
    with pytest.raises(UserError, match="start_from should be the folder"):
        run(npz, tmp_path / "new", **VQ, training__trained=("decoder",))


@pytest.mark.slow
def test_a_book_that_follows_the_codes_goes_on_bit_for_bit(first, tmp_path):
    """Averages and restarts are of the run: two trainings, the second of which resumes."""
    npz, _ = first
    restarts = VQ | {"model__codebook__restart_below": 0.5, "model__codebook__decay": 0.5}
    for name, epochs in (("twice", (2, 4)), ("once", (4,))):
        for n in epochs:
            run(npz, tmp_path / name, **restarts, training__num_epochs=n)
    one, other = (
        load_progress(
            make_run(config_of(npz, **restarts, training__num_epochs=4), tmp_path / name)
        ).state
        for name in ("twice", "once")
    )
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)
