"""Exports on the Hugging Face hub: up and down. An extra: `huggingface_hub`."""

import os
import re
from pathlib import Path
from typing import Any

from vae_jax.errors import UserError
from vae_jax.exports.folder import CARD, CONFIG, SUFFIX, read_description
from vae_jax.folders.exported import WEIGHTS
from vae_jax.sections.checks import path_of, written
from vae_jax.words import reason, to_install

HUB = "hf:"  # how the name of a repository on the hub begins, in place of a folder
FILES = (CONFIG, WEIGHTS, CARD, f"*{SUFFIX}")  # no other file of a repository is loaded
NAME = r"[\w.-]{1,96}/[\w.-]{1,96}"
RIGHT = "the name of a repository, such as 'ada/mnist-vae'"


def push_to_hub(folder: str | os.PathLike[str], repo: str, private: bool = True) -> str:
    """Uploads an export to the repository `repo`, which is made if it is not there.

    The export is checked first, as `load_exported` does. Who you are is what `hf auth login` or the
    environment's HF_TOKEN says.

    Returns:
      "hf:" and the name, which `load_exported` takes.

    Raises:
      UserError: it is no whole export; the hub refuses it, or is not there; a package is missing.
    """
    if not isinstance(repo, str) or not re.fullmatch(NAME, repo):
        raise UserError(f"repo = {written(repo)} should be {RIGHT}")
    path = path_of(os.fspath(folder))
    read_description(path)
    hub = package()
    try:
        hub.create_repo(repo, private=private, exist_ok=True)
        hub.upload_folder(repo_id=repo, folder_path=path, allow_patterns=list(FILES))
    except Exception as error:  # of its own, of HTTP, or of the system: by what is wrong
        raise UserError(f"{path} can't be uploaded to {repo} ({reason(error)[:300]})") from error
    return f"{HUB}{repo}"


def from_hub(name: str) -> Path:
    """The folder of an export on the hub, which is downloaded if it is not there.

    Args:
      name: "hf:owner/name", or "hf:owner/name@revision".

    Raises:
      UserError: the hub has none, or is not there; a package is missing.
    """
    repo, _, revision = name.removeprefix(HUB).partition("@")
    if not re.fullmatch(NAME, repo):
        raise UserError(f"{written(name)} should be '{HUB}' and {RIGHT}")
    try:
        found = package().snapshot_download(
            repo, revision=revision or None, allow_patterns=list(FILES)
        )
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{name} can't be downloaded ({reason(error)[:300]})") from error
    return Path(found)


def package() -> Any:
    """huggingface_hub.

    Raises:
      UserError: it is not installed.
    """
    try:
        import huggingface_hub
    except ImportError as error:
        raise UserError(f"the hub needs huggingface_hub: {to_install('hub')}") from error
    return huggingface_hub
