"""What lies beside a checkpoint: it is what it was, or one line says what is wrong."""

import json
import os
import shutil

import numpy as np
import pytest

from tests.small.runs import evaluate, run, train, values_of, write_tiny_npz
from vae_jax import files
from vae_jax.config.schema import nest
from vae_jax.errors import UserError
from vae_jax.folders import folder
from vae_jax.folders.schemas import Results, Row, decode, read_json
from vae_jax.reports.sweep_report import report

ROW = {"lane": 0, "seed": 4, "epoch": 0.5, "split": "train", "bound": None, "elbo": -1.0,
       "reconstruction": -1.0, "kl": 0.0, "more": [1]}  # fmt: skip


def rows(*steps):
    return [ROW | {"step": step} for step in steps]


def test_rows_are_cut_and_a_torn_last_line_forgotten(tmp_path):
    folder.append_rows(tmp_path, rows(5, 10, 15))
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 20, "el')
    assert folder.read_rows(tmp_path) == rows(5, 10, 15)
    folder.cut_rows(tmp_path, 10)
    assert folder.read_rows(tmp_path) == rows(5, 10)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    for damaged in ('{"st', "[]", "null", '{"lane": 0}', "[" * 100_000, '{"step": "5"}'):
        (tmp_path / "metrics.jsonl").write_text("\n".join([lines[0], damaged, lines[1]]))
        with pytest.raises(UserError, match=r"metrics.jsonl, line 2, is damaged"):
            folder.read_rows(tmp_path)


def test_the_rows_of_a_checkpoint_are_its_own(tmp_path, capsys):
    folder.append_rows(tmp_path, rows(5, 10))
    then, path = folder.rows_so_far(tmp_path), tmp_path / "metrics.jsonl"
    content = path.read_bytes()
    folder.append_rows(tmp_path, rows(15))
    folder.restore_rows(tmp_path, then)
    assert path.read_bytes() == content
    for changed in (content[:-1], content.replace(b"-1.0", b"-2.0"), b"", content[60:]):
        path.write_bytes(changed)
        with pytest.raises(UserError, match=r"rows are missing, or were changed; restore it, or"):
            folder.restore_rows(tmp_path, then)
        assert path.read_bytes() == changed
    path.unlink()
    folder.restore_rows(tmp_path, then)
    assert "metrics.jsonl is gone: the rows before this step are lost" in capsys.readouterr().out


@pytest.mark.parametrize(
    "content", ["[]", "null", "{}", '{"finished": 1}', "[" * 100_000, "{", "\udcff"]
)
def test_a_file_of_another_structure_is_told(tmp_path, content):
    path = tmp_path / "results.json"
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(
        UserError, match=r"results.json is damaged \(.*; restore it, or remove"
    ) as e:
        read_json(path, Results)
    assert "\n" not in str(e.value)


