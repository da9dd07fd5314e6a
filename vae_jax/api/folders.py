"""Run folders from Python: train one, load one, and save params of your own loop as one."""

import contextlib
import os
import tempfile
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict
from numpy.typing import ArrayLike

from vae_jax import files
from vae_jax.api.trained import Trained
from vae_jax.commands.train import train as train_command
from vae_jax.config.check import check, without_unread
from vae_jax.config.code import trusting
from vae_jax.config.file import config_from_file, name_of, packaged
from vae_jax.config.schema import defaults, flatten, nest
from vae_jax.data.own.arrays import GIVEN, checked_split
from vae_jax.data.own.arrays import read as read_arrays
from vae_jax.data.own.image_files import FolderImages, read_folder
from vae_jax.devices.setup import pinned, use_cache, use_cores
from vae_jax.errors import Stopped, Unreadable, UserError
from vae_jax.folders import folder
from vae_jax.folders.checkpoint import Best, Checkpoints, template
from vae_jax.folders.kinds import Kind, kind_of
from vae_jax.models.model import Variables
from vae_jax.reports.columns import best_lanes, kinds, labelled
from vae_jax.runs.load import load_progress
from vae_jax.runs.observer import MetricRows, Observer
from vae_jax.runs.run import lane_model, make_run, make_start
from vae_jax.runs.train import lay_out
from vae_jax.sections.checks import MOST_LANES, plain, whole, written
from vae_jax.sections.declare import Values
from vae_jax.sweeps.plan import runs_in, runs_without_images

# Orbax counts its saves for the whole process: in several threads, one would wait for another's.
ONE_AT_A_TIME = threading.RLock()

# The arguments of `train` that are config keys.
ARGUMENTS = {
    "latent_size": "model.latent_size",
    "epochs": "training.num_epochs",
    "batch_size": "training.batch_size",
    "learning_rate": "optimizer.learning_rate",
    "beta": "objective.beta",
    "patience": "training.patience",
}

# (epoch, the rows of metrics.jsonl of a chunk) -> True: stop.
Callback = Callable[[float, list[dict[str, Any]]], bool | None]


def train(
    what: Mapping[str, Any] | ConfigDict | ArrayLike | os.PathLike[str],
    workdir: str | Path | None = None,
    *,
    labels: ArrayLike | None = None,
    test_images: ArrayLike | None = None,
    test_labels: ArrayLike | None = None,
    covariates: ArrayLike | None = None,
    test_covariates: ArrayLike | None = None,
    seeds: int | Sequence[int] | None = None,
    keys: Mapping[str, Any] | None = None,
    callback: Callback | None = None,
    trust: bool = False,
    **settings: Any,
) -> Trained:
    """Trains a config or images, or goes on where it was stopped; returns the best lane.

    In several threads of a process, one training waits for the other.

    Args:
      what: a config (a ConfigDict as config files give, or a dict of it), or training images
        [n, height, width] or [n, height, width, channels], uint8 or floats; or a path: of a config
        file, of an .npz file, or of a folder of images; or the name of a config that vae_jax
        brings, such as "smoke", where no path has this name.
      workdir: the run folder; None: a new folder among the temporary ones.
      labels, test_images, test_labels: beside images. Without test_images, a tenth of the images,
        the last, are the test set.
      covariates, test_covariates: [n] or [n, c], such as batch and donor: what a conditional model
        is given, in place of the labels.
      seeds: how many lanes, or their seeds.
      keys: other config keys, such as {"model.encoder.widths": (256,)}.
      callback: called with (epoch, rows) after each chunk of steps; True stops the run there. It is
        evaluated, and goes on if it is trained again.
      trust: as in `load`, of a run that is there.
      settings: latent_size, epochs, batch_size, learning_rate, beta, patience.

    Raises:
      UserError: a mistake in the config, the images or the folder; nothing was touched.
    """
    changes = changes_of(settings, keys, seeds)
    workdir = folder_of(tempfile.mkdtemp(prefix="vae_jax_") if workdir is None else workdir)
    flat, split = config_of(what), None
    beside = (labels, test_images, test_labels, covariates, test_covariates)
    if flat is not None:
        if any(part is not None for part in beside):
            raise UserError("labels and test images are for arrays; a config says where its are")
    else:
        split = checked_split(what, *beside)
        flat = defaults() | {"dataset.name": "arrays", "dataset.path": str(workdir / GIVEN)}
    flat, members = without_unread(flat | changes, before=flat, given=changes)
    config, kept_them = check(nest(flat), members), False
    if split is not None:
        kept_them = keep_images(workdir, split)
    use_cores()  # of no effect if jax has computed before
    use_cache()
    try:
        with ONE_AT_A_TIME, pinned(), trusting(trust):
            train_command(config, workdir, None if callback is None else follower(callback))
    except Stopped:
        raise KeyboardInterrupt from None  # as in any other cell
    except UserError:
        if kept_them and not (workdir / folder.CONFIG).exists():  # nothing began there
            (workdir / GIVEN).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                (workdir / folder.LOCK).unlink(missing_ok=True)
                workdir.rmdir()
        raise
    return load(workdir)


