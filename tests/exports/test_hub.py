"""Exports on a hub, which is a local folder here."""

import fnmatch
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import vae_jax
from vae_jax.errors import UserError

KEPT = Path(__file__).parent / "small_0_2"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A folder that is the hub: the two functions for uploads, and the one for downloads."""
    at = tmp_path / "hub"

    def matching(folder, patterns):
        names = [path.name for path in Path(folder).iterdir()]
        taken = {name for own in patterns for name in fnmatch.filter(names, own)}
        return [Path(folder) / name for name in taken]

    def create_repo(repo_id, *, private, exist_ok):
        (at / repo_id).mkdir(parents=True, exist_ok=exist_ok)
        (at / "log").write_text(f"private: {private}")

    def upload_folder(*, repo_id, folder_path, allow_patterns):
        for path in matching(folder_path, allow_patterns):
            shutil.copy(path, at / repo_id)

    def snapshot_download(repo_id, *, revision, allow_patterns):
        """Links to the files, as the real one makes."""
        if not (at / repo_id).exists() or revision == "none":
            raise LookupError("404 Client Error.\nRepository Not Found")
        found = tmp_path / "cache" / repo_id
        found.mkdir(parents=True)
        for path in matching(at / repo_id, allow_patterns):
            (found / path.name).symlink_to(path)
        return str(found)

    functions = (create_repo, upload_folder, snapshot_download)
    module = types.SimpleNamespace(**{f.__name__: f for f in functions})
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return at


def test_up_and_down(hub, tmp_path):
    folder = shutil.copytree(KEPT, tmp_path / "mine")
    (folder / "secret.txt").write_text("mine alone")
    name = vae_jax.push_to_hub(folder, "ada/mnist-vae")
    assert name == "hf:ada/mnist-vae"
    assert (hub / "log").read_text() == "private: True"
    (hub / "ada" / "mnist-vae" / "evil.pkl").write_bytes(b"")
    model = vae_jax.load_exported(name)
    assert not {"secret.txt", "evil.pkl"} & {path.name for path in model.folder.iterdir()}
    np.testing.assert_array_equal(model.generate(2), vae_jax.load_exported(KEPT).generate(2))


def test_what_is_wrong_is_one_line(hub, tmp_path, monkeypatch):
    wrong = {
        r"hf:ada/none can't be downloaded \(404 .*Error. Repository Not Found": "hf:ada/none",
        "'hf:ada' should be 'hf:' and the name of a repository": "hf:ada",
        "hf:ada/x@none can't be downloaded": "hf:ada/x@none",
    }
    for message, name in wrong.items():
        with pytest.raises(UserError, match=message):
            vae_jax.load_exported(name)
    with pytest.raises(UserError, match=r"repo = 'mnist' should be"):
        vae_jax.push_to_hub(KEPT, "mnist")
    folder = shutil.copytree(KEPT, tmp_path / "damaged")
    (folder / "README.md").write_text("")
    with pytest.raises(UserError, match=r"README.md has 0 bytes"):
        vae_jax.push_to_hub(folder, "ada/mnist-vae")
    assert not hub.exists()
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match="pip install huggingface_hub"):
        vae_jax.load_exported("hf:ada/mnist-vae")
