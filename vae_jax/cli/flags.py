"""The arguments of a verb: its flags, its config file, and the overrides of the config."""

import contextlib
import difflib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags
from ml_collections import ConfigDict, config_flags

from vae_jax.config.code import TRUSTING, Members
from vae_jax.config.file import config_from_file, one_line
from vae_jax.errors import UserError, tell
from vae_jax.sections.checks import MOST_LANES, path_of, written

SEEDS = "training.seeds"
LAUNCHERS = ("local", "dask", "slurm", "pbs", "sge", "lsf")
MOST_WORKERS, MOST_MINUTES = 10_000, 525_600
LONGEST_FLAG = 100  # letters of a name
MOST_MEANT = 3  # keys that a message proposes
# What absl raises for flags; TypeError: a flag without a value is given one.
FLAG_ERRORS = (flags.Error, TypeError, ValueError)
NO_HELP = ""  # usage.py has the text that is shown
OVERRIDE = r"--?(no)?config\."  # how a flag begins that overrides a config key


class FlagMistake(UserError):
    """A mistake in a flag; the command line adds where the flags are explained."""


class Command(NamedTuple):
    """The arguments of a verb."""

    config: ConfigDict
    names: dict[str, Any]  # all names that the config file defines, such as sweep
    workdir: Path
    flags: flags.FlagValues
    members: Members  # the user-defined ones that the config may name


def define_seeds(values: flags.FlagValues) -> None:
    define_number(values, "seeds", None, 1, MOST_LANES)


def define_number(
    values: flags.FlagValues, name: str, default: int | None, low: int, high: int
) -> None:
    flags.DEFINE_integer(name, default, NO_HELP, low, high, flag_values=values)


def define_train(values: flags.FlagValues) -> None:
    define_seeds(values)
    flags.DEFINE_string("coordinator", None, NO_HELP, flag_values=values)
    define_number(values, "num_processes", None, 1, MOST_WORKERS)
    define_number(values, "process_id", None, 0, MOST_WORKERS)


def define_sweep(values: flags.FlagValues) -> None:
    define_seeds(values)
    flags.DEFINE_bool("dry_run", False, NO_HELP, flag_values=values)
    flags.DEFINE_bool("memory", False, NO_HELP, flag_values=values)
    flags.DEFINE_enum("launcher", None, LAUNCHERS, NO_HELP, flag_values=values)
    flags.DEFINE_string("scheduler", None, NO_HELP, flag_values=values)
    define_number(values, "workers", None, 1, MOST_WORKERS)
    flags.DEFINE_string("partition", None, NO_HELP, flag_values=values)
    define_number(values, "minutes", 240, 1, MOST_MINUTES)
    define_number(values, "gpus", 0, 0, MOST_WORKERS)


def define_evaluate(values: flags.FlagValues) -> None:
    flags.DEFINE_string("on", None, NO_HELP, flag_values=values)


FORMATS = ("text", "latex", "csv", "markdown")


def define_table(values: flags.FlagValues, default: str) -> None:
    flags.DEFINE_enum(
        "format", default, [*dict.fromkeys((default, *FORMATS))], NO_HELP, flag_values=values
    )
    flags.DEFINE_multi_string("name", [], NO_HELP, flag_values=values)
    flags.DEFINE_string("caption", "", NO_HELP, flag_values=values)
    flags.DEFINE_string("label", "", NO_HELP, flag_values=values)
    flags.DEFINE_bool("interval", False, NO_HELP, flag_values=values)


def define_compare(values: flags.FlagValues) -> None:
    define_table(values, "text")
    flags.DEFINE_bool("paired", False, NO_HELP, flag_values=values)


def refuse_beside_paired(values: flags.FlagValues) -> None:
    """Raises UserError for flags of a table of means, where one of differences is printed."""
    given = [name for name in ("interval", "name", "caption", "label") if values[name].value]
    given += ["format"] if values.format != "text" else []
    if given:
        raise UserError(f"--{given[0]} is for a table of means, and --paired prints differences")


def refuse_words(values: flags.FlagValues) -> None:
    """Raises UserError for words of a table that is not printed."""
    if values.name and not values.format:
        raise UserError("--name is for --format: latex, csv, markdown or text")
    if (values.caption or values.label) and values.format != "latex":
        raise UserError("--caption and --label are for --format=latex")


def define_report(values: flags.FlagValues) -> None:
    define_table(values, "")
    flags.DEFINE_bool("html", False, NO_HELP, flag_values=values)
    flags.DEFINE_bool("follow", False, NO_HELP, flag_values=values)
    flags.DEFINE_multi_string("where", [], NO_HELP, flag_values=values)
    flags.DEFINE_multi_string("by", [], NO_HELP, flag_values=values)


