"""The verb cache: what it counts, and that it removes nothing else."""

import pytest

from vae_jax.cli import main as cli
from vae_jax.cli.flags import define_cache
from vae_jax.commands.cache import ALL, KEPT

FILES = {
    "programs": ("jit_a-cache", "jit_a-atime"),
    "images": ("images/k/train_images.npy", "images/k/about.json"),
    "facts": ("facts/f.json",),
    "broken": ("broken/b.json",),
}


@pytest.fixture
def top(tmp_path, monkeypatch):
    """A cache folder with files of every kind, of 1,000 bytes each."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    top = tmp_path / "cache" / "vae_jax"
    for names in FILES.values():
        for name in names:
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            (top / name).write_bytes(bytes(1_000))
    return top


def files_of(top):
    return {str(path.relative_to(top)) for path in top.rglob("*") if path.is_file()}


def test_every_kind_is_counted(top, capsys):
    assert cli.main(["cache"]) == 0
    rows = [line.split()[:3] for line in capsys.readouterr().out.splitlines()[1:]]
    assert rows == [[name, str(len(FILES[name])), "0.0"] for name in KEPT]
    assert files_of(top) == {name for names in FILES.values() for name in names}


@pytest.mark.parametrize("kind", [*KEPT, ALL])
def test_what_is_named_is_removed_alone(top, kind, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.png").write_bytes(b"1")
    (top / "images" / "link").symlink_to(tmp_path / "mine")
    assert cli.main(["cache", f"--remove={kind}"]) == 0
    gone = FILES if kind == ALL else {kind: FILES[kind]}
    assert files_of(top) == {n for name, names in FILES.items() if name not in gone for n in names}
    assert (tmp_path / "mine" / "photo.png").exists()
    said = capsys.readouterr().out
    assert all(f"of {name}, 0.0 MB" in said for name in gone)


def test_the_flag_takes_every_kind():
    from absl import flags

    values = flags.FlagValues()
    define_cache(values)
    assert set(values["remove"].parser.enum_values) == {*KEPT, ALL}


def test_mistakes_are_told(top, capsys):
    assert cli.main(["cache", "images"]) == 2
    assert "takes --remove" in capsys.readouterr().err
    assert cli.main(["cache", "--remove=pictures"]) == 2
    assert "should be one of all, programs" in capsys.readouterr().err
    assert len(files_of(top)) == 6
