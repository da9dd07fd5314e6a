"""The figures of a run: which are drawn, and of what."""

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import jax
import numpy as np

from vae_jax.config.build import lane_spec, overridden
from vae_jax.config.import_members import import_anew
from vae_jax.config.needs import refuse_figures
from vae_jax.config.schema import keys_with
from vae_jax.errors import tell
from vae_jax.evaluation.metrics.metric import of_lane
from vae_jax.figures import style
from vae_jax.folders import folder
from vae_jax.folders.checkpoint import Progress
from vae_jax.folders.schemas import RunResults
from vae_jax.models.model import Variables
from vae_jax.reports.drawing import attempt, draw_or_tell, files_of, writable
from vae_jax.runs.measure import kept_arrays, subject_of
from vae_jax.runs.run import Run, lane_model
from vae_jax.sections.checks import path_of
from vae_jax.views.figures import FIGURES, rate_distortion
from vae_jax.views.interface import (
    LANE,
    MEASURED,
    RECORDS,
    Drawing,
    FigureSection,
    NothingToDraw,
    View,
)
from vae_jax.views.lane import LaneViews

CHOSEN = "log.figures"
# A title names these values only if they differ from the usual ones here.
USUAL = {
    "model.name": "vae",
    "model.likelihood": "bernoulli",
    "model.prior": "standard_normal",
    "model.posterior": "diagonal",
    "objective.regularizer": "none",
}

Given = ParamSpec("Given")
Drawn = TypeVar("Drawn")


def in_its_files(
    draw: Callable[Concatenate[Run, Given], Drawn],
) -> Callable[Concatenate[Run, Given], Drawn]:
    """Figures of a run are written in the formats that its config names."""

    @functools.wraps(draw)
    def with_files(run: Run, *arguments: Given.args, **named: Given.kwargs) -> Drawn:
        with style.written(files_of(run.config.values)):
            return draw(run, *arguments, **named)

    return with_files


@in_its_files
def draw_figures(run: Run, done: Progress, lanes: list[dict[str, Any]]) -> list[Path]:
    """Draws every figure, most for the lane with the best score; returns their paths.

    lanes: the results of each lane.
    """
    figures_folder = run.workdir / folder.FIGURES
    if not writable(run.workdir):
        return existing_figures(run.workdir, run.config.values[CHOSEN])
    healthy = done.state.diverged_step < 0
    lane = int(np.argmax(np.where(healthy | ~healthy.any(), done.best_bound, -np.inf)))
    draw_lane(run, done, lane, figures_folder)
    draw_others(run, done, lane, figures_folder, lanes)
    return existing_figures(run.workdir, run.config.values[CHOSEN])


def existing_figures(workdir: Path, named: Iterable[str] = ()) -> list[Path]:
    """The paths of the run's figures that exist, one for each; named: what log.figures names."""
    figures_folder = workdir / folder.FIGURES
    names = dict.fromkeys(map(stem, (*FIGURES, *named)))
    files = [[figures_folder / f"{name}.{kind}" for kind in style.FORMATS] for name in names]
    return [
        existing[0] for paths in files if (existing := [path for path in paths if path.exists()])
    ]


def stem(name: str) -> str:
    """The name of a figure's file, without its ending: of "mine:units", "units"."""
    return name.rpartition(":")[2]


def chosen(run: Run, lane: int = 0) -> dict[str, FigureSection]:
    """The figures that the config names; where it names none, all that fit a lane and the data."""
    named = run.config.values[CHOSEN]
    if named:
        return dict(zip(named, run.config.log.figures, strict=True))
    figures = {name: section() for name, section in FIGURES.items()}
    return {name: own for name, own in figures.items() if not any(problems_of(run, lane, own))}


def problems_of(run: Run, lane: int, figure: FigureSection) -> Iterator[str]:
    """What does not fit; lanes of a sweep may differ in it, as in their latent size."""
    config = run.lanes[lane].config
    yield from figure.needs(config)
    yield from figure.needs_of_data(config, run.data)


def draw_chosen(run: Run, view: View, figures_folder: Path, *kinds: str) -> None:
    """Draws those of the chosen figures that show one of `kinds`, into that folder."""
    for name, figure in chosen(run, view.place).items():
        if figure.shows not in kinds:
            continue
        if problem := next(problems_of(run, view.place, figure), ""):
            tell(f"figure {name} is left out: {problem}")
        else:
            path = figures_folder / f"{stem(name)}.png"
            attempt(f"figure {style.paths(path)[0]}", draw_one, run, view, name, figure, path)


def draw_one(run: Run, view: View, name: str, figure: FigureSection, path: Path) -> None:
    try:
        drawing = figure.drawing(view)
    except NothingToDraw as reason:
        if name in run.config.values[CHOSEN]:
            tell(f"figure {name} is left out: {reason}")
        return
    draw(drawing, path)


def draw(drawing: Drawing, path: Path) -> None:
    drawing.draw(path, *drawing.arguments, **drawing.named)


@in_its_files
def draw_training_curves(run: Run) -> None:
    """Draws the training curves of all rows so far, if they are among the chosen figures."""
    figure = chosen(run).get("training_curves")
    if figure is not None:
        path = run.workdir / folder.FIGURES / "training_curves.png"
        draw_one(run, view_of(run, None, 0), "training_curves", figure, path)


