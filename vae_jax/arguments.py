"""The arguments of a verb: its flags, its config file, and the overrides of the config."""

import difflib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags
from ml_collections import ConfigDict, config_flags

from vae_jax.checks import MOST_LANES, path_of, written
from vae_jax.config.code import TRUSTING
from vae_jax.config.file import config_from_file, one_line
from vae_jax.errors import UserError, tell

SEEDS = "training.seeds"
LAUNCHERS = ("local", "dask", "slurm", "pbs", "sge", "lsf")
MOST_WORKERS, MOST_MINUTES = 10_000, 525_600
LONGEST_FLAG = 100  # letters of a name
MOST_MEANT = 3  # keys that a message proposes
# What absl raises for flags; TypeError: a flag without a value is given one.
FLAG_ERRORS = (flags.Error, TypeError, ValueError)
OVERRIDE = r"--?(no)?config\."  # how a flag begins that overrides a config key


class FlagMistake(UserError):
    """A mistake in a flag; the command line adds where the flags are explained."""


class Command(NamedTuple):
    """The arguments of a verb."""

    config: ConfigDict
    names: dict[str, Any]  # all names that the config file defines, such as sweep
    workdir: Path
    flags: flags.FlagValues


def define_seeds(values: flags.FlagValues) -> None:
    define_number(values, "seeds", None, "how many, from 0", 1, MOST_LANES)


def define_number(
    values: flags.FlagValues, name: str, default: int | None, doc: str, low: int, high: int
) -> None:
    flags.DEFINE_integer(name, default, doc, low, high, flag_values=values)


def define_train(values: flags.FlagValues) -> None:
    define_seeds(values)
    flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0", flag_values=values)
    define_number(values, "num_processes", None, "how many share the run", 1, MOST_WORKERS)
    define_number(values, "process_id", None, "which of them this is", 0, MOST_WORKERS)


def define_sweep(values: flags.FlagValues) -> None:
    define_seeds(values)
    flags.DEFINE_bool("dry_run", False, "print the plan only", flag_values=values)
    flags.DEFINE_bool("memory", False, "with what it needs; compiles it", flag_values=values)
    flags.DEFINE_enum("launcher", None, LAUNCHERS, "who works", flag_values=values)
    flags.DEFINE_string("scheduler", None, "ADDRESS or FILE of Dask's", flag_values=values)
    define_number(values, "workers", None, "how many", 1, MOST_WORKERS)
    flags.DEFINE_string("partition", None, "of the batch scheduler", flag_values=values)
    define_number(values, "minutes", 240, "of a job", 1, MOST_MINUTES)
    define_number(values, "gpus", 0, "of a job", 0, MOST_WORKERS)


FORMATS = ("text", "latex", "csv", "markdown")


def define_table(values: flags.FlagValues, default: str) -> None:
    flags.DEFINE_enum(
        "format", default, [*dict.fromkeys((default, *FORMATS))], "of the table", flag_values=values
    )
    flags.DEFINE_multi_string("name", [], "KEY=TEXT", flag_values=values)
    flags.DEFINE_string("caption", "", "of a whole table in LaTeX", flag_values=values)
    flags.DEFINE_string("label", "", "of a whole table in LaTeX", flag_values=values)


def refuse_words(own: flags.FlagValues) -> None:
    """Raises UserError for words of a table that is not printed."""
    if own.name and not own.format:
        raise UserError("--name is for --format: latex, csv, markdown or text")
    if (own.caption or own.label) and own.format != "latex":
        raise UserError("--caption and --label are for --format=latex")


def define_report(values: flags.FlagValues) -> None:
    define_table(values, "")
    flags.DEFINE_bool("html", False, "write report.html", flag_values=values)
    flags.DEFINE_bool("follow", False, "again and again", flag_values=values)
    flags.DEFINE_multi_string("where", [], "KEY=VALUE", flag_values=values)
    flags.DEFINE_multi_string("by", [], "KEY", flag_values=values)