def parse(
    arguments: Sequence[str],
    config_of: Callable[[Path], tuple[ConfigDict, Members]] | None = None,
    define: Callable[[flags.FlagValues], None] = lambda values: None,
) -> Command:
    """Parses the flags; `define` adds those of the verb.

    Without --config=FILE, the config and its user-defined members are `config_of(workdir)`; if
    that is None, the flag is required.

    Raises:
      UserError: an unknown flag or key, a value of the wrong type, or a file that can't be loaded.
    """
    overrides = [a for a in arguments if re.match(OVERRIDE, a)]
    verb_flags = flags.FlagValues()
    flags.DEFINE_string("workdir", "", NO_HELP, flag_values=verb_flags)
    flags.DEFINE_string("config", "", NO_HELP, flag_values=verb_flags)
    flags.DEFINE_bool("cache", True, NO_HELP, flag_values=verb_flags)
    flags.DEFINE_bool("trust", False, NO_HELP, flag_values=verb_flags)
    define(verb_flags)
    extra = parse_flags(verb_flags, [a for a in arguments if a not in overrides])
    if extra:
        raise UserError(
            f"unexpected argument {written(extra[0])}; flags look like --workdir=runs/mnist"
        )
    if not verb_flags.workdir:
        raise UserError("--workdir is missing: the run folder, such as --workdir=runs/mnist")
    workdir = path_of(verb_flags.workdir)
    TRUSTING.set(verb_flags.trust)  # of this command, which has a context of its own
    names: dict[str, Any] = {}
    members: Members = {}
    if verb_flags.config:
        config, names = config_from_file(verb_flags.config)
    elif config_of is None:
        raise UserError("--config is missing: a config file, such as --config=configs/mnist.py")
    else:
        config, members = config_of(workdir)
    before = config.to_dict()
    members = with_own_keys(
        config if verb_flags.config else ConfigDict(), config, overrides, members
    )
    apply_overrides(config, overrides, members)
    set_seeds(config, verb_flags, list(map(overridden, overrides)))
    if verb_flags.config and overrides:
        members = leave_out_unread(config, before, list(map(overridden, overrides)), members)
    return Command(config, names, workdir, verb_flags, members)


def apply_overrides(config: ConfigDict, overrides: list[str], members: Members) -> None:
    """Sets the keys of the config that the overrides name.

    Raises:
      UserError: an unknown key, or a value of the wrong type.
    """
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
        raise wrong_override(error, list(last.values()), config, members) from error


def parse_flags(values: flags.FlagValues, arguments: Sequence[str]) -> list[str]:
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
    likely = [f"--{flag}" for flag in difflib.get_close_matches(name, list(values), n=1)]
    if "config" in values:
        from vae_jax.config.schema import KEYS

        ends = {key: key.rpartition(".")[2] for key in KEYS}
        meant = [name] if name in KEYS else [key for key, end in ends.items() if end == name]
        if not meant and not likely:
            (similar,) = difflib.get_close_matches(name, list(ends.values()), n=1) or ("",)
            meant = [key for key, end in ends.items() if end == similar]
        shallow = min((key.count(".") for key in meant), default=0)
        if meant:
            usual = [key for key in meant if key.count(".") == shallow]
            likely = [f"--config.{key}" for key in usual[:MOST_MEANT]]
    if not likely:
        return FlagMistake(f"there is no flag --{name}")
    return UserError(f"there is no flag --{name}; did you mean {' or '.join(likely)}?")


def wrong_flag(error: Exception, values: flags.FlagValues) -> UserError:
    """What would be right for a flag whose value was refused."""
    said = one_line(error)
    match = re.match(r"flag --(\w+)=(.*?): ", said)
    if lacking := re.match(r"Missing value for flag (--[\w.]+)", said):
        return FlagMistake(f"{lacking[1]} has no value; write {lacking[1]}=VALUE")
    if match is None or match[1] not in values:
        return FlagMistake(said)
    name, flag = match[1], values[match[1]]
    takes = flag.parser
    if flag.flag_type() == "bool":
        right = f"--{name} or --no{name}"
    elif isinstance(takes, flags.EnumParser):
        right = f"one of {', '.join(filter(None, takes.enum_values))}"
    elif isinstance(takes, flags.IntegerParser):
        low, high = takes.lower_bound, takes.upper_bound
        bounds = ["" if low is None else f"at least {low:,}", f"at most {high:,}" if high else ""]
        right = ", ".join(["a whole number", *filter(None, bounds)])
    else:
        return FlagMistake(said)
    return FlagMistake(f"--{name}={match[2]} should be {right}")


