"""The command line: `vae-jax VERB FLAGS`, the same as `python -m vae_jax VERB FLAGS`."""

import contextlib
import contextvars
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict

import vae_jax
from vae_jax.cli.exit_codes import answer
from vae_jax.cli.flags import (
    LAUNCHERS,
    Command,
    FlagMistake,
    define_cache,
    define_compare,
    define_evaluate,
    define_explore,
    define_export,
    define_report,
    define_seeds,
    define_sweep,
    define_train,
    parse,
    parse_flags,
    refuse_beside_paired,
    refuse_words,
)
from vae_jax.cli.usage import HELP
from vae_jax.cli.usage import VERBS as USAGE
from vae_jax.config.code import Members
from vae_jax.config.file import blamed_on, config_from_file
from vae_jax.errors import UserError, choose, tell
from vae_jax.preemption import requeued
from vae_jax.sections.checks import path_of, written
from vae_jax.streams import prepare, silence


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

    given = command.flags
    if "sweep" in command.names:
        tell(
            f"--config={given.config} has sweep(hyper), which `vae-jax sweep` reads; this trains "
            "what its get_config() returns"
        )
    processes = Processes(given.coordinator, given.num_processes, given.process_id)
    with jax_started(command, partial(initialize, processes)):
        from vae_jax.commands.train import train as run
        from vae_jax.config.check import check

        with page_of(command):
            run(check(command.config, command.members), command.workdir)


def config_in_folder(workdir: Path) -> tuple[ConfigDict, Members]:
    """The config of the run or sweep in a folder, and its user-defined members."""
    from vae_jax.config.schema import nest
    from vae_jax.folders import folder

    config = folder.read_config(workdir)
    return ConfigDict(nest(config.values)), config.members


def config_recorded(workdir: Path) -> tuple[ConfigDict, Members]:
    """The config as it is written, for commands that run no code of the folder."""
    from vae_jax.config.schema import nest
    from vae_jax.folders import folder

    return ConfigDict(nest(folder.recorded_config(workdir))), {}


def evaluate(arguments: Sequence[str]) -> None:
    command = parse(arguments, config_in_folder, define_evaluate)
    if command.flags.config:
        raise UserError("evaluate takes its config from --workdir; leave --config=FILE out")
    if (images := command.flags.on) is not None:
        if not images.strip():
            raise UserError("--on= is empty; give a folder of image files, or an .npz")
        with jax_started(command):
            from vae_jax.commands.evaluate_on import evaluate_on
            from vae_jax.config.check import check

            evaluate_on(command.workdir, check(command.config, command.members), path_of(images))
        return
    with jax_started(command):
        from vae_jax.commands.evaluate import evaluate as run
        from vae_jax.config.check import check

        with page_of(command):
            run(command.workdir, check(command.config, command.members))


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
    command = parse(arguments, config_in_folder, define_sweep)
    given = command.flags
    if given.memory and not given.dry_run:
        raise UserError("--memory needs --dry_run")
    if given.scheduler and given.launcher not in (None, "dask"):
        raise UserError(
            "--scheduler is for a cluster that is running already, and "
            f"--launcher={given.launcher} starts one; give one of them"
        )
    if given.workers and (given.scheduler or not given.launcher):
        raise UserError(f"--workers={given.workers} needs a --launcher: {', '.join(LAUNCHERS)}")
    with jax_started(command):
        plan_and_run(command)


def plan_and_run(command: Command) -> None:
    """Plans and runs the sweep that a command asks for."""
    given = command.flags
    from vae_jax.commands.sweep import sweep as run
    from vae_jax.config.check import check
    from vae_jax.folders import folder
    from vae_jax.sweeps.cluster import Cluster, refuse_without_dask
    from vae_jax.sweeps.plan import Datasets, make_sweep

    data, plan, cluster = Datasets(), None, None
    if given.launcher or given.scheduler:
        workers, launcher = given.workers or 1, given.launcher or "dask"
        resources = given.partition, given.minutes, given.gpus
        cluster = Cluster(launcher, workers, given.scheduler, *resources)
        refuse_without_dask(cluster)
    if given.config:
        overrides = overrides_of(command)
        plan = make_sweep(check(command.config, command.members), overrides, command.workdir, data)
        folder.refuse_new_idle(command.workdir, plan.configs)
    with contextlib.nullcontext() if given.dry_run else page_of(command):
        run(
            command.workdir,
            plan,
            data,
            dry_run=given.dry_run,
            with_memory=given.memory,
            cluster=cluster,
        )


def search(arguments: Sequence[str]) -> None:
    command = parse(arguments, config_in_folder, define_seeds)
    with jax_started(command):
        from vae_jax.commands.search import search as run
        from vae_jax.config.check import check
        from vae_jax.folders import folder
        from vae_jax.runs.run import Datasets
        from vae_jax.searches.plan import make_plan

        data, plan = Datasets(), None
        if command.flags.config:
            overrides = overrides_of(command)
            plan = make_plan(
                check(command.config, command.members), overrides, command.workdir, data
            )
            folder.refuse_new_idle(command.workdir, plan.sweep.configs)
        run(command.workdir, plan, data)


