"""What a user sees of an error."""

import pytest

import vae_jax
from vae_jax.errors import UserError


def test_a_notebook_shows_a_mistake_in_one_line():
    """IPython prints what this method gives in place of a traceback."""
    error = UserError("one\nlong \x1b[31m line")
    assert error._render_traceback_() == ["UserError: one long \\x1b[31m line"]


def test_a_notebook_shows_the_frames_of_a_bug():
    assert not hasattr(ValueError("a bug"), "_render_traceback_")


@pytest.mark.filterwarnings("ignore")  # IPython's own
def test_in_ipython(capsys):
    shells = pytest.importorskip("IPython.core.interactiveshell")
    shell = shells.InteractiveShell(colors="NoColor")
    shell.run_cell("from vae_jax.errors import UserError\nraise UserError('wrong')")
    assert "".join(capsys.readouterr()).strip() == "UserError: wrong"
    shell.run_cell("def f():\n    return 1 / 0\nf()")
    said = "".join(capsys.readouterr())
    assert "return 1 / 0" in said
    assert "ZeroDivisionError" in said


@pytest.mark.parametrize(
    ("content", "message"),
    [("1 / 0", "can't be loaded (line 1: ZeroDivisionError"), ("", "should have a get_config()")],
)
def test_python_s_user_is_told_of_a_path_and_of_no_flag(tmp_path, content, message):
    path = tmp_path / "own.py"
    path.write_text(content)
    for call in (vae_jax.config, lambda path: vae_jax.train(path, tmp_path / "run")):
        with pytest.raises(UserError) as error:
            call(str(path))
        assert str(error.value).startswith(f"{path} {message}")
