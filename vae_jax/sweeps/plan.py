"""The plan of a sweep: its configs, and which lanes share a compiled program."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vae_jax.checks import path
from vae_jax.config.adopt import adopt
from vae_jax.config.build import make_config
from vae_jax.config.check import check
from vae_jax.config.decide import as_decided
from vae_jax.config.needs import refuse_data
from vae_jax.config.schema import DATA_PATH, KEYS, LANE_KEYS, differences, nest, unknown_key
from vae_jax.data.dataset import Dataset, without_images
from vae_jax.errors import UserError
from vae_jax.keys import Values
from vae_jax.runs import folder
from vae_jax.runs.run import (
    Datasets,
    Lane,
    Run,
    lanes_of,
    make_program,
    make_run,
    refuse_too_few_devices,
)
from vae_jax.runs.schemas import Environment, SweepFile, read_json

PROGRAMS = "programs"


class Program(NamedTuple):
    """Lanes that are compiled and trained together."""

    name: str
    lanes: tuple[int, ...]  # their numbers in the sweep
    padded_latent_size: int | None  # the largest of the lanes' latent sizes; None if all are equal
    checksum: str | None = None  # of its dataset; None: not recorded, by an earlier version


class Sweep(NamedTuple):
    """Every setting with every seed: lane n is setting n // seeds with seed n % seeds."""

    workdir: Path
    base: Values
    settings: tuple[dict[str, Any], ...]  # the overrides of each config
    swept: tuple[str, ...]  # the keys with more than one value, in the order of the settings
    programs: tuple[Program, ...]

    @property
    def num_lanes(self) -> int:
        return len(self.settings) * len(self.base["training.seeds"])

    def lane(self, number: int) -> Lane:
        setting, seed = divmod(number, len(self.base["training.seeds"]))
        values = self.base | self.settings[setting]
        own = {key: values[key] for key in self.swept}
        return Lane(number, self.base["training.seeds"][seed], own, values)

    def folder(self, program: Program) -> Path:
        return self.workdir / PROGRAMS / program.name