def overrides_of(command: Command) -> list[dict[str, Any]]:
    """What sweep(hyper) of a command's config file gives."""
    from vae_jax.sweeps import language as hyper

    file = command.flags.config
    if "sweep" not in command.names:
        raise UserError(f"--config={file} has no function sweep(hyper); `vae-jax train` trains it")
    with blamed_on(file):
        return command.names["sweep"](hyper)


def report(arguments: Sequence[str]) -> None:
    command = parse(arguments, config_recorded, define_report)
    from vae_jax.folders.kinds import Kind, kind_of
    from vae_jax.searches.records import report as report_search

    given = command.flags
    refuse_words(given)
    if given.format:
        from vae_jax.reports.paper_table import FORMATS, table_of, worded

        table = table_of(command.workdir, given.where, given.by, interval=given.interval)
        print(FORMATS[given.format](worded(table, given.name, given.caption, given.label)))
        return
    if given.html:
        with jax_started(command):
            from vae_jax.pages.report import write_report

            path = write_report(command.workdir, follow=given.follow, interval=given.interval)
            print(f"page         {path}")
        return
    if given.follow:
        raise UserError("--follow needs --html")
    if kind_of(command.workdir) is Kind.SEARCH:
        if given.where or given.by or given.interval:
            raise UserError(
                f"{command.workdir} holds a search: --where, --by and --interval are for sweeps"
            )
        report_search(command.workdir)
        return
    from vae_jax.reports.sweep_report import report as run

    run(command.workdir, given.where, given.by, interval=given.interval)


def explore(arguments: Sequence[str]) -> None:
    command = parse(arguments, lambda workdir: (ConfigDict(), {}), define_explore)
    given = command.flags
    if not given.address.strip():
        raise UserError("--address= is empty, which is every address; give one, such as localhost")
    with jax_started(command):
        from vae_jax.pages.server import serve

        serve(command.workdir, given.port, given.address)


def export(arguments: Sequence[str]) -> None:
    command = parse(arguments, lambda workdir: (ConfigDict(), {}), define_export)
    given = command.flags
    if not given.to.strip():
        raise UserError("--to is missing: the folder to write, such as --to=exported")
    if given.lane != "best" and not re.fullmatch(r"\d{1,9}", given.lane, re.ASCII):
        raise UserError(f"--lane={given.lane} should be the number of a lane, or best")
    with jax_started(command):
        from vae_jax.exports import write

        lane = None if given.lane == "best" else int(given.lane)
        write.export_lane(command.workdir, lane, path_of(given.to), given.licence, given.trust)


def compare(arguments: Sequence[str]) -> None:
    values = flags.FlagValues()
    define_compare(values)
    workdirs = [path_of(workdir) for workdir in parse_flags(values, arguments)]
    if values.paired:
        refuse_beside_paired(values)
        from vae_jax.reports.paired import compare_paired

        print(compare_paired(workdirs))
        return
    refuse_words(values)
    from vae_jax.reports.paper_table import FORMATS, compare_runs, worded

    table = compare_runs(workdirs, interval=values.interval)
    print(FORMATS[values.format](worded(table, values.name, values.caption, values.label)))


def list_families(arguments: Sequence[str]) -> None:
    if (arguments and not re.fullmatch(r"--write|--config=.+", arguments[0])) or len(arguments) > 1:
        raise UserError(
            f"unexpected argument {written(arguments[-1])}; `vae-jax list` takes --write or "
            "--config=FILE"
        )
    from vae_jax.config.listing import default_text, listing, own_listing

    if arguments and arguments[0] != "--write":
        from vae_jax.config.import_members import import_members
        from vae_jax.config.schema import flatten, keys_with

        config, _ = config_from_file(arguments[0].partition("=")[2])
        keys = keys_with(import_members(flatten(config)))
        print("\n".join([listing(keys), *own_listing(keys)]))
        return
    print(default_text() if arguments else listing(), end="" if arguments else "\n")


def cache(arguments: Sequence[str]) -> None:
    values = flags.FlagValues()
    define_cache(values)
    if words := parse_flags(values, arguments):
        raise UserError(f"unexpected argument {written(words[0])}; `vae-jax cache` takes --remove")
    from vae_jax.commands.cache import cache as run

    run(values.remove)


VERBS = {
    "train": train,
    "evaluate": evaluate,
    "sweep": sweep,
    "search": search,
    "report": report,
    "compare": compare,
    "explore": explore,
    "export": export,
    "list": list_families,
    "cache": cache,
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

    with requeued():
        code = answer(partial(contextvars.copy_context().run, command))
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
