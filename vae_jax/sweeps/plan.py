"""The plan of a sweep: its configs, and which lanes share a compiled program."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vae_jax import files
from vae_jax.config.build import Config, overridden
from vae_jax.config.check import check
from vae_jax.config.code import NO_MEMBERS, Members
from vae_jax.config.decide import as_decided
from vae_jax.config.import_members import import_members
from vae_jax.config.needs import refuse_data
from vae_jax.config.schema import (
    DATA_PATH,
    differences,
    keys_with,
    lane_keys,
    nest,
    unknown_key,
)
from vae_jax.data.dataset import Dataset, without_images
from vae_jax.errors import UserError
from vae_jax.folders import folder
from vae_jax.folders.kinds import Kind, kind_of, refuse_others, refuse_search
from vae_jax.folders.schemas import Environment, SweepFile, read_json
from vae_jax.runs.run import (
    Datasets,
    Lane,
    Run,
    lanes_of,
    make_program,
    make_run,
    refuse_too_few_devices,
)
from vae_jax.sections.checks import path
from vae_jax.sections.declare import Values


class Program(NamedTuple):
    """Lanes that are compiled and trained together."""

    name: str
    lanes: tuple[int, ...]  # their numbers in the sweep
    padded_latent_size: int | None  # the largest of the lanes' latent sizes; None if all are equal
    checksum: str | None = None  # of its dataset; None: not recorded, by an earlier version


class SweepPlan(NamedTuple):
    """Every setting with every seed: lane n is setting n // seeds with seed n % seeds."""

    workdir: Path
    base: Config
    settings: tuple[Values, ...]  # the overrides of each config
    configs: tuple[Config, ...]  # one for each setting; all, and the base, know the same members
    swept: tuple[str, ...]  # the keys with more than one value, in the order of the settings
    programs: tuple[Program, ...]

    @property
    def num_lanes(self) -> int:
        return len(self.settings) * len(self.base.training.seeds)

    def lane(self, number: int) -> Lane:
        setting, seed = divmod(number, len(self.base.training.seeds))
        config = self.configs[setting]
        swept = {key: config.value(key) for key in self.swept}
        return Lane(number, self.base.training.seeds[seed], swept, config)

    def folder(self, program: Program) -> Path:
        return self.workdir / folder.PROGRAMS / program.name


def based_on(sweep: SweepPlan, base: Config) -> SweepPlan:
    """The sweep with another base, whose values are checked; the settings are the same."""
    base = overridden(base, {}, {**sweep.base.members, **base.members})
    return sweep._replace(
        base=base, configs=tuple(overridden(base, setting) for setting in sweep.settings)
    )


def swept_keys(settings: Sequence[Values], configs: Sequence[Config]) -> tuple[str, ...]:
    """The keys in the settings that have more than one value."""
    different = differing(configs)
    written = dict.fromkeys(key for setting in settings for key in setting)
    return tuple(key for key in written if key in different)


def differing(configs: Sequence[Config]) -> list[str]:
    """The keys that have more than one value in the configs."""
    first, *others = configs
    return [key for key in first.keys if any(it.value(key) != first.value(key) for it in others)]


def shown(setting: Values) -> str:
    """A setting, as one line of text."""
    return ", ".join(f"{key}={value}" for key, value in setting.items()) or "the config as it is"


def check_settings(
    base: Config, overrides: Any, data: Datasets
) -> tuple[Config, tuple[Values, ...], tuple[Config, ...]]:
    """The base config, the overrides of every config, and the configs, checked as single runs are.

    Types are normalised, and choices made that the configs leave to their data.

    Raises:
      UserError: the first config with a mistake; no config at all; the same config twice.
    """
    if not isinstance(overrides, list) or not all(isinstance(o, dict) for o in overrides):
        raise UserError("sweep(hyper) should return what hyper's functions give: a list of dicts")
    if not overrides:
        raise UserError("the sweep is empty: sweep(hyper) gave no config")
    seen: dict[tuple, int] = {}
    configs: list[Config] = []
    members = base.members
    for number, override in enumerate(overrides):
        name = f"config {number} of the sweep ({shown(override)})"
        try:
            config = data.decided(check_override(base, override, members))
            refuse_data(config, data.of(config))
            refuse_too_few_devices(config)
        except UserError as error:
            raise UserError(f"{name}: {error}") from error
        same = seen.setdefault(tuple(config.values.items()), number)
        if same != number:
            raise UserError(f"{name} is config {same} once more; every config should be another")
        configs.append(config)
        members = config.members
    configs = [replace(config, members=members) for config in configs]
    # What the base leaves to the data is what was decided first; a setting says where it differs.
    base = replace(as_decided(base, configs[0]), members=members)
    settings = [
        {
            key: config.value(key)
            for key in config.keys
            if key in override or config.value(key) != base.value(key)
        }
        for override, config in zip(overrides, configs, strict=True)
    ]
    return base, tuple(settings), tuple(configs)


