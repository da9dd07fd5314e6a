"""What is measured is kept, asked for again, and told where it fails."""

import shutil

import numpy as np
import pytest

from tests.small.measuring import results_of, with_metrics
from tests.small.runs import evaluate, train, values_of, write_tiny_npz
from vae_jax import files
from vae_jax.config.schema import nest
from vae_jax.errors import UserError
from vae_jax.evaluation.metrics import METRICS
from vae_jax.folders import folder
from vae_jax.runs import measure as measurements

pytestmark = pytest.mark.usefixtures("few_steps")


class PowerCut(BaseException):
    """What no code can catch."""


@pytest.mark.parametrize(
    "name",
    [
        name if name in ("nll", "latents") else pytest.param(name, marks=pytest.mark.slow)
        for name in METRICS
        if name not in ("elbo", "disentanglement")
    ],
)
def test_the_same_evaluation_gives_the_same_bytes(copy, name):
    workdir, config = copy
    files = {}
    for _ in range(2):
        shutil.rmtree(workdir / "evaluation", ignore_errors=True)
        evaluate(workdir, with_metrics(config, metrics=(name,)))
        found = [workdir / folder.RESULTS, *sorted((workdir / "evaluation").iterdir())]
        files = {path.name: path.read_bytes() for path in found} | files
    for path in found:
        assert path.read_bytes() == files[path.name], path


def test_what_is_measured_is_kept_until_params_or_settings_change(copy, monkeypatch):
    workdir, config = copy
    evaluate(workdir, with_metrics(config))
    first = results_of(workdir)

    def measure_split(*arguments):
        raise PowerCut("measured again")

    monkeypatch.setattr(measurements, "measure_split", measure_split)
    evaluate(workdir, with_metrics(config, batch_size=7))
    assert results_of(workdir)["lanes"] == first["lanes"]
    with pytest.raises(PowerCut, match="measured again"):
        evaluate(workdir, with_metrics(config, num_importance_samples=61))


def test_a_crash_half_way_keeps_what_is_done_and_leaves_the_results(copy, monkeypatch):
    workdir, config = copy
    before = (workdir / folder.RESULTS).read_bytes()
    measure_split, taken = measurements.measure_split, []

    def crash(run, best, name, *more):
        taken.append(name)
        if taken == ["nll", "latents"]:
            raise PowerCut("a power cut")
        return measure_split(run, best, name, *more)

    monkeypatch.setattr(measurements, "measure_split", crash)
    with pytest.raises(PowerCut, match="a power cut"):
        evaluate(workdir, with_metrics(config))
    assert (workdir / folder.RESULTS).read_bytes() == before
    evaluate(workdir, with_metrics(config))
    assert taken == ["nll", "latents", "latents"]


def test_evaluating_again_adds_to_what_was_measured(copy, monkeypatch):
    workdir, config = copy
    evaluate(workdir, with_metrics(config, metrics=("latents",)))
    evaluate(workdir, with_metrics(config, metrics=("surgery",)))
    found = results_of(workdir)
    assert set(found["measured"]) == {"latents", "surgery"}
    for lane in found["lanes"]:
        assert {"active_units", "mutual_information"} <= lane.keys()
    assert found["mean"]["active_units"] is not None
    # Of other params it is not.
    path = workdir / "evaluation" / "latents.json"
    content = folder.read_json(path)
    content["settings"]["best_step"] = [1, 1]
    files.write_json(path, content)
    evaluate(workdir, with_metrics(config, metrics=("surgery",)))
    assert set(results_of(workdir)["measured"]) == {"surgery"}


def test_a_metric_that_fails_costs_its_columns_alone(copy, monkeypatch, capsys):
    workdir, config = copy
    measure_split = measurements.measure_split

    def fails(run, best, name, *more):
        if name == "nll":
            raise ValueError("no\nroom")
        return measure_split(run, best, name, *more)

    monkeypatch.setattr(measurements, "measure_split", fails)
    evaluate(workdir, with_metrics(config))
    found = results_of(workdir)
    assert found["not_measured"] == {"nll": "no room"}
    assert "active_units" in found["lanes"][0]
    assert "nll could not be measured: no room" in capsys.readouterr().out


def few(npz, train=300, test=50):
    with np.load(npz) as there:
        content = {n: there[n][: train if n.startswith("train") else test] for n in there.files}
    np.savez(npz, **content)
    return npz


@pytest.mark.parametrize(
    ("metric", "sizes", "message"),
    [
        ("samples", {"test": 5}, r"5 nearest neighbours, and tiny.npz has 5 test images"),
        ("probes", {"train": 54}, r"at least 5 labelled training images.* tiny.npz has 4, of"),
    ],
)
def test_too_few_images_for_a_metric_are_told_before_anything_is_made(
    tiny_npz, tmp_path, metric, sizes, message
):
    values = values_of(few(tiny_npz, **sizes), evaluation__metrics=(metric,))
    with pytest.raises(UserError, match=message):
        train(nest(values), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_what_an_earlier_version_measured_of_several_layers_is_measured_again(tmp_path):
    """It gave the KL at the means of the layers above, and no active units of each layer."""
    ladder = {"model.name": "ladder", "model.upper.latent_sizes": (2,), "model.upper.widths": (4,)}
    values = values_of(
        write_tiny_npz(tmp_path / "tiny.npz"),
        training__num_epochs=1,
        evaluation__metrics=("latents",),
    )
    train(nest(values | ladder | {"log.figures": ("training_curves",)}), tmp_path / "run")
    before = results_of(tmp_path / "run")["lanes"][0]
    assert before["active_layer_0"] + before["active_layer_1"] <= 5
    record = tmp_path / "run" / "evaluation" / "latents.json"
    old = folder.read_json(record)
    del old["settings"]["layers"]
    old["lanes"] = [{"active_units": 77} for _ in old["lanes"]]
    files.write_json(record, old)
    evaluate(tmp_path / "run", nest(values | ladder))
    assert results_of(tmp_path / "run")["lanes"][0] == before