def parse(
    arguments: Sequence[str],
    config_of: Callable[[Path], ConfigDict] | None = None,
    define: Callable[[flags.FlagValues], None] = lambda values: None,
) -> Command:
    """Parses the flags; `define` adds those of the verb.

    Without --config=FILE, the config is `config_of(workdir)`; if that is None, the flag is
    required.

    Raises:
      UserError: an unknown flag or key, a value of the wrong type, or a file that can't be loaded.
    """
    overrides = [a for a in arguments if re.match(OVERRIDE, a)]
    own = flags.FlagValues()
    flags.DEFINE_string("workdir", "", "the run folder", flag_values=own)
    flags.DEFINE_string("config", "", "the config file", flag_values=own)
    flags.DEFINE_bool("cache", True, "keep compiled programs", flag_values=own)
    flags.DEFINE_bool("trust", False, "run the code that a run folder names", flag_values=own)
    define(own)
    extra = parsed(own, [a for a in arguments if a not in overrides])
    if extra:
        raise UserError(
            f"unexpected argument {written(extra[0])}; flags look like --workdir=runs/mnist"
        )
    if not own.workdir:
        raise UserError("--workdir is missing: the run folder, such as --workdir=runs/mnist")
    workdir = path_of(own.workdir)
    TRUSTING.set(own.trust)  # of this command, which has a context of its own
    names: dict[str, Any] = {}
    if own.config:
        config, names = config_from_file(own.config)
    elif config_of is None:
        raise UserError("--config is missing: a config file, such as --config=configs/mnist.py")
    else:
        config = config_of(workdir)
    with_own_keys(config if own.config else ConfigDict(), config, overrides)
    values = flags.FlagValues()
    # Of a key that is given twice the last counts; absl would join the members of two tuples.
    last = {overridden(override): override for override in overrides}
    argv = ["vae-jax", *map(with_quotes, last.values())]
    try:
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=argv)
        values(argv)
    except (KeyError, AttributeError) as error:
        raise unknown_override(overrides, config) from error
    except (flags.Error, IndexError, TypeError, ValueError) as error:
        raise wrong_override(error, list(last.values()), config) from error
    set_seeds(config, own, list(map(overridden, overrides)))
    return Command(config, names, workdir, own)


def parsed(values: flags.FlagValues, arguments: Sequence[str]) -> list[str]:
    """Sets the flags from the arguments; returns the arguments that are none.

    Raises:
      UserError: an unknown flag, or a value of the wrong type.
    """
    for argument in arguments:
        name = argument.partition("=")[0]
        if name.startswith("-") and len(name) > LONGEST_FLAG:  # absl recurses over its letters
            raise FlagMistake(f"there is no flag {written(name)}")
    try:
        return values(["vae-jax", *arguments])[1:]
    except flags.UnrecognizedFlagError as error:
        raise unknown_flag(error.flagname, values) from error
    except FLAG_ERRORS as error:
        raise wrong_flag(error, values) from error


def unknown_flag(name: str, values: flags.FlagValues) -> UserError:
    """Names the flag, or the config key, that is most likely meant."""
    likely = [f"--{own}" for own in difflib.get_close_matches(name, list(values), n=1)]
    if "config" in values:
        from vae_jax.config.schema import KEYS

        ends = {key: key.rpartition(".")[2] for key in KEYS}
        meant = [name] if name in KEYS else [key for key, end in ends.items() if end == name]
        if not meant and not likely:
            (similar,) = difflib.get_close_matches(name, list(ends.values()), n=1) or ("",)
            meant = [key for key, end in ends.items() if end == similar]
        shallow = min((key.count(".") for key in meant), default=0)  # the usual ones
        if meant:
            own = [key for key in meant if key.count(".") == shallow]
            likely = [f"--config.{key}" for key in own[:MOST_MEANT]]
    if not likely:
        return FlagMistake(f"there is no flag --{name}")
    return UserError(f"there is no flag --{name}; did you mean {' or '.join(likely)}?")


def wrong_flag(error: Exception, values: flags.FlagValues) -> UserError:
    """What would be right for a flag whose value was refused."""
    said = one_line(error)
    found = re.match(r"flag --(\w+)=(.*?): ", said)
    if lacking := re.match(r"Missing value for flag (--[\w.]+)", said):
        return FlagMistake(f"{lacking[1]} has no value; write {lacking[1]}=VALUE")
    if found is None or found[1] not in values:
        return FlagMistake(said)
    name, flag = found[1], values[found[1]]
    takes: Any = flag.parser
    if flag.flag_type() == "bool":
        right = f"--{name} or --no{name}"
    elif hasattr(takes, "enum_values"):
        right = f"one of {', '.join(filter(None, takes.enum_values))}"
    else:
        low, high = getattr(takes, "lower_bound", None), getattr(takes, "upper_bound", None)
        kind = "a whole number" if flag.flag_type() == "int" else "a number"
        bounds = ["" if low is None else f"at least {low:,}", f"at most {high:,}" if high else ""]
        right = ", ".join([kind, *filter(None, bounds)])
    return FlagMistake(f"--{name}={found[2]} should be {right}")