def wrong_override(
    error: Exception, overrides: list[str], config: ConfigDict, members: Members
) -> UserError:
    """What would be right for the first override that can't be the value of its key."""
    from vae_jax.config.schema import flatten, keys_with, nearest, unknown_key

    keys, known = keys_with(members), flatten(config)
    for override in overrides:
        key, value = overridden(override), override.partition("=")[2]
        if "=" not in override and keys.get(key) and type(keys[key].default) is not bool:
            return FlagMistake(f"--config.{key} has no value; write --config.{key}=VALUE")
        if f"--config.{key}={value}: " not in one_line(error):
            continue
        inside = [inner for inner in known if inner.startswith(f"{key}.")]
        if inside:
            return UserError(
                f"{key} = {written(value)}: {key} is a section of keys; set one of them, such as "
                f"--config.{nearest(f'{key}.name', inside)}"
            )
        try:
            for reader in keys[key].readers if key in keys else ():
                reader.check(key, value)
        except UserError as wrong:
            return wrong
    for key in map(overridden, overrides):
        if any(key.startswith(f"{whole}.") for whole in known):  # a key inside of a value
            return unknown_key(key)
    if isinstance(error, IndexError):
        return UserError(f"{one_line(error)}; give the whole tuple, as --config.{SEEDS}=0,1")
    return UserError(f"{one_line(error)}; see configs/default.py")


def with_own_keys(
    of_user: ConfigDict, config: ConfigDict, overrides: list[str], known: Members
) -> Members:
    """Adds to the config the keys of the user-defined members in use; returns the members.

    They are those that the overrides or the config `of_user` name, beside the known ones of a run
    folder.
    """
    named = {overridden(a): a.partition("=")[2] for a in overrides if ":" in a}
    if not named and ":" not in repr(of_user.to_dict()).replace("': ", ""):
        return known  # most configs: nothing is imported
    from vae_jax.config.import_members import import_anew, import_members, own_keys
    from vae_jax.config.schema import flatten, nest

    of_file = flatten(of_user)
    of_flags = {key: tuple(value.split(",")) for key, value in named.items()}
    # A member of the file that the user replaces has keys too, which the file may set.
    with contextlib.suppress(UserError):
        known = import_members(of_file, known)
    members = import_members(of_file | of_flags, import_anew(of_flags, known))
    present = flatten(config)
    missing = {n: key.default for n, key in own_keys(members).items() if n not in present}
    with config.unlocked():
        config.update(nest(missing))
    return members


def leave_out_unread(
    config: ConfigDict, before: dict[str, Any], given: list[str], known: Members
) -> Members:
    """Gives their defaults to the keys of the file that only parts read that the user replaced.

    Returns the user-defined members, of the file too.
    """
    from vae_jax.config.check import without_unread
    from vae_jax.config.schema import flatten, nest

    after, members = without_unread(config, before, given, known)
    now = flatten(config)
    with config.ignore_type():
        config.update(nest({key: value for key, value in after.items() if value != now[key]}))
    return members


def with_quotes(override: str) -> str:
    """Quotes the names in an override that lists user-defined members, such as nll,mine:error."""
    flag, _, value = override.partition("=")
    if ":" not in value or not re.fullmatch(r"[\w.:]+(,[\w.:]+)+", value):
        return override
    return f"{flag}={','.join(map(repr, value.split(',')))}"


def set_seeds(config: ConfigDict, verb_flags: flags.FlagValues, overrides: list[str]) -> None:
    """Sets the seeds 0 to n - 1 of --seeds=n; says what one number given as seeds means."""
    count = verb_flags["seeds"].value if "seeds" in verb_flags else None
    if count is not None and SEEDS in overrides:
        raise UserError(f"--seeds={count} and --config.{SEEDS} say the same thing twice; give one")
    if count is not None:
        config.training.seeds = tuple(range(count))
    elif SEEDS in overrides and len(config.training.seeds) == 1:
        (seed,) = config.training.seeds
        if type(seed) is not int or not 0 <= seed < MOST_LANES:  # a check says what is wrong
            return
        tell(
            f"one lane, with the seed {seed}; the seeds 0 to {max(seed, 2) - 1} are "
            f"--seeds={max(seed, 2)}"
        )


def unknown_override(overrides: list[str], config: ConfigDict) -> UserError:
    """Names the first override whose key is not in the config, and the most similar key that is."""
    from vae_jax.config.schema import flatten, unknown_key

    known = flatten(config)
    return unknown_key(next(key for key in map(overridden, overrides) if key not in known))


def overridden(override: str) -> str:
    """The key that an override sets."""
    return re.sub(OVERRIDE, "", override.split("=")[0], count=1)


def define_export(values: flags.FlagValues) -> None:
    for name, default in (("lane", "best"), ("to", ""), ("licence", "")):
        flags.DEFINE_string(name, default, NO_HELP, flag_values=values)


def define_explore(values: flags.FlagValues) -> None:
    define_number(values, "port", 5006, 0, 65_535)
    flags.DEFINE_string("address", "localhost", NO_HELP, flag_values=values)


def define_cache(values: flags.FlagValues) -> None:
    from vae_jax.commands.cache import ALL, KEPT

    flags.DEFINE_enum("remove", None, [ALL, *KEPT], NO_HELP, flag_values=values)
