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
from vae_jax.sections.checks import written

HERE = Path(vae_jax.__file__).parent
FLAG = "--config="  # before a path, in messages of the command line


def configs_of(package: Path = HERE) -> Path:
    """The folder of the package's own configs: in it if it is installed, beside it in a clone."""
    inside, beside = package / "configs", package.parent / "configs"
    return beside if (beside / "default.py").is_file() and not inside.is_dir() else inside


PACKAGED = configs_of()


def config_from_file(path: str, flag: str = FLAG) -> tuple[ConfigDict, dict[str, Any]]:
    """What `get_config()` of a Python file returns, and all names that the file defines.

    Args:
      flag: what stands before the path in a message: the command line's flag, or "" in Python.

    Raises:
      UserError: there is no such file, or it raises; the message names the last line reached.
    """
    path = found_config(path, flag)
    make_configs_importable(path)
    with blamed_on(path, flag):
        module = runpy.run_path(path)
        config = module["get_config"]() if "get_config" in module else None
    if isinstance(config, FrozenConfigDict):
        config = config.as_configdict()
    if not isinstance(config, ConfigDict):
        raise UserError(f"{flag}{path} should have a get_config() that returns a ConfigDict")
    return config, module


def found_config(path: str, flag: str = FLAG) -> str:
    """The config file that the user means: a path, or the name of one of the package's own.

    Raises:
      UserError: there is none.
    """
    path = os.path.expanduser(path)
    if Path(path).is_file():
        return path
    if (name := name_of(path)) in (names := packaged()):
        return str(PACKAGED / f"{name}.py")
    if not names:
        raise UserError(
            f"{flag}{path} does not exist, and the package's own configs are missing: "
            f"{PACKAGED} should hold them; install vae_jax again"
        )
    likely = difflib.get_close_matches(name, names, n=1)
    meant = f"did you mean {likely[0]}? " if likely else ""
    raise UserError(f"{flag}{path} does not exist; {meant}there are: {', '.join(names)}")


def packaged() -> list[str]:
    """The names of the package's own configs, such as "mnist" and "sweeps/latent_size"."""
    paths = (path.relative_to(PACKAGED) for path in PACKAGED.glob("**/*.py"))
    return sorted(path.with_suffix("").as_posix() for path in paths if path.stem != "__init__")


def name_of(path: str) -> str:
    """The name of a packaged config that the user may mean: "mnist", of "configs/mnist.py" too."""
    return path.removeprefix("configs/").removesuffix(".py")


def config_named(name: str) -> ConfigDict:
    """The config of this name, or of a file's path.

    Raises:
      UserError: there is none, or the file raises.
    """
    if not isinstance(name, str | os.PathLike):
        raise UserError(f"config({written(name)}) should be the name of a config, such as 'mnist'")
    path = os.path.expanduser(os.fspath(name))
    if not os.path.isfile(path) and name_of(path) not in packaged():
        raise UserError(
            f"there is no config {written(path)}; it should be a config file, or one of "
            f"{', '.join(packaged())}"
        )
    return config_from_file(path, flag="")[0]


def make_configs_importable(path: str) -> None:
    """Makes `from configs import default` work in the config file `path`, wherever it is.

    It finds the files of the nearest folder `configs`, then those that the package brings.
    """
    near = [folder / "configs" for folder in Path(path).absolute().parents[:3]]
    configs = sys.modules.setdefault("configs", ModuleType("configs"))
    configs.__path__ = [str(folder) for folder in (*near, PACKAGED) if folder.is_dir()]


@contextlib.contextmanager
def blamed_on(path: str, flag: str = FLAG) -> Iterator[None]:
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
            f"{flag}{path} can't be loaded (line {line}: {kind}{one_line(error)})"
        ) from error


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