def wrong_override(error: Exception, overrides: list[str], config: ConfigDict) -> UserError:
    """What would be right for the first override that can't be the value of its key."""
    from vae_jax.config.schema import KEYS, flatten, nearest

    for override in overrides:
        key, value = overridden(override), override.partition("=")[2]
        if "=" not in override and KEYS.get(key) and type(KEYS[key].default) is not bool:
            return FlagMistake(f"--config.{key} has no value; write --config.{key}=VALUE")
        if f"--config.{key}={value}: " not in one_line(error):
            continue
        inside = [own for own in flatten(config) if own.startswith(f"{key}.")]
        if inside:
            return UserError(
                f"{key} = {written(value)}: {key} is a section of keys; set one of them, such as "
                f"--config.{nearest(f'{key}.name', inside)}"
            )
        try:
            for reader in KEYS[key].readers if key in KEYS else ():
                reader.check(key, value)
        except UserError as wrong:
            return wrong
    if isinstance(error, IndexError):
        return UserError(f"{one_line(error)}; give the whole tuple, as --config.{SEEDS}=0,1")
    return UserError(f"{one_line(error)}; see configs/default.py")


def with_own_keys(of_user: ConfigDict, config: ConfigDict, overrides: list[str]) -> None:
    """Adds to the config the keys of the user-defined members in use.

    They are those that the overrides or the config `of_user` name; what a run folder names, its
    reader adopts, if it is trusted.
    """
    named = {overridden(a): a.partition("=")[2] for a in overrides if ":" in a}
    if not named and ":" not in repr(of_user.to_dict()).replace("': ", ""):
        return  # most configs: nothing is imported
    from vae_jax.config.adopt import OWN_KEYS, adopt
    from vae_jax.config.schema import flatten, nest

    adopt(flatten(of_user) | {key: tuple(value.split(",")) for key, value in named.items()})
    missing = {key: value for key, value in OWN_KEYS.items() if key not in flatten(config)}
    with config.unlocked():
        config.update(nest(missing))


def with_quotes(override: str) -> str:
    """Quotes the names in an override that lists user-defined members, such as nll,mine:error."""
    flag, _, value = override.partition("=")
    if ":" not in value or not re.fullmatch(r"[\w.:]+(,[\w.:]+)+", value):
        return override
    return f"{flag}={','.join(map(repr, value.split(',')))}"


def set_seeds(config: ConfigDict, own: flags.FlagValues, overrides: list[str]) -> None:
    """Sets the seeds 0 to n - 1 of --seeds=n; says what one number given as seeds means."""
    count = own["seeds"].value if "seeds" in own else None
    if count is not None and SEEDS in overrides:
        raise UserError(f"--seeds={count} and --config.{SEEDS} are two ways to say one thing")
    if count is not None:
        config.training.seeds = tuple(range(count))
    elif SEEDS in overrides and len(config.training.seeds) == 1:
        (seed,) = config.training.seeds
        if type(seed) is not int or not 0 <= seed < MOST_LANES:  # a check says what is wrong
            return
        tell(
            f"one lane, of seed {seed}; --seeds={max(seed, 2)} is for the seeds from 0 to "
            f"{max(seed, 2) - 1}"
        )


def unknown_override(overrides: list[str], config: ConfigDict) -> UserError:
    """Names the first override whose key is not in the config, and the most similar key that is."""
    from vae_jax.config.schema import flatten, unknown_key

    known = flatten(config)
    return unknown_key(next(key for key in map(overridden, overrides) if key not in known))


def overridden(override: str) -> str:
    """The key that an override sets."""
    return re.sub(OVERRIDE, "", override.split("=")[0], count=1)


def define_explore(values: flags.FlagValues) -> None:
    define_number(values, "port", 5006, "of the page; 0: any", 0, 65_535)
    flags.DEFINE_string("address", "localhost", "that it listens on", flag_values=values)
