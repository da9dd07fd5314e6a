"""Runs that are there already, and streams and processes that fail."""

import errno
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.small.processes import REPOSITORY
from vae_jax.cli import main as cli
from vae_jax.errors import Failed, Stopped, UserError
from vae_jax.folders import folder
from vae_jax.words import count

SMOKE = "--config=configs/smoke.py"


def tree(path: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def test_what_leaves_is_one_line_and_does_nothing_to_a_terminal(capsys):
    def fail(error):
        def command():
            raise error

        return cli.answer(command), capsys.readouterr().err

    said = "a\nb \x1b[31m red \x9b2J \u202e back\r."
    shown = "vae-jax: a b \\x1b[31m red \\x9b2J \\u202e back\\r."
    assert fail(UserError(said)) == (2, f"{shown}\n")
    assert fail(Failed(said)) == (1, f"{shown}\n")
    assert fail(Stopped(said)) == (1, f"{shown}; the same command goes on from there\n")
    full = OSError(errno.ENOSPC, "No space\nleft", "/x\n\x1b[0m")
    assert fail(full)[1].startswith("vae-jax: /x \\x1b[0m: No space left; mend that")


def test_names_on_stdout_do_nothing_to_a_terminal(capsys):
    cli.answer(lambda: (cli.prepare([]), print("\x1b]0;mine\x07 a\tb\r\nc é\n")))
    assert capsys.readouterr().out == "\\x1b]0;mine\\x07 a\tb\r\nc é\n\n"


def train(path, workdir, *more, config=SMOKE) -> int:
    return cli.main(
        [
            "train",
            config,
            f"--workdir={workdir}",
            "--config.dataset.name=arrays",
            f"--config.dataset.path={path}",
            "--config.dataset.validation_size=40",
            "--config.training.batch_size=20",
            *more,
        ]
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(workdir, npz) of a small finished run."""
    folder_ = tmp_path_factory.mktemp("finished")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (120, 4, 5), dtype=np.uint8)
    np.savez(folder_ / "data.npz", train_images=images[:100], test_images=images[100:])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(REPOSITORY)
        assert train(folder_ / "data.npz", folder_ / "run") == 0
    return folder_ / "run", folder_ / "data.npz"


def test_a_finished_run_is_left_alone(finished, capsys):
    workdir, path = finished
    before = tree(workdir)
    assert train(path, workdir) == 0
    assert "there is nothing to do" in capsys.readouterr().out
    assert tree(workdir) == before


def test_a_sweep_s_config_trains_its_base_and_says_so(finished, tmp_path, capsys):
    mine = tmp_path / "mine.py"
    mine.write_text("from configs.smoke import get_config\n\n\ndef sweep(hyper):\n    return []\n")
    assert train(finished[1], finished[0], config=f"--config={mine}") == 0
    said = capsys.readouterr()
    assert "has sweep(hyper), which `vae-jax sweep` reads; this trains what its" in said.err
    assert "there is nothing to do" in said.out


def test_another_config_s_folder_is_refused_and_the_keys_named(finished, capsys):
    workdir, path = finished
    before = tree(workdir)
    assert train(path, workdir, "--config.model.latent_size=3") == 2
    assert "model.latent_size: 2 there, 3 here" in capsys.readouterr().err
    assert tree(workdir) == before


def test_changed_data_are_refused(finished, tmp_path, fails):
    workdir, path = finished
    copy = tmp_path / "run"
    shutil.copytree(workdir, copy)
    original = path.read_bytes()
    try:
        images = np.zeros((120, 4, 5), np.uint8)
        np.savez(path, train_images=images[:100], test_images=images[100:])
        before = tree(copy)
        assert "the dataset is not the one" in fails("evaluate", f"--workdir={copy}")
        assert tree(copy) == before
    finally:
        path.write_bytes(original)


def test_evaluate_repeats_the_results_and_changes_evaluation_only(
    finished, tmp_path, fails, capsys
):
    workdir, _ = finished
    copy = tmp_path / "run"
    shutil.copytree(workdir, copy)
    (copy / folder.RESULTS).unlink()
    shutil.rmtree(copy / folder.FIGURES)
    assert cli.main(["evaluate", f"--workdir={copy}"]) == 0
    assert (copy / folder.RESULTS).read_bytes() == (workdir / folder.RESULTS).read_bytes()
    for figure in (workdir / folder.FIGURES).iterdir():
        assert (copy / folder.FIGURES / figure.name).read_bytes() == figure.read_bytes()
    other = ["--config.evaluation.num_samples=50", "--config.log.figure_format=pdf,svg"]
    drawn = {path.stem for path in (copy / folder.FIGURES).iterdir()}
    capsys.readouterr()
    assert cli.main(["evaluate", f"--workdir={copy}", *other]) == 0
    again = json.loads((copy / folder.RESULTS).read_text())
    assert again["evaluation"]["evaluation.num_samples"] == 50
    assert f"{count(len(drawn), 'figure')} in {copy}" in capsys.readouterr().out
    for kind in ("png", "pdf", "svg"):
        assert {path.stem for path in (copy / folder.FIGURES).glob(f"*.{kind}")} == drawn
    line = fails("evaluate", f"--workdir={copy}", "--config.model.latent_size=3")
    assert "evaluate can change evaluation.*, log.figure* and dataset.path only" in line
    for value, right in (("jpg", "there are: pdf, png, svg"), ("", "there are: pdf, png, svg")):
        line = fails("evaluate", f"--workdir={copy}", f"--config.log.figure_format={value}")
        assert right in line
    line = fails("evaluate", f"--workdir={copy}", "--config.log.figure_dpi=2")
    assert "log.figure_dpi = 2 should be a whole number, at least 20" in line


def test_a_folder_in_use_is_refused(finished, fails):
    workdir, _ = finished
    with folder.locked(workdir):
        assert "another process is working in" in fails("evaluate", f"--workdir={workdir}")


def test_a_reader_who_goes_away_is_no_traceback(finished):
    workdir, _ = finished
    command = (
        f"{sys.executable} -m vae_jax report --workdir={workdir} | true; echo ${{PIPESTATUS[0]}}"
    )
    said = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert (said.stdout, said.stderr) == ("1\n", "")


def test_damaged_or_missing_records_are_told(finished, tmp_path, fails):
    workdir, _ = finished
    copy = tmp_path / "run"
    shutil.copytree(workdir, copy)
    shutil.rmtree(copy / folder.CHECKPOINTS)
    assert "has no checkpoint yet" in fails("evaluate", f"--workdir={copy}")
    (copy / folder.CONFIG).write_text("{")
    assert "config.json is damaged" in fails("evaluate", f"--workdir={copy}")


@pytest.mark.parametrize(
    ("tracker", "package"), [("tensorboard", "tensorboardX"), ("wandb", "wandb")]
)
def test_a_tracker_without_its_extra_says_what_to_install(
    finished, tmp_path, capsys, monkeypatch, tracker, package
):
    monkeypatch.setitem(sys.modules, package, None)
    _, path = finished
    assert train(path, tmp_path / "run", f"--config.log.{tracker}=True") == 2
    assert f"needs {package}: pip install {package}" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        ("1>/dev/full", 2),
        pytest.param("1>&-", 0, marks=pytest.mark.slow),
        pytest.param("2>&-", 0, marks=pytest.mark.slow),
    ],
)
def test_a_stream_that_is_full_or_closed_is_one_line_or_none(stream, code):
    command = f"PYTHONUNBUFFERED=1 {sys.executable} -m vae_jax list {stream}"
    said = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert said.returncode == code
    assert "Exception ignored" not in said.stderr
    assert said.stderr[:47] == ("vae-jax: stdout: No space left on device; mend " if code else "")
    assert said.stderr.count("\n") == (1 if code else 0)


def test_letters_that_a_stream_does_not_have(tmp_path, monkeypatch):
    with open(tmp_path / "out", "w", encoding="ascii") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert cli.answer(lambda: (cli.prepare([]), print("0.3 ± 0.1 → 4"))) == 0
    assert (tmp_path / "out").read_text() == "0.3 +- 0.1 ? 4\n"


def test_out_of_memory_is_one_line(capsys):
    def fails():
        raise MemoryError("Unable to allocate 9 TiB")

    assert cli.answer(fails) == 1
    said = capsys.readouterr().err
    assert said.startswith("vae-jax: out of memory (MemoryError: Unable to allocate 9 TiB); ")
    assert said.count("\n") == 1
    assert "troubles" in said