@in_its_files
def draw_lane(run: Run, done: Progress, lane: int, figures_folder: Path) -> None:
    """Draws the figures of one lane's best params, into that folder."""
    draw_chosen(run, view_of(run, done, lane), figures_folder, LANE)


@in_its_files
def draw_others(
    run: Run,
    done: Progress,
    lane: int,
    figures_folder: Path,
    lanes: list[dict[str, Any]] | None = None,
) -> None:
    """Draws the figures of what was recorded and measured; `lane`: the one shown in detail."""
    draw_chosen(run, view_of(run, done, lane, lanes), figures_folder, RECORDS, MEASURED)


def view_of(
    run: Run, done: Progress | None, lane: int, lanes: list[dict[str, Any]] | None = None
) -> View:
    """What figures can show of a lane of a run; done None: its records alone.

    lanes: the results of each lane; None: those in results.json.
    """
    config = run.lanes[lane].config
    spec = lane_spec(config, run.data)

    def variables() -> Variables:
        assert done is not None
        return jax.device_put(lane_model(run, done.best.variables, lane)[1])

    def results() -> list[dict[str, Any]]:
        return folder.read_results(run.workdir, RunResults)["lanes"] if lanes is None else lanes

    def title(what: str) -> str:
        assert done is not None
        of = f"seed {run.lanes[lane].seed}, step {done.best.step[lane]:,}"
        return f"{what}, {of}\n{describe(run, lane)}"

    return View(
        lane=LaneViews(
            spec.model,
            variables,
            run.data,
            spec.objective.corruption,
            batch_size=config.evaluation.batch_size,
            seed=config.dataset.binarization_seed,
        ),
        title=title,
        about=describe(run, 0),
        seeds=tuple(one.seed for one in run.lanes),
        place=lane,
        prefix="pseudo-" if run.pseudo else "",
        rows=partial(folder.read_rows, run.workdir),
        results=results,
        num_importance_samples=run.config.values["evaluation.num_importance_samples"],
        measured=partial(kept_arrays, run),
        measured_of_lane=lambda name: of_lane(kept_arrays(run, name), subject_of(run), lane),
    )


def draw_rate_distortion(
    path: Path, groups: dict[str, list[dict[str, Any]]], *, title: str, prefix: str
) -> list[Path]:
    """Draws a point for each lane; draws nothing for a single lane. Returns the paths drawn.

    groups: the results of the lanes, by the name of their setting.
    """
    try:
        drawing = rate_distortion(groups, title=title, prefix=prefix)
    except NothingToDraw:
        return []
    return draw_or_tell(partial(draw, drawing), path)


def lane_figures(
    run: Run,
    done: Progress,
    lane: int,
    to: str | os.PathLike[str] | None,
    names: Sequence[str] | None,
    values: dict[str, Any],
) -> dict[str, Any]:
    """The figures of one lane, as matplotlib figures by name.

    Args:
      to: a folder that they are also written to; None: they are not.
      names: the figures; None: those of the config that show the lane's model.
      values: of log.figure_... in place of the config's; those that are None are the config's.

    Raises:
      UserError: a value that the key can't have; a figure that does not fit.
    """
    members = run.config.members
    if names is not None:
        named = (names,) if isinstance(names, str) else tuple(names)
        members = import_anew({CHOSEN: named}, members)
        values = values | {CHOSEN: named}
    keys = keys_with(members)
    values = {
        key: keys[key].readers[0].check(key, value)
        for key, value in values.items()
        if value is not None
    }
    run = run._replace(
        lanes=tuple(
            lane._replace(config=overridden(lane.config, values, members)) for lane in run.lanes
        )
    )
    refuse_figures(run.config, run.data)
    with style.shown() as figures:
        draw_lane(run, done, lane, run.workdir)
        if names is not None:
            draw_others(run, done, lane, run.workdir)
    if to is not None:
        path = path_of(str(to))
        path.mkdir(parents=True, exist_ok=True)
        with style.written(files_of(run.config.values)):
            style.save_all(figures, path)
    return figures


def describe(run: Run, lane: int) -> str:
    """A lane's config in a few words, for titles."""
    values, data = run.lanes[lane].config.values, run.data

    def network(side: str) -> str:
        widths = "-".join(map(str, values[f"model.{side}.widths"]))
        return f"{values[f'model.{side}.name']} {widths}".strip()

    if run.spec.model.kind.reads_networks:
        networks = f"{network('encoder')} / {values['model.latent_size']} / {network('decoder')}"
    else:
        networks = ""
    name, binarization = Path(data.identity["name"]).name, data.identity["binarization"]
    beta = values["objective.beta"]
    pieces = [
        name if data.is_vectors else f"{name} (binarisation {binarization})",
        networks,
        *(values[key] for key, usual in USUAL.items() if values[key] != usual),
        values["objective.name"],
        f"beta {beta:g}" if beta != 1 else "",
        f"batch {run.spec.training.batch_size}",
    ]
    return ", ".join(filter(None, pieces))
