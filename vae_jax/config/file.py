"""Config files: where they are found, and how they are loaded."""

import contextlib
import difflib
import os
import runpy
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from ml_collections import ConfigDict, FrozenConfigDict

import vae_jax
from vae_jax.errors import UserError

PACKAGED = Path(vae_jax.__file__).parent / "configs"  # the configs that an installed package brings


def config_from_file(path: str) -> tuple[ConfigDict, dict[str, Any]]:
    """What `get_config()` of a Python file returns, and all names that the file defines.

    Raises:
      UserError: there is no such file, or it raises; the message names the last line reached.
    """
    path = found_config(path)
    make_configs_importable(path)
    with blamed_on(path):
        module = runpy.run_path(path)
        config = module["get_config"]() if "get_config" in module else None
    if isinstance(config, FrozenConfigDict):
        config = config.as_configdict()
    if not isinstance(config, ConfigDict):
        raise UserError(f"--config={path} should have a get_config() that returns a ConfigDict")
    return config, module


def found_config(path: str) -> str:
    """The config file that the user means: a path, or the name of one of the package's own.

    Raises:
      UserError: there is none.
    """
    path = os.path.expanduser(path)
    if Path(path).is_file():
        return path
    name = path.removeprefix("configs/").removesuffix(".py")
    names = [str(own.relative_to(PACKAGED).with_suffix("")) for own in PACKAGED.glob("**/*.py")]
    names = sorted(name for name in names if not name.endswith("__init__"))
    if name in names:
        return str(PACKAGED / f"{name}.py")
    likely = difflib.get_close_matches(name, names, n=1)
    meant = f"did you mean {likely[0]}? " if likely else ""
    raise UserError(f"--config={path} does not exist; {meant}there are: {', '.join(names)}")


def make_configs_importable(path: str) -> None:
    """Makes `from configs import default` work in the config file `path`, wherever it is.

    It finds the files of the nearest folder `configs`, then those that the package brings.
    """
    near = [folder / "configs" for folder in Path(path).absolute().parents[:3]]
    configs = sys.modules.setdefault("configs", ModuleType("configs"))
    configs.__path__ = [str(folder) for folder in (*near, PACKAGED) if folder.is_dir()]


@contextlib.contextmanager
def blamed_on(path: str) -> Iterator[None]:
    """Turns whatever a config file raises into a UserError that names the last line reached."""
    try:
        yield
    except (Exception, SystemExit) as error:
        reached = [
            f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == path
        ]
        line = error.lineno if isinstance(error, SyntaxError) else (reached or [1])[-1]
        kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        raise UserError(
            f"--config={path} can't be loaded (line {line}: {kind}{one_line(error)})"
        ) from error


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
