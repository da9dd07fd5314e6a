"""The command line: `vae-jax VERB FLAGS`, the same as `python -m vae_jax VERB FLAGS`."""

import codecs
import contextlib
import contextvars
import errno
import io
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from absl import flags
from ml_collections import ConfigDict

from vae_jax.arguments import (
    FORMATS,
    LAUNCHERS,
    Command,
    define_explore,
    define_report,
    define_sweep,
    define_train,
    parse,
    parsed,
    path_of,
)
from vae_jax.checks import written
from vae_jax.config.file import blamed_on, config_from_file
from vae_jax.errors import Failed, Stopped, UserError, choose, tell
from vae_jax.interrupts import interruptible
from vae_jax.usage import HELP
from vae_jax.words import CONTROL, printable


@contextlib.contextmanager
def jax_started(command: Command, join: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Configures jax before its first computation, and watches its compilations.

    `join`: joins the other processes of the run.
    """
    from vae_jax.devices.setup import pin, refuse_without_devices, use_cache, use_cores
    from vae_jax.devices.watchdog import watched

    pin()
    use_cores()
    use_cache(command.flags.cache)
    with watched():
        join()
        refuse_without_devices()
        yield


def train(arguments: Sequence[str]) -> None:
    command = parse(arguments, define=define_train)
    from vae_jax.devices.processes import Processes, initialize

    own = command.flags
    processes = Processes(own.coordinator, own.num_processes, own.process_id)
    with jax_started(command, partial(initialize, processes)):
        from vae_jax.commands.train import train as run

        with page_of(command):
            run(command.config, command.workdir)


def config_there(workdir: Path) -> ConfigDict:
    """The config of the run or sweep in a folder."""
    from vae_jax.config.schema import nest
    from vae_jax.runs import folder

    return ConfigDict(nest(folder.read_config(workdir)))


def config_recorded(workdir: Path) -> ConfigDict:
    """The same, as it is written: for what reads records alone, and runs no code of the folder."""
    from vae_jax.config.schema import nest
    from vae_jax.runs import folder

    return ConfigDict(nest(folder.recorded_config(workdir)))


def evaluate(arguments: Sequence[str]) -> None:
    command = parse(arguments, config_there)
    if command.flags.config:
        raise UserError("evaluate takes its config from --workdir; leave --config=FILE out")
    with jax_started(command):
        from vae_jax.commands.evaluate import evaluate as run

        with page_of(command):
            run(command.workdir, command.config)


@contextlib.contextmanager
def page_of(command: Command) -> Iterator[None]:
    """At the end of this context, in which a run is trained, writes its page if log.html is set.

    Raises:
      UserError: it is set, and bokeh is not installed.
    """
    if not command.config.log.html:
        yield
        return
    from vae_jax.devices.processes import is_first
    from vae_jax.pages.charts import bokeh
    from vae_jax.pages.report import write_report

    bokeh()
    yield
    if is_first():
        print(f"page         {write_report(command.workdir)}")


def sweep(arguments: Sequence[str]) -> None:
    command = parse(arguments, config_there, define_sweep)
    own = command.flags
    if own.memory and not own.dry_run:
        raise UserError("--memory is for --dry_run")
    if own.scheduler and own.launcher not in (None, "dask"):
        raise UserError(
            f"--scheduler is for a cluster that runs; --launcher={own.launcher} starts one"
        )
    if own.workers and (own.scheduler or not own.launcher):
        raise UserError(f"--workers={own.workers} needs a --launcher: {', '.join(LAUNCHERS)}")
    with jax_started(command):
        plan_and_run(command)


def plan_and_run(command: Command) -> None:
    """Plans and runs the sweep that a command asks for."""
    own = command.flags
    from vae_jax.commands.sweep import sweep as run
    from vae_jax.sweeps.cluster import Cluster, refuse_without_dask
    from vae_jax.sweeps.plan import Datasets, make_sweep

    data, plan, cluster = Datasets(), None, None
    if own.launcher or own.scheduler:
        workers, launcher = own.workers or 1, own.launcher or "dask"
        resources = own.partition, own.minutes, own.gpus
        cluster = Cluster(launcher, workers, own.scheduler, *resources)
        refuse_without_dask(cluster)
    if own.config:
        plan = make_sweep(*settings_of(command), command.workdir, data)
        refuse_new_idle(command.workdir, [plan.base | setting for setting in plan.settings])
    with contextlib.nullcontext() if own.dry_run else page_of(command):
        run(
            command.workdir,
            plan,
            data,
            dry_run=own.dry_run,
            with_memory=own.memory,
            cluster=cluster,
        )


def search(arguments: Sequence[str]) -> None:
    command = parse(arguments, config_there)
    with jax_started(command):
        from vae_jax.commands.search import search as run
        from vae_jax.runs.run import Datasets
        from vae_jax.searches.plan import make_plan

        data, plan = Datasets(), None
        if command.flags.config:
            base, overrides = settings_of(command)
            plan = make_plan(base, overrides, command.workdir, data)
            settings = [plan.values(setting) for setting in plan.sweep.settings]
            refuse_new_idle(command.workdir, settings)
        run(command.workdir, plan, data)


def refuse_new_idle(workdir: Path, configs: list[dict[str, Any]]) -> None:
    """Refuses keys without effect in a sweep or search that is not in its folder yet."""
    from vae_jax.config.needs import refuse_idle
    from vae_jax.runs import folder

    if not (workdir / folder.CONFIG).exists():
        refuse_idle(configs)


def settings_of(command: Command) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The checked config of a command, and what its file's sweep(hyper) gives."""
    from vae_jax.config.check import check
    from vae_jax.sweeps import language as hyper

    file = command.flags.config
    if "sweep" not in command.names:
        raise UserError(f"--config={file} has no sweep(hyper); `vae-jax train` runs it")
    with blamed_on(file):
        overrides = command.names["sweep"](hyper)
    return check(command.config), overrides


def report(arguments: Sequence[str]) -> None:
    command = parse(arguments, config_recorded, define_report)
    from vae_jax.searches.plan import is_search
    from vae_jax.searches.records import report as report_search

    own = command.flags
    if own.format:
        from vae_jax.reports.export import FORMATS, table_of

        print(FORMATS[own.format](table_of(command.workdir, own.where, own.by)))
        return
    if own.html:
        with jax_started(command):
            from vae_jax.pages.report import write_report

            print(f"page         {write_report(command.workdir, follow=own.follow)}")
        return
    if own.follow:
        raise UserError("--follow is for --html")
    if is_search(command.workdir):
        if command.flags.where or command.flags.by:
            raise UserError("--where and --by are for sweeps")
        report_search(command.workdir)
        return
    from vae_jax.reports.sweep_report import report as run

    run(command.workdir, command.flags.where, command.flags.by)


def explore(arguments: Sequence[str]) -> None:
    command = parse(arguments, lambda workdir: ConfigDict(), define_explore)
    own = command.flags
    if not own.address.strip():
        raise UserError("--address= would listen to all machines; say which, such as localhost")
    with jax_started(command):
        from vae_jax.pages.server import serve

        serve(command.workdir, own.port, own.address)


def compare(arguments: Sequence[str]) -> None:
    own = flags.FlagValues()
    flags.DEFINE_enum("format", "text", FORMATS, "of the table", flag_values=own)
    workdirs = parsed(own, arguments)
    from vae_jax.reports.export import FORMATS as tables
    from vae_jax.reports.export import compared

    print(tables[own.format](compared([path_of(at) for at in workdirs])))


def list_families(arguments: Sequence[str]) -> None:
    if (arguments and not re.fullmatch(r"--write|--config=.+", arguments[0])) or len(arguments) > 1:
        raise UserError(
            f"unexpected argument {written(arguments[-1])}; `vae-jax list` takes --write or "
            "--config=FILE"
        )
    from vae_jax.config.listing import default_text, listing, own_listing

    if arguments and arguments[0] != "--write":
        from vae_jax.config.adopt import adopt
        from vae_jax.config.schema import flatten

        adopt(flatten(config_from_file(arguments[0].partition("=")[2])[0]))
        print("\n".join([listing(), *own_listing()]))
        return
    print(default_text() if arguments else listing(), end="" if arguments else "\n")


# Errors of the operating system that the user can fix.
REFUSALS = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS,
    errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR,
}  # fmt: skip

