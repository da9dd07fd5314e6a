"""TensorBoard and wandb hold what the run folder holds, and never cost a run."""

import contextlib
import errno
import json
import os
import struct
import threading
import time

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from wandb.proto.wandb_internal_pb2 import Record

from tests.small.runs import train, values_of
from vae_jax.cli import main as cli
from vae_jax.config.schema import nest
from vae_jax.errors import UserError
from vae_jax.folders import folder
from vae_jax.runs import trackers
from vae_jax.searches import rounds

WHOLE, LAST = 1, 4  # kinds of parts of a record in wandb's file
BLOCK = 32_768


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")


def run(npz, workdir, **changes):
    train(nest(values_of(npz, **changes)), workdir)
    return workdir


def rows_of(workdir, lane, split):
    rows = folder.read_rows(workdir)
    return [row for row in rows if (row["lane"], row["split"]) == (lane, split)]


def events(workdir, lane):
    at = workdir / "tensorboard" / f"lane_{lane}"
    found = EventAccumulator(str(at), {"histograms": 0, "images": 0, "scalars": 0})
    found.Reload()
    return found


def records(path):
    """The records of a run of wandb: LevelDB's log format, after a header of seven bytes."""
    content, at, parts = path.read_bytes(), 7, b""
    while at + 7 <= len(content):
        if BLOCK - at % BLOCK < 7:
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + 7])
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (WHOLE, LAST):
            yield Record.FromString(parts)
            parts = b""


def whole(path, seconds=20):
    """The records, when the last one is there: wandb's own process writes them."""
    end = time.monotonic() + seconds
    while True:
        found = list(records(path))
        if any(record.HasField("exit") for record in found) or time.monotonic() > end:
            return found
        time.sleep(0.05)