def test_what_is_wrong_is_named_and_more_keys_are_kept(tmp_path):
    with pytest.raises(UserError, match=r"here is damaged \(Expected `int`, got `str` - at `\$"):
        decode(json.dumps(rows(5)[0] | {"lane": "0"}), Row, "here")
    assert decode(json.dumps(rows(5)[0]), Row, "here") == rows(5)[0]
    with pytest.raises(UserError, match=r"can't be read \(Is a directory\)"):
        read_json(tmp_path)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run without its results, as a kill leaves it."""
    at = tmp_path_factory.mktemp("records")
    values = run(write_tiny_npz(at / "tiny.npz"), at / "run", training__num_epochs=2)
    (at / "run" / "results.json").unlink()
    return at / "run", values, at / "tiny.npz"


@pytest.fixture
def copy(stopped, tmp_path):
    shutil.copytree(stopped[0], tmp_path / "run")
    return tmp_path / "run", nest(stopped[1])


def test_edited_rows_are_told_before_anything_is_trained(copy):
    workdir, config = copy
    path = workdir / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    for changed in (lines[:-1], [*lines[:3], lines[2], *lines[3:]]):
        path.write_text("".join(changed))
        with pytest.raises(UserError, match="rows are missing, or were changed"):
            train(config, workdir)
        assert not (workdir / "results.json").exists()


def test_changed_rows_are_not_evaluated(copy):
    workdir, config = copy
    train(config, workdir)
    path, results = workdir / "metrics.jsonl", workdir / "results.json"
    lines, before = path.read_text().splitlines(keepends=True), results.read_bytes()
    bounds = [line.replace('"bound": -', '"bound": -1') for line in lines]
    for changed in (lines[:-1], bounds):
        path.write_text("".join(changed))
        with pytest.raises(UserError, match="rows are missing, or were changed"):
            evaluate(workdir, config)
        assert results.read_bytes() == before
    path.unlink()
    evaluate(workdir, config)  # its line says that they are gone


def test_what_lies_beside_a_checkpoint_has_a_checksum(copy, capsys):
    """A damaged checkpoint is told as such, and the one before is taken."""
    workdir, config = copy
    steps = sorted(int(step.name) for step in (workdir / "checkpoints").iterdir())
    meta = workdir / "checkpoints" / str(steps[-1]) / "meta" / "metadata"
    text = meta.read_text()
    assert '"checksum"' in text
    meta.write_text(text.replace('"checksum": "', '"checksum": "0', 1))
    train(config, workdir)
    shown = capsys.readouterr().out
    assert f"the checkpoint at step {steps[-1]} is damaged (the checksum of what is" in shown
    assert f"resuming at step {steps[0]}" in shown


@pytest.mark.parametrize("name", [".lock", "metrics.jsonl", "figures", "checkpoints", "evaluation"])
def test_nothing_is_written_through_a_link(copy, tmp_path, name):
    workdir, config = copy
    own = workdir / name
    if own.is_dir():
        shutil.rmtree(own)
    own.unlink(missing_ok=True)
    if name in (".lock", "metrics.jsonl"):
        (tmp_path / "precious").write_text("precious")
    else:
        (tmp_path / "precious").mkdir()
        (tmp_path / "precious" / "1").mkdir()
    own.symlink_to(tmp_path / "precious")
    for command in (lambda: train(config, workdir), lambda: evaluate(workdir, config)):
        with pytest.raises(UserError, match=f"{name} is a link"):
            command()
    if name in (".lock", "metrics.jsonl"):
        assert (tmp_path / "precious").read_text() == "precious"
    else:
        assert [path.name for path in (tmp_path / "precious").iterdir()] == ["1"]


@pytest.mark.parametrize("name", [".lock", "metrics.jsonl"])
def test_a_pipe_is_not_waited_for(copy, name):
    workdir, config = copy
    (workdir / name).unlink(missing_ok=True)
    os.mkfifo(workdir / name)
    with pytest.raises(UserError, match=f"{name} is no file"):
        train(config, workdir)


def test_a_temporary_name_that_is_a_link_is_no_way_out(tmp_path):
    (tmp_path / "precious").write_text("precious")
    for name in (".a.json.tmp", ".b.tmp.npz"):
        (tmp_path / name).symlink_to(tmp_path / "precious")
    files.write_text(tmp_path / "a.json", "new")
    files.write_npz(tmp_path / "b.npz", {"x": np.zeros(2)})
    assert (tmp_path / "precious").read_text() == "precious"
    assert (tmp_path / "a.json").read_text() == "new"
    assert np.load(tmp_path / "b.npz")["x"].shape == (2,)


def test_the_checkpoint_knows_its_data(copy, stopped):
    """Also where environment.json is gone."""
    workdir, config = copy
    (workdir / "environment.json").unlink()
    npz = stopped[2]
    before = npz.read_bytes()
    with np.load(npz) as there:
        content = {name: there[name] for name in there.files}
    try:
        np.savez(npz, **(content | {"test_images": content["test_images"][::-1]}))
        for again in (lambda: train(config, workdir), lambda: evaluate(workdir, config)):
            with pytest.raises(UserError, match="the dataset is not the one that the run"):
                again()
    finally:
        npz.write_bytes(before)
    train(config, workdir)


@pytest.mark.parametrize("name", ["config.json", "environment.json", "results.json"])
@pytest.mark.parametrize("content", ["[]", "null", "{}", "[" * 100_000, None])
def test_a_damaged_record_is_one_line(copy, name, content):
    workdir, config = copy
    (workdir / name).unlink(missing_ok=True)
    if content is None:
        (workdir / name).mkdir()
    else:
        (workdir / name).write_text(content)
    harmless = name == "environment.json" and content == "{}"
    for command in (lambda: train(config, workdir), lambda: report(workdir)):
        if not harmless:
            with pytest.raises(UserError) as error:
                command()
            assert "\n" not in str(error.value)


def test_lanes_csv(tmp_path):
    from vae_jax.folders.lanes import read_lanes

    path = tmp_path / "lanes.csv"
    path.write_text("lane,status,diverged_step\n0,done,\n")
    assert read_lanes(path) == [{"lane": "0", "status": "done", "diverged_step": ""}]
    path.write_text('lane,dataset.path,status,diverged_step\n0,"a\nb\u2028c",done,\n')
    assert read_lanes(path)[0]["dataset.path"] == "a\nb\u2028c"
    for content in (
        "",
        "{}",
        "lane,status,diverged_step\n0,done\n",
        "lane\n0\n",
        "lane,status,diverged_step\nx,done,\n",
        "lane,status,d\n,,\n",
    ):
        path.write_text(content)
        with pytest.raises(UserError, match=r"lanes.csv is damaged .*; remove it"):
            read_lanes(path)


def test_the_values_of_a_folder_are_checked_again(copy):
    workdir, _ = copy
    assert values_of("x")["training.keep"] == "best"
    content = json.loads((workdir / "config.json").read_text())
    content["model"]["latent_size"] = 0
    (workdir / "config.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"config.json is not a config of this version"):
        folder.read_config(workdir)
