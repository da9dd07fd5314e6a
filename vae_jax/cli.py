"""The command line: `vae-jax VERB FLAGS`, the same as `python -m vae_jax VERB FLAGS`."""

import contextlib
import contextvars
import errno
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict

import vae_jax
from vae_jax.arguments import (
    LAUNCHERS,
    Command,
    FlagMistake,
    define_explore,
    define_report,
    define_seeds,
    define_sweep,
    define_table,
    define_train,
    parse,
    parsed,
    refuse_words,
)
from vae_jax.checks import path_of, written
from vae_jax.config.file import blamed_on, config_from_file
from vae_jax.errors import Failed, Stopped, UserError, choose, tell
from vae_jax.interrupts import interruptible
from vae_jax.streams import prepare, silence
from vae_jax.usage import HELP
from vae_jax.usage import VERBS as USAGE


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
    command = parse(arguments, config_there, define_seeds)
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
    refuse_words(own)
    if own.format:
        from vae_jax.reports.export import FORMATS, table_of, worded

        table = table_of(command.workdir, own.where, own.by)
        print(FORMATS[own.format](worded(table, own.name, own.caption, own.label)))
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
    define_table(own, "text")
    workdirs = parsed(own, arguments)
    refuse_words(own)
    from vae_jax.reports.export import FORMATS, compared, worded

    table = compared([path_of(at) for at in workdirs])
    print(FORMATS[own.format](worded(table, own.name, own.caption, own.label)))


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
        print(next((USAGE[word] for word in arguments if word in USAGE), HELP), end="")
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"vae_jax {vae_jax.__version__}")
        return 0
    verb, *rest = arguments

    def command() -> None:
        prepare(arguments)
        run = choose(VERBS, verb, "verb")
        try:
            run(rest)
        except FlagMistake as error:
            raise UserError(f"{error}; see vae-jax {verb} --help") from error

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