def check_override(
    base: Config, override: Values, known: Members, *, idle_allowed: bool = False
) -> Config:
    """The checked config with `override`. Raises UserError if a key can't be swept over.

    `known`: as in `check`.
    """
    members = import_members(override, known)
    for key in override:
        if key not in keys_with(members):
            raise unknown_key(key)
        if key == "training.seeds" or key.startswith(("sweep.", "search.")):
            raise UserError(
                f"{key} can't be swept over: it is one for the whole sweep, set in get_config()"
            )
    return check(nest(base.values | override), members, idle_allowed=idle_allowed)


def make_sweep(base: Config, overrides: Any, workdir: Path, data: Datasets) -> SweepPlan:
    """The plan of a sweep: lanes grouped into programs of at most `sweep.max_lanes` lanes.

    Raises:
      UserError: a mistake in any config.
    """
    base, settings, configs = check_settings(base, overrides, data)
    sweep = SweepPlan(workdir, base, settings, configs, swept_keys(settings, configs), ())
    groups: dict[tuple, list[Lane]] = {}
    for number in range(sweep.num_lanes):
        lane = sweep.lane(number)
        groups.setdefault(program_key(lane.config, base.sweep.pad_latents), []).append(lane)
    programs: list[Program] = []
    for lanes in groups.values():
        sizes = {lane.config.model.latent_size for lane in lanes}
        largest = max(sizes) if len(sizes) > 1 else None
        parts = -(-len(lanes) // base.sweep.max_lanes)
        for part in np.array_split([lane.number for lane in lanes], parts):
            name = f"{len(programs):03d}"
            checksum = data.of(lanes[0].config).identity["checksum"]
            programs.append(Program(name, tuple(part.tolist()), largest, checksum))
    return sweep._replace(programs=tuple(programs))


def program_key(config: Config, pad_latents: bool) -> tuple:
    """The values that all lanes of one program share, as a key for grouping."""
    padded = {"model.latent_size"} if pad_latents and can_be_padded(config) else set()
    of_lanes = lane_keys(config.keys) | padded
    return tuple((key, value) for key, value in config.values.items() if key not in of_lanes)


def can_be_padded(config: Config) -> bool:
    """Whether masked latent units have no effect: no part of the config mixes latent units."""
    return config.model.abilities.can_be_masked and config.objective.is_unit_by_unit


def program_run(sweep: SweepPlan, program: Program, data: Datasets) -> Run:
    """The run of one program of the sweep.

    Raises:
      UserError: its data can't be loaded, or are not those that the sweep began with.
    """
    dataset = data.of(sweep.lane(program.lanes[0]).config)
    refuse_other_checksum(sweep.workdir, program, dataset.identity)
    return run_on(sweep, program, dataset)


def run_on(sweep: SweepPlan, program: Program, data: Dataset) -> Run:
    """The run of one program on these data."""
    lanes = [sweep.lane(number) for number in program.lanes]
    return make_program(lanes, sweep.folder(program), data, program.padded_latent_size)


def refuse_other_checksum(workdir: Path, program: Program, identity: dict[str, Any]) -> None:
    """Raises UserError if these are not the data that the program of the sweep began with."""
    if program.checksum not in (None, identity["checksum"]):
        raise UserError(
            f"{identity['name']} holds other data than the sweep in {workdir} began with (checksum "
            f"{program.checksum} there, {identity['checksum']} here); restore them, or take "
            "another --workdir"
        )


def split(sweep: SweepPlan, program: Program, parts: int) -> SweepPlan:
    """The sweep, with the lanes of one program divided among `parts` programs."""
    pieces = [
        program._replace(name=f"{program.name}{chr(ord('a') + i)}", lanes=tuple(lanes.tolist()))
        for i, lanes in enumerate(np.array_split(program.lanes, min(parts, 26)))
    ]
    index = sweep.programs.index(program)
    programs = (*sweep.programs[:index], *pieces, *sweep.programs[index + 1 :])
    return sweep._replace(programs=programs)


def read_sweep(workdir: Path, known: Members = NO_MEMBERS) -> SweepPlan:
    """The sweep in `workdir`; known: as in `folder.read_config`.

    Raises:
      UserError: there is none, or it is damaged.
    """
    if kind_of(workdir) is not Kind.SWEEP:
        raise UserError(f"{workdir} holds no sweep (no {folder.SWEEP}); start one with --config")
    return read_plan(workdir, folder.SWEEP, known)


def read_plan(workdir: Path, name: str, known: Members = NO_MEMBERS) -> SweepPlan:
    """The settings and programs in a file of that name, and the config beside it.

    `known`: as in `folder.read_config`.

    Raises:
      UserError: they are damaged, or name code that may not run.
    """
    base = folder.read_config(workdir, known)
    members = base.members
    content = read_json(workdir / name, SweepFile)
    for setting in content["settings"]:
        members = folder.import_recorded(workdir, setting, members)
    try:
        settings: list[Values] = []
        configs: list[Config] = []
        for setting in content["settings"]:
            configs.append(check_override(base, setting, members, idle_allowed=True))
            settings.append({key: configs[-1].values[key] for key in setting})
        programs = [
            Program(p["name"], tuple(p["lanes"]), p["padded_latent_size"], p.get("checksum"))
            for p in content["programs"]
        ]
        refuse_other_lanes(programs, len(settings) * len(base.training.seeds))
    except UserError as error:
        raise UserError(f"{workdir / name} is damaged ({error})") from error
    base, swept = replace(base, members=members), swept_keys(settings, configs)
    return SweepPlan(workdir, base, tuple(settings), tuple(configs), swept, tuple(programs))


def refuse_other_lanes(programs: list[Program], num_lanes: int) -> None:
    """Raises UserError unless the names are those of folders, and every lane is in one program."""
    for program in programs:
        if not re.fullmatch(r"[0-9]+[a-z]*", program.name):
            raise UserError(f"{program.name!r} is no name of a program; it should be such as '000'")
    lanes = sorted(lane for program in programs for lane in program.lanes)
    if lanes != list(range(num_lanes)) or len({p.name for p in programs}) < len(programs):
        raise UserError(f"its programs should hold each of the {num_lanes} lanes once")


def write_sweep(sweep: SweepPlan, name: str = folder.SWEEP) -> None:
    """Writes its settings and programs into a file of that name."""
    files.write_json(
        sweep.workdir / name,
        {
            "settings": sweep.settings,
            "programs": [program._asdict() for program in sweep.programs],
        },
    )


def refuse_other_sweep(recorded: SweepPlan, wanted: SweepPlan) -> None:
    """Raises UserError if two sweeps differ in their base config or in a setting."""
    different = differences(recorded.base.values, wanted.base.values)
    if len(recorded.settings) != len(wanted.settings):
        different.append(f"{len(recorded.settings)} configs there, {len(wanted.settings)} here")
    else:
        for number, settings in enumerate(zip(recorded.settings, wanted.settings, strict=True)):
            different += [f"config {number}: {line}" for line in differences(*settings)]
    if different:
        more = f"; and {len(different) - 5} more" if len(different) > 5 else ""
        raise UserError(
            f"{recorded.workdir} holds another sweep ({'; '.join(different[:5])}{more}); "
            "take another --workdir or the same sweep"
        )
    checksums = {lane: program.checksum for program in wanted.programs for lane in program.lanes}
    for program in recorded.programs:
        identity = {"name": "the dataset", "checksum": checksums[program.lanes[0]]}
        refuse_other_checksum(recorded.workdir, program, identity)


def runs_in(workdir: Path, data_path: str | Path | None = None) -> list[Run]:
    """The runs in a folder: the programs of a sweep, or a single run.

    `data_path`: where the data are now; None: where the config says.
    """
    refuse_others(workdir)
    refuse_search(workdir)
    moved = {} if data_path is None else {DATA_PATH: path(DATA_PATH, str(data_path))}
    if kind_of(workdir) is not Kind.SWEEP:
        return [make_run(overridden(folder.read_config(workdir), moved), workdir)]
    sweep, data = read_sweep(workdir), Datasets()
    sweep = based_on(sweep, overridden(sweep.base, moved)) if moved else sweep
    return [program_run(sweep, program, data) for program in sweep.programs]


def runs_without_images(workdir: Path) -> list[Run]:
    """The runs in a folder, with images of zeros: for what needs the sizes of the data only.

    Raises:
      UserError: an earlier version of the folder, which does not hold these sizes.
    """
    if kind_of(workdir) is not Kind.SWEEP:
        lanes = lanes_of(folder.read_config(workdir))
        return [make_program(lanes, workdir, recorded_data(workdir))]
    sweep = read_sweep(workdir)
    return [
        run_on(sweep, program, recorded_data(sweep.folder(program))) for program in sweep.programs
    ]


def recorded_data(workdir: Path) -> Dataset:
    """A stand-in of the dataset that the run in a folder was trained on."""
    identity = read_json(workdir / folder.ENVIRONMENT, Environment).get("dataset", {})
    if "image_shape" not in identity:
        raise UserError(
            f"{identity.get('name', 'the dataset')} is gone, and {workdir} does not say how large "
            "its images are"
        )
    return without_images(identity)