def wandb_runs(workdir):
    """The runs in a folder: {lane: (run, {step: history}, summary)}."""
    found = {}
    for path in sorted(workdir.rglob("offline-run-*/*.wandb")):
        own, history, summary = None, {}, {}
        for record in whole(path):
            if record.HasField("run"):
                own = record.run
            for item in record.history.item:
                step = history.setdefault(record.history.step.num, {})
                step["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
            for item in record.summary.update:
                if not item.nested_key:
                    summary[item.key] = json.loads(item.value_json)
        config = {item.key: json.loads(item.value_json) for item in own.config.update}
        found[config["lane"]] = (own, config, history, summary)
    return found


def test_tensorboard_holds_rows_images_codes_results_and_hyperparameters(tiny_npz, tmp_path):
    workdir = run(tiny_npz, tmp_path / "run", log__tensorboard=True, objective__beta=2.0)
    results = folder.read_results(workdir)["lanes"]
    for lane, seed in enumerate((4, 9)):
        there = events(workdir, lane)
        for split in ("train", "validation"):
            wanted = [(row["step"], row["elbo"]) for row in rows_of(workdir, lane, split)]
            found = [(event.step, event.value) for event in there.Scalars(f"{split}/elbo")]
            assert np.allclose(found, wanted, rtol=1e-6)
        (tested,) = there.Scalars("test/elbo")
        assert tested.value == pytest.approx(results[lane]["elbo"])
        assert [image.step for image in there.Images("reconstructions")] == [12, 24, 36]
        image = there.Images("samples")[-1]
        assert (image.height, image.width) == (2 * 7 - 1, 8 * 7 - 1)
        for unit in range(3):
            codes = there.Histograms(f"posterior_mean/unit_{unit}")
            assert [event.step for event in codes] == [12, 24, 36]
            assert codes[-1].histogram_value.num == 50
        content = there.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
        hparams = HParamsPluginData.FromString(content).session_start_info.hparams
        assert hparams["seed"].number_value == seed
        assert hparams["objective.beta"].number_value == 2
        assert hparams["model.decoder.widths"].string_value == "(8,)"


def test_wandb_holds_rows_images_codes_results_and_config(tiny_npz, tmp_path):
    workdir = run(tiny_npz, tmp_path / "mine", log__wandb=True)
    results = folder.read_results(workdir)["lanes"]
    runs = wandb_runs(workdir)
    assert sorted(runs) == [0, 1]
    for lane, (own, config, history, summary) in runs.items():
        assert (own.run_group, own.display_name) == ("mine", f"mine/lane_{lane}")
        assert (config["seed"], config["model"]["latent_size"]) == ((4, 9)[lane], 3)
        for split in ("train", "validation"):
            for row in rows_of(workdir, lane, split):
                assert history[row["step"]][f"{split}/elbo"] == row["elbo"]
        assert history[36]["posterior_mean/unit_2/_type"] == "histogram"
        assert summary["test/elbo"] == results[lane]["elbo"]
        picture = workdir / "wandb" / "latest-run" / "files" / history[36]["samples/path"]
        assert lane == 0 or picture.exists()


def test_trackers_change_no_number(tiny_npz, tmp_path):
    plain = run(tiny_npz, tmp_path / "plain")
    told = run(tiny_npz, tmp_path / "told", log__tensorboard=True)
    assert (plain / "metrics.jsonl").read_bytes() == (told / "metrics.jsonl").read_bytes()


@pytest.mark.slow
def test_a_longer_run_goes_on_in_the_same_trackers(tiny_npz, tmp_path):
    both = {"log__tensorboard": True, "log__wandb": True, "training__seeds": (4,)}
    workdir = run(tiny_npz, tmp_path / "run", training__num_epochs=1, **both)
    first = wandb_runs(workdir)[0][0].run_id
    run(tiny_npz, workdir, training__num_epochs=2, **both)
    steps = [event.step for event in events(workdir, 0).Scalars("validation/elbo")]
    assert steps == [12, 24]
    own, _, history, _ = wandb_runs(workdir)[0]
    assert own.run_id == first
    assert 24 in history
    assert 12 not in history


@pytest.mark.slow
def test_lanes_of_a_sweep_are_runs_in_one_group(tiny_npz, tmp_path):
    """Their latent sizes share a program: padded units are not shown."""
    values = values_of(tiny_npz, log__wandb=True, log__tensorboard=True, training__num_epochs=1)
    (tmp_path / "config.py").write_text(
        "from ml_collections import ConfigDict\n"
        f"def get_config():\n    return ConfigDict({nest(values)!r})\n"
        "def sweep(hyper):\n    return hyper.sweep('model.latent_size', [2, 3])\n"
    )
    workdir = tmp_path / "sizes"
    assert cli.main(["sweep", f"--config={tmp_path}/config.py", f"--workdir={workdir}"]) == 0
    runs = wandb_runs(workdir)
    assert sorted(runs) == [0, 1, 2, 3]
    assert {own.run_group for own, *_ in runs.values()} == {"sizes"}
    for lane, (_, config, history, _) in runs.items():
        size = config["model"]["latent_size"]
        assert size == (2, 2, 3, 3)[lane]
        units = {name.split("/")[1] for name in history[12] if name.startswith("posterior_mean")}
        assert len(units) == size
    (events_of_lane,) = workdir.rglob("tensorboard/lane_2")
    assert events_of_lane.parents[1].name == next((workdir / "programs").iterdir()).name


@pytest.mark.slow
def test_trials_of_a_search_are_runs_in_one_group(tiny_npz, tmp_path, monkeypatch):
    """A search that was killed tells its last round again, and no step twice."""
    values = values_of(tiny_npz, log__wandb=True, log__tensorboard=True, training__num_epochs=4,
                       training__seeds=(0,), search__reduction=2, search__places=2)  # fmt: skip
    (tmp_path / "config.py").write_text(
        "from ml_collections import ConfigDict\n"
        f"def get_config():\n    return ConfigDict({nest(values)!r})\n"
        "def sweep(hyper):\n    return hyper.sweep('objective.beta', [1.0, 2.0, 3.0])\n"
    )
    workdir = tmp_path / "betas"
    command = ["search", f"--config={tmp_path}/config.py", f"--workdir={workdir}"]
    save, saved = rounds.save, []

    def killed(*arguments):
        saved.append(arguments)
        if len(saved) == 3:
            raise KeyboardInterrupt
        save(*arguments)

    monkeypatch.setattr(rounds, "save", killed)
    with contextlib.suppress(KeyboardInterrupt):
        cli.main(command)
    assert len(saved) == 3
    monkeypatch.setattr(rounds, "save", save)
    assert cli.main(command) == 0
    found = json.loads((workdir / "results.json").read_text())
    runs = wandb_runs(workdir)
    for lane, (own, config, _, _) in sorted(runs.items()):
        rows = rows_of(workdir, lane, "validation")
        scalars = events(workdir, lane).Scalars("validation/elbo")
        assert [event.step for event in scalars] == [row["step"] for row in rows]
        assert np.allclose([event.value for event in scalars], [row["elbo"] for row in rows])
        assert (own.run_group, config["objective"]["beta"]) == ("betas", lane + 1)
    best = found["best"]
    _, _, history, summary = runs[best["lane"]]
    last = rows_of(workdir, best["lane"], "validation")[-1]
    assert last["elbo"] == history[last["step"]]["validation/elbo"]
    assert summary["test/elbo"] == best["elbo"]
    (tested,) = events(workdir, best["lane"]).Scalars("test/elbo")
    assert tested.value == pytest.approx(best["elbo"])


@pytest.mark.slow
def test_colour_images_of_a_conditional_model(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (120, 5, 4, 3), dtype=np.uint8)
    path = tmp_path / "colour.npz"
    labels = rng.integers(0, 3, 120)
    np.savez(path, train_images=images, train_labels=labels, test_images=images[:20],
             test_labels=labels[:20])  # fmt: skip
    workdir = run(
        path, tmp_path / "run", log__tensorboard=True, model__conditional=True,
        dataset__binarization="none", model__likelihood="discretized_logistic",
        dataset__validation_size=5, training__num_epochs=1,
    )  # fmt: skip
    image = events(workdir, 0).Images("reconstructions")[-1]
    assert (image.height, image.width) == (2 * 6 - 1, 5 * 5 - 1)  # five images, in one row


def test_a_tracker_that_fails_is_left_out_with_a_line(tiny_npz, tmp_path, monkeypatch, capsys):
    def fail(*_):
        raise OSError("no space")

    monkeypatch.setattr(trackers.TensorBoard, "numbers", fail)
    workdir = run(tiny_npz, tmp_path / "run", log__tensorboard=True)
    said = capsys.readouterr().err
    assert said == "vae-jax: TensorBoard failed, and is left out: no space\n"
    assert folder.is_finished(workdir)


class Full:
    """A file on a disk that becomes full."""

    def __init__(self, path):
        self.left, self.closed = 40, 0

    def write(self, data):
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def flush(self):
        pass

    def close(self):
        self.closed += 1
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_costs_no_run(tiny_npz, tmp_path, monkeypatch, capsys):
    """No thread of a library dies of it, with which the run would wait for ever."""
    import tensorboardX.record_writer

    made = []
    monkeypatch.setattr(
        tensorboardX.record_writer, "open_file", lambda path: made.append(Full(path)) or made[-1]
    )
    before = set(threading.enumerate())
    workdir = run(tiny_npz, tmp_path / "run", log__tensorboard=True)
    said = capsys.readouterr().err
    where = tmp_path / "run" / "tensorboard" / "lane_"
    assert said.startswith("vae-jax: TensorBoard failed, and is left out: [Errno 28] No space left")
    assert f"'{where}" in said
    assert said.count("\n") == 1
    assert [file.closed for file in made] == [1, 1]
    assert not [t for t in set(threading.enumerate()) - before if "Logger" in type(t).__name__]
    assert folder.is_finished(workdir)


def test_what_never_ends_is_left_after_a_while_and_the_others_are_closed():
    never, closed = threading.Event(), []
    with pytest.raises(TimeoutError, match=r"did not end within 0.01 s"):
        trackers.close_all(lambda: trackers.end_within(never.wait, 0.01), lambda: closed.append(1))
    assert closed == [1]
    with pytest.raises(ZeroDivisionError):
        trackers.end_within(lambda: 1 / 0, 5)
    never.set()


def test_without_a_login_one_line_says_what_to_do(tiny_npz, tmp_path, monkeypatch):
    import wandb

    def init(**_):
        raise wandb.errors.UsageError("No API key configured.")

    monkeypatch.setattr(wandb, "init", init)
    with pytest.raises(UserError, match=r"No API key.*wandb login.*WANDB_MODE=offline"):
        run(tiny_npz, tmp_path / "run", log__wandb=True)
