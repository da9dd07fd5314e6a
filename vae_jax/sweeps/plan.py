"""The plan of a sweep: its configs, and which lanes share a compiled program."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vae_jax.config.build import make_config
from vae_jax.config.check import check
from vae_jax.config.needs import refuse_data
from vae_jax.config.schema import KEYS, LANE_KEYS, differences, nest, unknown_key
from vae_jax.data.dataset import Dataset
from vae_jax.errors import UserError
from vae_jax.keys import Values
from vae_jax.runs import folder
from vae_jax.runs.run import (
    Lane,
    Run,
    make_dataset,
    make_layout,
    make_program,
    make_run,
)

PROGRAMS = "programs"


class Program(NamedTuple):
    """Lanes that are compiled and trained together."""

    name: str
    lanes: tuple[int, ...]  # their numbers in the sweep
    padded_latent_size: int | None  # the largest of the lanes' latent sizes; None if all are equal


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


class Datasets:
    """Loads each dataset once."""

    def __init__(self) -> None:
        self._loaded: dict[tuple, Dataset] = {}

    def of(self, values: Values) -> Dataset:
        """The config's dataset."""
        key = tuple((k, v) for k, v in values.items() if k.startswith("dataset."))
        if key not in self._loaded:
            self._loaded[key] = make_dataset(values)
        return self._loaded[key]


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


def checked_settings(base: Values, overrides: Any, data: Datasets) -> tuple[dict[str, Any], ...]:
    """The overrides of every config, checked as for a single run, with normalised types.

    Raises:
      UserError: the first config with a mistake; no config at all; the same config twice.
    """
    if not isinstance(overrides, list) or not all(isinstance(o, dict) for o in overrides):
        raise UserError("sweep(hyper) should return what hyper's functions give: a list of dicts")
    if not overrides:
        raise UserError("the sweep is empty: sweep(hyper) gave no config")
    seen: dict[tuple, int] = {}
    settings = []
    for number, override in enumerate(overrides):
        name = f"config {number} of the sweep ({shown(override)})"
        try:
            values = checked(base, override)
            refuse_data(make_config(values), data.of(values))
            make_layout(values, lanes=1)
        except UserError as error:
            raise UserError(f"{name}: {error}") from error
        same = seen.setdefault(tuple(values.items()), number)
        if same != number:
            raise UserError(f"{name} is config {same} once more; every config should be another")
        settings.append({key: values[key] for key in override})
    return tuple(settings)


def checked(base: Values, override: dict[str, Any], *, idle_allowed: bool = False) -> Values:
    """The checked config with `override`. Raises UserError if a key can't be swept over."""
    for key in override:
        if key not in KEYS:
            raise unknown_key(key)
        if key == "training.seeds" or key.startswith("sweep."):
            raise UserError(
                f"{key} can't be swept over: it is one for the whole sweep, set in get_config()"
            )
    return check(nest(base | override), idle_allowed=idle_allowed)


def make_sweep(base: Values, overrides: Any, workdir: Path, data: Datasets) -> Sweep:
    """The plan of a sweep: lanes grouped into programs of at most `sweep.max_lanes` lanes.

    Raises:
      UserError: a mistake in any config.
    """
    settings = checked_settings(base, overrides, data)
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
            programs.append(Program(name, tuple(part.tolist()), largest))
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
    """The run of one program of the sweep."""
    lanes = [sweep.lane(number) for number in program.lanes]
    return make_program(
        lanes, sweep.folder(program), data.of(lanes[0].values), program.padded_latent_size
    )


def split(sweep: Sweep, program: Program, parts: int) -> Sweep:
    """The sweep, with the lanes of one program divided among `parts` programs."""
    pieces = [
        Program(f"{program.name}{chr(ord('a') + i)}", tuple(lanes.tolist()), program[2])
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
    base = folder.read_config(workdir)
    content = folder.read_json(workdir / folder.SWEEP)
    try:
        settings = []
        for setting in content["settings"]:
            values = checked(base, setting, idle_allowed=True)
            settings.append({key: values[key] for key in setting})
        programs = [
            Program(p["name"], tuple(p["lanes"]), p["padded_latent_size"])
            for p in content["programs"]
        ]
    except (KeyError, TypeError, UserError) as error:
        raise UserError(f"{workdir / folder.SWEEP} is damaged ({error})") from error
    swept = swept_keys(base, settings)
    return Sweep(workdir, base, tuple(settings), swept, tuple(programs))


def write_sweep(sweep: Sweep) -> None:
    folder.write_json(
        sweep.workdir / folder.SWEEP,
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


def runs_in(workdir: Path) -> list[Run]:
    """The runs in a folder: the programs of a sweep, or a single run."""
    if not is_sweep(workdir):
        return [make_run(folder.read_config(workdir), workdir)]
    sweep, data = read_sweep(workdir), Datasets()
    return [program_run(sweep, program, data) for program in sweep.programs]
