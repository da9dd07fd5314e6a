"""A figure that fails costs a line, and nothing else."""

import json
import shutil

import pytest

from tests.small.runs import train, values_of, write_tiny_npz
from vae_jax.config.schema import nest
from vae_jax.figures import style
from vae_jax.reports.drawing import attempt, draw_or_tell, file_name, writable
from vae_jax.reports.sweep_report import report


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A run whose every figure failed."""
    at = tmp_path_factory.mktemp("drawing")

    def broken(fig, path):
        raise ValueError("no ink\nleft")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "save", broken)
        values = values_of(write_tiny_npz(at / "tiny.npz"), training__num_epochs=1)
        train(nest(values), at / "run")
    return at / "run"


def test_results_do_not_depend_on_figures(workdir, capsys):
    assert json.loads((workdir / "results.json").read_text())["finished"] is True
    assert not (workdir / "figures").exists()
    report(workdir)
    assert "nats per example" in capsys.readouterr().out


def test_a_figure_that_fails_is_one_line_with_file_and_reason(tmp_path, capsys):
    def fails(path, reason):
        raise ValueError(reason)

    assert draw_or_tell(fails, tmp_path / "a.png", "no ink\nleft") == []
    path = tmp_path / "a.png"
    assert capsys.readouterr().err == (f"vae-jax: figure {path} could not be drawn: no ink left\n")
    assert draw_or_tell(lambda path: None, path) == [path]
    assert attempt("x", lambda: None)


def test_a_folder_that_can_only_be_read_has_its_table(workdir, tmp_path, monkeypatch, capsys):
    copy = tmp_path / "run"
    shutil.copytree(workdir, copy)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    report(copy)
    assert "nats per example" in capsys.readouterr().out
    assert not writable(copy)
    assert "no figures are drawn" in capsys.readouterr().err


def test_names_of_files_fit_a_file_system():
    assert file_name("by_a/b") == "by_a-b.png"
    long, other = file_name("ä" * 300), file_name("ä" * 299)
    assert long != other
    assert len(long.encode()) < 255
