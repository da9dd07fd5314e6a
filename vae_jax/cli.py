"""The command line: `vae-jax VERB FLAGS`, the same as `python -m vae_jax VERB FLAGS`."""

import errno
import os
import re
import runpy
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from absl import flags
from ml_collections import ConfigDict, config_flags

from vae_jax.errors import Stopped, UserError

HELP = """\
usage: vae-jax VERB FLAGS

  vae-jax train    --config=configs/mnist.py --workdir=runs/mnist [--config.KEY=VALUE ...]
      Trains a VAE from a config file, one lane a seed, and leaves results and figures in the
      run folder. The same command resumes a run that was stopped or killed.

  vae-jax evaluate --workdir=runs/mnist [--config.evaluation.KEY=VALUE ...]
      Loads each lane's best checkpoint from a run folder and computes test ELBO and figures again.

flags:
  --config=FILE       a config file; configs/ holds them, configs/default.py explains every key
  --config.KEY=VALUE  overrides one key: --config.model.latent_size=10
                      --config.training.seeds=0,1,2 --config.model.encoder.widths=512,256
  --workdir=FOLDER    the run folder, made if it is not there

exit codes: 0 done; 2 a mistake in the command, config, data or folder; 1 anything else
"""


class Command(NamedTuple):
    """What a verb was given."""

    config: ConfigDict
    workdir: Path


def parse(arguments: Sequence[str], config_of: Callable[[Path], ConfigDict] | None) -> Command:
    """The flags. `config_of(workdir)` is where the config comes from; None: from --config=FILE.

    Raises:
      UserError: an unknown flag or key, a value of the wrong type, a file that can't be loaded.
    """
    overrides = [a for a in arguments if re.match(r"--?(no)?config\.", a)]
    paths = flags.FlagValues()
    flags.DEFINE_string("workdir", "", "the run folder", flag_values=paths)
    flags.DEFINE_string("config", "", "the config file", flag_values=paths)
    try:
        extra = paths(["vae-jax", *(a for a in arguments if a not in overrides)])[1:]
    except flags.Error as error:
        raise UserError(f"{one_line(error)}; see vae-jax --help") from error
    if extra:
        raise UserError(f"unexpected argument {extra[0]!r}; flags look like --workdir=runs/mnist")
    if not paths.workdir:
        raise UserError("--workdir is missing: the run folder, such as --workdir=runs/mnist")
    workdir = Path(paths.workdir)
    if config_of is None:
        if not paths.config:
            raise UserError("--config is missing: a config file, such as --config=configs/mnist.py")
        config = config_from_file(paths.config)
    else:
        if paths.config:
            raise UserError("this verb takes its config from --workdir; leave --config=FILE out")
        config = config_of(workdir)
    values = flags.FlagValues()
    argv = ["vae-jax", *overrides]
    try:
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=argv)
        values(argv)
    except (KeyError, AttributeError) as error:
        raise unknown_override(overrides, config) from error
    except (flags.Error, IndexError, TypeError, ValueError) as error:
        raise UserError(f"{one_line(error)}; see configs/default.py") from error
    return Command(config, workdir)


def config_from_file(path: str) -> ConfigDict:
    """What `get_config()` of a Python file returns.

    Raises:
      UserError: no such file, or it fails: with its last line that was reached.
    """
    if not Path(path).is_file():
        raise UserError(f"--config={path} does not exist; configs/ holds the ones there are")
    # Configs import one another: `from configs import default` finds this file's own neighbours.
    sys.path.append(str(Path(path).absolute().parents[1]))
    try:
        module = runpy.run_path(path)
        config = module["get_config"]() if "get_config" in module else None
    except Exception as error:
        reached = [
            f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == path
        ]
        line = error.lineno if isinstance(error, SyntaxError) else (reached or [1])[-1]
        problem = f"{type(error).__name__}: {one_line(error)}"
        raise UserError(f"--config={path} can't be loaded (line {line}: {problem})") from error
    if not isinstance(config, ConfigDict):
        raise UserError(f"--config={path} should have a get_config() that returns a ConfigDict")
    return config


def unknown_override(overrides: list[str], config: ConfigDict) -> UserError:
    """Names the first override whose key the config does not have, and the nearest key it has."""
    from vae_jax.runs.config import flatten, unknown_key

    known = flatten(config)
    keys = [re.sub(r"^--?(no)?config\.", "", override.split("=")[0]) for override in overrides]
    return unknown_key(next(key for key in keys if key not in known))


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def train(arguments: Sequence[str]) -> None:
    command = parse(arguments, config_of=None)
    from vae_jax.runs.train import train as run

    run(command.config, command.workdir)


def evaluate(arguments: Sequence[str]) -> None:
    from vae_jax.runs import folder
    from vae_jax.runs.config import nest

    command = parse(arguments, lambda workdir: ConfigDict(nest(folder.read_config(workdir))))
    from vae_jax.runs.evaluate import evaluate as run

    run(command.workdir, command.config)


# What the operating system refuses and the user can mend.
REFUSALS = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS,
    errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR,
}  # fmt: skip

VERBS = {"train": train, "evaluate": evaluate}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or {"--help", "-h", "-help", "help"} & set(arguments):
        print(HELP, end="")
        return 0 if arguments else 2
    # As `python -m` does: configs are files of the folder one works in, and import one another.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    verb, *rest = arguments
    try:
        if verb not in VERBS:
            raise UserError(f"unknown verb {verb!r}; known: {', '.join(VERBS)}")
        VERBS[verb](rest)
    except UserError as error:
        print(f"vae-jax: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        where = f"{error.filename}: " if error.filename else ""
        print(
            f"vae-jax: {where}{error.strerror}; mend that and run the same command again",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print(
            "vae-jax: interrupted; the same command goes on from the last checkpoint",
            file=sys.stderr,
        )
        return 1
    except Stopped as stopped:
        print(f"vae-jax: {stopped}; the same command goes on from there", file=sys.stderr)
        return 1
    return 0