VERBS = {
    "train": train,
    "evaluate": evaluate,
    "sweep": sweep,
    "search": search,
    "report": report,
    "compare": compare,
    "explore": explore,
    "list": list_families,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or {"--help", "-h", "-help", "help"} & set(arguments):
        print(HELP, end="")
        return 0 if arguments else 2
    verb, *rest = arguments

    def command() -> None:
        prepare(arguments)
        choose(VERBS, verb, "verb")(rest)

    code = answered(partial(contextvars.copy_context().run, command))
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        silence(sys.stdout)
        return code or 1
    except OSError as error:
        tell(f"stdout: {error.strerror}")
        silence(sys.stdout)
        return code or 2
    return code


def silence(stream: TextIO) -> None:
    """Discards what the stream still holds, which Python would write at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def prepare(arguments: Sequence[str]) -> None:
    """Makes the process independent of the user's encoding and of the current folder's files.

    Raises:
      UserError: an argument or the current folder has a name that is not UTF-8, or one with control
        characters; the current folder is gone.
    """
    # A closed stream is None; what is printed there is lost, and nothing else.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    codecs.register_error("plain", plainly)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="plain")
    sys.stdout = Printable(sys.stdout)
    try:
        here = os.getcwd()
    except OSError as error:
        raise UserError("the current folder is not there any more; change to another") from error
    for name in (*arguments, here):
        if any("\ud800" <= letter <= "\udfff" for letter in name):
            readable = name.encode(errors="backslashreplace").decode()
            raise UserError(f"{readable} is not UTF-8, and files could not be named so; rename it")
        if CONTROL.search(name) or set(name) & {"\n", "\r", "\t"}:
            raise UserError(f"{name!r} has a control character, such as a line break; rename it")
    # Config files import others of the current folder. It comes last, to hide no library. Where the
    # user names none, it may be a run folder of someone else, whose files are not imported.
    wanted = any(re.match("--?config", argument) for argument in arguments)
    others = (folder for folder in sys.path if folder not in ("", here))
    sys.path[:] = [*others, *([here] if wanted else [])]


class Printable:
    """A stream that a text reaches without its control characters."""

    def __init__(self, stream: TextIO):
        self.stream = getattr(stream, "stream", stream) if type(stream) is Printable else stream

    def write(self, text: str) -> int:
        return self.stream.write(printable(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def plainly(error: UnicodeError) -> tuple[str, int]:
    """The replacement for letters that the encoding of a stream lacks."""
    assert isinstance(error, UnicodeEncodeError)
    letters = error.object[error.start : error.end]
    return "".join({"±": "+-"}.get(letter, "?") for letter in letters), error.end


def answered(command: Callable[[], None]) -> int:
    """Runs a command and returns the exit code; errors that a user can fix get a line on stderr."""
    with interruptible() as asked:
        try:
            command()
        except UserError as error:
            tell(error)
            return 2
        except BrokenPipeError:  # the reader of stdout has closed it
            silence(sys.stdout)
            return 1
        except KeyboardInterrupt:
            tell(INTERRUPTED)
            return 1
        except Failed as failed:
            tell(failed)
            return 1
        except Stopped as stopped:
            tell(f"{stopped}; the same command goes on from there")
            return 1
        except Exception as error:
            if asked.times:  # libraries turn it into exceptions of their own
                tell(INTERRUPTED)
                return 1
            if not isinstance(error, OSError) or error.errno not in REFUSALS:
                raise
            # Files are always named.
            where = f"{error.filename}: " if error.filename else "stdout: "
            tell(f"{where}{error.strerror}; mend that and run the same command again")
            return 2
    return 0


INTERRUPTED = "interrupted; the same command goes on from the last checkpoint"