def changes_of(
    settings: Mapping[str, Any], keys: Mapping[str, Any] | None, seeds: int | Sequence[int] | None
) -> Values:
    """The config keys that the arguments of `train` set.

    Raises:
      UserError: there is no such argument; `keys` is no dict.
    """
    if unknown := [name for name in settings if name not in ARGUMENTS]:
        raise UserError(
            f"train() has no argument {unknown[0]!r}; it has {', '.join(ARGUMENTS)}, and any "
            "config key in keys={...}"
        )
    if keys is not None and not isinstance(keys, Mapping):
        raise UserError(f"keys = {written(keys)} should be a dict, as {{'model.prior': 'mixture'}}")
    changes = {ARGUMENTS[name]: value for name, value in settings.items()} | dict(keys or {})
    return changes if seeds is None else changes | {"training.seeds": seeds_of(seeds)}


def follower(callback: Callback) -> Observer:
    """Calls the user's function after each chunk; the run ends once it has returned True."""
    stop = False

    def call(step: int, rows: MetricRows) -> None:
        nonlocal stop
        if rows and not stop:
            stop = bool(callback(rows[-1]["epoch"], rows))

    return Observer(rows=call, ends=lambda: stop)


def seeds_of(seeds: Any) -> tuple[Any, ...]:
    """The seeds that a number of lanes, or several seeds, mean."""
    given = plain(seeds)
    if isinstance(given, bool) or not isinstance(given, Iterable):
        return tuple(range(whole(1, MOST_LANES)("seeds", given)))
    return tuple(given)


def config_of(what: Any) -> Values | None:
    """The flat config that `train` is given, by itself or by a path; None: it is given images."""
    if isinstance(what, Mapping | ConfigDict):
        return flatten(what)
    if not isinstance(what, str | os.PathLike):
        return None
    path = os.fspath(what)
    expanded = os.path.expanduser(path)
    is_config = path.endswith(".py")
    # The name of a config may be that of its run folder, which holds no images.
    if os.path.exists(expanded) and not is_config and not (Path(expanded) / folder.CONFIG).exists():
        return defaults() | {"dataset.name": "arrays", "dataset.path": path}
    if (is_config and os.path.isfile(expanded)) or name_of(path) in packaged():
        return flatten(config_from_file(path, flag="")[0])
    raise UserError(
        f"there is no {path}; give the path of an .npz file, a folder of images or a config file, "
        f"or the name of a config: {', '.join(packaged())}"
    )


def folder_of(workdir: Any) -> Path:
    """The run folder, absolute: the current folder may be another one later.

    Raises:
      UserError: it is no path, or is a file.
    """
    if not isinstance(workdir, str | os.PathLike) or not os.fspath(workdir):
        raise UserError(f"workdir = {written(workdir)} should be the path of a folder")
    try:
        path = Path(workdir).expanduser().absolute()
    except RuntimeError as error:
        raise UserError(f"workdir = {written(workdir)}: there is no such user") from error
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is a file; workdir should be a folder")
    return path


def keep_images(workdir: Path, split: dict[str, np.ndarray]) -> bool:
    """Writes the images into the run folder, unless they are there; returns whether it did.

    Raises:
      UserError: it holds a run of other images.
    """
    path = workdir / GIVEN
    if path.exists():
        kept = read_arrays(str(path))[0]
        same = kept.keys() == split.keys() and all(
            kept[name].dtype == array.dtype and np.array_equal(kept[name], array)
            for name, array in split.items()
        )
        if not same:
            raise UserError(f"{workdir} holds a run of other images; take another folder")
        return False
    workdir.mkdir(parents=True, exist_ok=True)
    files.write_npz(path, split)
    return True


def load(
    workdir: str | Path,
    lane: int | None = None,
    data_path: str | Path | None = None,
    *,
    trust: bool = False,
) -> Trained:
    """The best params of one lane of the run, sweep or search in `workdir`.

    Args:
      lane: its number; None: the best by validation, or the first if none is evaluated yet.
      data_path: where the images are now; None: where they were. If there is nothing there, the
        model is loaded without them.
      trust: run the code that the folder names, a likelihood of its own for example, though this
        machine has not run it before. Read it first: it can do all that you can.

    Raises:
      UserError: the folder has no run, no checkpoint, or no such lane; `data_path` can't be read,
        or holds other images than the run was trained on; it names code that is not trusted.
    """
    with trusting(trust):
        return load_lanes(workdir, None if lane is None else [lane], data_path)[0]