def swept_keys(base: Values, settings: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """The keys in the settings that have more than one value."""
    different = differing([base | setting for setting in settings])
    written = dict.fromkeys(key for setting in settings for key in setting)
    return tuple(key for key in written if key in different)


def differing(configs: Sequence[Values]) -> list[str]:
    """The keys that have more than one value in the configs."""
    return [key for key in KEYS if any(c[key] != configs[0][key] for c in configs)]


def shown(setting: dict[str, Any]) -> str:
    """A setting, as one line of text."""
    return ", ".join(f"{key}={value}" for key, value in setting.items()) or "the config as it is"


def checked_settings(
    base: Values, overrides: Any, data: Datasets
) -> tuple[Values, tuple[dict[str, Any], ...]]:
    """The base config, and the overrides of every config, checked as for a single run.

    Types are normalised, and choices made that the configs leave to their data.

    Raises:
      UserError: the first config with a mistake; no config at all; the same config twice.
    """
    if not isinstance(overrides, list) or not all(isinstance(o, dict) for o in overrides):
        raise UserError("sweep(hyper) should return what hyper's functions give: a list of dicts")
    if not overrides:
        raise UserError("the sweep is empty: sweep(hyper) gave no config")
    seen: dict[tuple, int] = {}
    configs = []
    for number, override in enumerate(overrides):
        name = f"config {number} of the sweep ({shown(override)})"
        try:
            values = data.decided(checked(base, override))
            refuse_data(make_config(values), data.of(values))
            refuse_too_few_devices(values)
        except UserError as error:
            raise UserError(f"{name}: {error}") from error
        same = seen.setdefault(tuple(values.items()), number)
        if same != number:
            raise UserError(f"{name} is config {same} once more; every config should be another")
        configs.append(values)
    # What the base leaves to the data is what was decided first; a setting says where it differs.
    base = as_decided(base, configs[0])
    settings = [
        {key: values[key] for key in KEYS if key in override or values[key] != base[key]}
        for override, values in zip(overrides, configs, strict=True)
    ]
    return base, tuple(settings)


def checked(base: Values, override: dict[str, Any], *, idle_allowed: bool = False) -> Values:
    """The checked config with `override`. Raises UserError if a key can't be swept over."""
    adopt(override)
    for key in override:
        if key not in KEYS:
            raise unknown_key(key)
        if key == "training.seeds" or key.startswith(("sweep.", "search.")):
            raise UserError(
                f"{key} can't be swept over: it is one for the whole sweep, set in get_config()"
            )
    return check(nest(base | override), idle_allowed=idle_allowed)


def make_sweep(base: Values, overrides: Any, workdir: Path, data: Datasets) -> Sweep:
    """The plan of a sweep: lanes grouped into programs of at most `sweep.max_lanes` lanes.

    Raises:
      UserError: a mistake in any config.
    """
    base, settings = checked_settings(base, overrides, data)
    sweep = Sweep(workdir, base, settings, swept_keys(base, settings), ())
    padded = base["sweep.pad_latents"]
    groups: dict[tuple, list[Lane]] = {}
    for number in range(sweep.num_lanes):
        lane = sweep.lane(number)
        groups.setdefault(program_key(lane.values, padded), []).append(lane)
    programs: list[Program] = []
    for lanes in groups.values():
        sizes = {lane.values["model.latent_size"] for lane in lanes}
        largest = max(sizes) if len(sizes) > 1 else None
        parts = -(-len(lanes) // base["sweep.max_lanes"])
        for part in np.array_split([lane.number for lane in lanes], parts):
            name = f"{len(programs):03d}"
            checksum = data.of(lanes[0].values).identity["checksum"]
            programs.append(Program(name, tuple(part.tolist()), largest, checksum))
    return sweep._replace(programs=tuple(programs))


def program_key(values: Values, pad_latents: bool) -> tuple:
    """The values that all lanes of one program share, as a key for grouping."""
    own = LANE_KEYS | ({"model.latent_size"} if pad_latents and can_be_padded(values) else set())
    return tuple((key, value) for key, value in values.items() if key not in own)


def can_be_padded(values: Values) -> bool:
    """Whether masked latent units have no effect: no part of the config mixes latent units."""
    config = make_config(values)
    return config.model.abilities.can_be_masked and config.objective.is_unit_by_unit


def program_run(sweep: Sweep, program: Program, data: Datasets) -> Run:
    """The run of one program of the sweep.

    Raises:
      UserError: its data can't be loaded, or are not those that the sweep began with.
    """
    own = data.of(sweep.lane(program.lanes[0]).values)
    refuse_other_checksum(sweep.workdir, program, own.identity)
    return run_on(sweep, program, own)


def run_on(sweep: Sweep, program: Program, data: Dataset) -> Run:
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


def split(sweep: Sweep, program: Program, parts: int) -> Sweep:
    """The sweep, with the lanes of one program divided among `parts` programs."""
    pieces = [
        program._replace(name=f"{program.name}{chr(ord('a') + i)}", lanes=tuple(lanes.tolist()))
        for i, lanes in enumerate(np.array_split(program.lanes, min(parts, 26)))
    ]
    at = sweep.programs.index(program)
    programs = (*sweep.programs[:at], *pieces, *sweep.programs[at + 1 :])
    return sweep._replace(programs=programs)


def is_sweep(workdir: Path) -> bool:
    return (workdir / folder.SWEEP).exists()


def read_sweep(workdir: Path) -> Sweep:
    """The sweep in `workdir`.

    Raises:
      UserError: there is none, or it is damaged.
    """
    if not is_sweep(workdir):
        raise UserError(f"{workdir} holds no sweep (no {folder.SWEEP}); start one with --config")
    return read_plan(workdir, folder.SWEEP)


def read_plan(workdir: Path, name: str) -> Sweep:
    """The settings and programs in a file of that name, and the config beside it.

    Raises:
      UserError: they are damaged.
    """
    base = folder.read_config(workdir)
    content = read_json(workdir / name, SweepFile)
    try:
        settings = []
        for setting in content["settings"]:
            folder.adopt_there(workdir, setting)
        for setting in content["settings"]:
            values = checked(base, setting, idle_allowed=True)
            settings.append({key: values[key] for key in setting})
        programs = [
            Program(p["name"], tuple(p["lanes"]), p["padded_latent_size"], p.get("checksum"))
            for p in content["programs"]
        ]
        refuse_other_lanes(programs, len(settings) * len(base["training.seeds"]))
    except UserError as error:
        raise UserError(f"{workdir / name} is damaged ({error})") from error
    swept = swept_keys(base, settings)
    return Sweep(workdir, base, tuple(settings), swept, tuple(programs))


def refuse_other_lanes(programs: list[Program], num_lanes: int) -> None:
    """Raises UserError unless the names are those of folders, and every lane is in one program."""
    for program in programs:
        if not re.fullmatch(r"[0-9]+[a-z]*", program.name):
            raise UserError(f"{program.name!r} is no name of a program; it should be such as '000'")
    lanes = sorted(lane for program in programs for lane in program.lanes)
    if lanes != list(range(num_lanes)) or len({p.name for p in programs}) < len(programs):
        raise UserError(f"its programs should hold each of the {num_lanes} lanes once")


def write_sweep(sweep: Sweep, name: str = folder.SWEEP) -> None:
    """Writes its settings and programs into a file of that name."""
    folder.write_json(
        sweep.workdir / name,
        {
            "settings": sweep.settings,
            "programs": [program._asdict() for program in sweep.programs],
        },
    )


def refuse_other_sweep(there: Sweep, here: Sweep) -> None:
    """Raises UserError if two sweeps differ in their base config or in a setting."""
    different = differences(there.base, here.base)
    if len(there.settings) != len(here.settings):
        different.append(f"{len(there.settings)} configs there, {len(here.settings)} here")
    else:
        for number, settings in enumerate(zip(there.settings, here.settings, strict=True)):
            different += [f"config {number}: {line}" for line in differences(*settings)]
    if different:
        more = f"; and {len(different) - 5} more" if len(different) > 5 else ""
        raise UserError(
            f"{there.workdir} holds another sweep ({'; '.join(different[:5])}{more}); "
            "take another --workdir or the same sweep"
        )
    checksums = {lane: program.checksum for program in here.programs for lane in program.lanes}
    for program in there.programs:
        identity = {"name": "the dataset", "checksum": checksums[program.lanes[0]]}
        refuse_other_checksum(there.workdir, program, identity)


def runs_in(workdir: Path, data_path: str | Path | None = None) -> list[Run]:
    """The runs in a folder: the programs of a sweep, or a single run.

    `data_path`: where the data are now; None: where the config says.
    """
    folder.refuse_search(workdir)
    moved = {} if data_path is None else {DATA_PATH: path(DATA_PATH, str(data_path))}
    if not is_sweep(workdir):
        return [make_run(folder.read_config(workdir) | moved, workdir)]
    sweep, data = read_sweep(workdir), Datasets()
    sweep = sweep._replace(base=sweep.base | moved)
    return [program_run(sweep, program, data) for program in sweep.programs]


def runs_without_images(workdir: Path) -> list[Run]:
    """The same, with images of zeros: for what needs the sizes of the data only.

    Raises:
      UserError: an earlier version of the folder, which does not hold these sizes.
    """
    if not is_sweep(workdir):
        values = folder.read_config(workdir)
        return [make_program(lanes_of(values), workdir, recorded_data(workdir))]
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