@pinned()
def load_lanes(
    workdir: str | Path, lanes: Sequence[int] | None, data_path: str | Path | None = None
) -> list[Trained]:
    """Several lanes as `load` gives them, from one reading of images and checkpoints.

    Args:
      lanes: their numbers; None: the one that `load` takes by itself.
      data_path: as in `load`.

    Raises:
      UserError: as in `load`.
    """
    workdir = folder_of(workdir)
    if kind_of(workdir) is Kind.SEARCH and (workdir / folder.BEST).exists():
        workdir = workdir / folder.BEST
    has_images = True
    try:
        runs = runs_in(workdir, data_path)
    except Unreadable:
        if data_path is not None:
            raise
        runs, has_images = runs_without_images(workdir), False
    every = [first_lane(workdir)] if lanes is None else lanes
    wanted = [whole(0)("lane", number) for number in every]
    numbers = {lane.number for run in runs for lane in run.lanes}
    for number in wanted:
        if number not in numbers:
            raise UserError(f"{workdir} has no lane {number}; it has 0 to {len(numbers) - 1}")
    loaded: dict[int, Trained] = {}
    for run in runs:
        indices = {lane.number: i for i, lane in enumerate(run.lanes) if lane.number in wanted}
        progress = load_progress(run) if indices else None
        for number, i in indices.items():
            assert progress is not None
            model, variables = lane_model(run, progress.best.variables, i)
            data = run.data if has_images else None
            loaded[number] = Trained(workdir, number, model, variables, data, run, progress)
    return [loaded[number] for number in wanted]


def first_lane(workdir: Path) -> int:
    """The best lane by validation; the first if none is evaluated, or all diverged.

    Raises:
      UserError: their bounds can't be compared, such as those of a density and a probability.
    """
    if not (workdir / folder.RESULTS).exists():
        return 0
    lanes = labelled(folder.read_results(workdir), folder.recorded_config(workdir))
    best = best_lanes(lanes)
    if len(several := kinds(best)) > 1:
        firsts = ", ".join(str(group[0]["lane"]) for group in several.values())
        raise UserError(
            f"the lanes of {workdir} have bounds that can't be compared; lane= says which, such as "
            f"the best of each kind: {firsts}"
        )
    return best[0]["lane"] if best else 0


def read_images(folder: str | Path, size: Sequence[int] | None = None) -> FolderImages:
    """The image files of a folder, read as a training reads them: `.images`, `.labels`, `.files`.

    images: [n, height, width] where all are grey, or [n, height, width, 3]; uint8, or the floats
    that the files hold; in the order of their paths. labels: [n], the name of the class folder of
    each; None without class folders. `train` and `run.encode` take both.

    Args:
      size: (height, width) that every image is scaled and cut to, around its centre; None: they are
        taken as they are.

    Raises:
      UserError: it is no folder, or has no images; one can't be read; they differ in size.
    """
    if not isinstance(folder, str | os.PathLike):
        raise UserError(f"folder = {written(folder)} should be the path of a folder of image files")
    given = () if size is None else plain(size)
    if isinstance(given, str) or not isinstance(given, Collection) or len(given) not in (0, 2):
        raise UserError(f"size = {written(size)} should be (height, width), or None")
    sides = [whole(1)("size", side) for side in given]
    return read_folder(Path(os.path.expanduser(folder)), sides)


@pinned()
def save(
    workdir: str | Path, config: Mapping[str, Any], variables: Variables, step: int = 0
) -> Trained:
    """Writes the variables of your own training loop as a run folder of one lane, and loads it.

    Args:
      config: what the model is of, with its dataset; one seed.
      variables: as `model.init` gives them.
      step: how many steps they were trained.

    Raises:
      UserError: a mistake in the config; variables of another model; the folder holds a run.
    """
    workdir, step = folder_of(workdir), whole(0)("step", step)
    if (workdir / folder.CONFIG).exists():
        raise UserError(f"{workdir} holds a run; take another folder")
    run = make_run(check(nest(flatten(config))), workdir)
    if len(run.lanes) != 1:
        raise UserError("one lane is saved: training.seeds should hold one seed")
    empty = template(run.spec, make_start(run))
    like = {part: empty.best.variables[part] for part in variables}
    shapes = jax.tree.map(lambda leaf: leaf.shape[1:], like)
    given = jax.tree.map(lambda leaf: np.shape(leaf), dict(variables))
    if shapes != given:
        raise UserError("these variables are not of the model that the config describes")
    stacked = jax.tree.map(lambda leaf: np.asarray(leaf)[None], dict(variables))
    all_variables = empty.best.variables | stacked
    steps: Any = np.full(1, step, np.int32)
    sound: Any = np.full(1, -1, np.int32)
    state = empty.state._replace(
        step=steps, variables=empty.state.variables | all_variables, diverged_step=sound
    )
    progress = empty._replace(state=state, best=Best(steps, all_variables))
    with ONE_AT_A_TIME, folder.locked(workdir):
        lay_out(run)
        files.write_text(workdir / folder.METRICS, "")
        with Checkpoints(workdir / folder.CHECKPOINTS, keep=1) as checkpoints:
            beside = folder.beside_checkpoint(workdir, run.data.identity, run.config)
            checkpoints.save(step, progress, beside)
    return load(workdir, 0)
