"""The report page: one HTML file that shows what a run or sweep found, and opens from disk."""

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vae_jax import files
from vae_jax.api.folders import load_lanes
from vae_jax.api.trained import Trained
from vae_jax.config.code import Untrusted
from vae_jax.config.schema import defaults
from vae_jax.errors import UserError, tell
from vae_jax.evaluation.latents import activity
from vae_jax.figures.latent_space import principal_components
from vae_jax.folders import folder
from vae_jax.folders.kinds import Kind, kind_of, refuse_others, refuse_search
from vae_jax.folders.schemas import Environment, Results, read_bytes, read_json
from vae_jax.pages import charts, findings, sweep_charts
from vae_jax.pages.curves import curves
from vae_jax.pages.sheets import lane_sheet, plain, result_sheet, text_of
from vae_jax.probability.categorical import Categorical
from vae_jax.reports.columns import best_lanes, kinds, labelled, warnings
from vae_jax.reports.sweep_report import in_order, points, setting_of
from vae_jax.reports.table import folder_name
from vae_jax.runs.summary import all_columns
from vae_jax.sweeps.records import pooled
from vae_jax.views import points as points_of_z
from vae_jax.views.lane import TRAVERSAL
from vae_jax.words import count

PAGE = "report.html"
TEMPLATE = Path(__file__).with_name("report.html")
MOST_LANES = 100  # with curves of their own, and images
MOST_BYTES = 14_500_000  # of the page: of the last lanes, no images are shown
MOST_POINTS = 2_000  # of the latent space
AGAIN_SECONDS = 10  # between two pages of a run in progress
MOST_NAMES = 24  # of settings or lanes, in a legend
SHOWN, PAIRS, TRAVERSED = 20, 10, 10  # samples; test images; latent units
MEASURED = 500  # test images that say which units are traversed
SHEET = 2_000  # pixels of the largest side of many images as one


class Chart(NamedTuple):
    """A section of the page with one chart."""

    id: str  # of the section
    title: str
    caption: str
    chart: Any
    legend: Sequence[tuple[str, str]] = ()  # names and their colours


def write_report(workdir: Path, *, follow: bool = False, interval: bool = False) -> Path:
    """Writes report.html into a run folder; returns its path.

    Args:
      follow: writes it again every AGAIN_SECONDS, until the run is finished.
      interval: as in `table_of`.

    Raises:
      UserError: there is no run, no row of metrics yet, or no bokeh.
    """
    charts.bokeh()
    folder.recorded_config(workdir)
    refuse_search(workdir)
    refuse_others(workdir)
    path = workdir / PAGE
    while True:
        finished = folder.is_finished(workdir)
        if not follow or folder.read_rows(workdir):
            content = page(workdir, AGAIN_SECONDS if follow else 0, interval=interval)
            # Letters that are no Unicode, such as of a file's name, are replaced.
            files.write_bytes(path, content.encode(errors="replace"))
            if finished or not follow:
                return path
        time.sleep(AGAIN_SECONDS)


def page(workdir: Path, refresh: int = 0, *, interval: bool = False) -> str:
    """The whole page."""
    import jinja2

    rows = folder.read_rows(workdir)
    if not rows:
        raise UserError(f"{workdir} has no metrics yet: nothing to show")
    path = workdir / folder.RESULTS
    results = read_json(path, Results) if path.exists() else None
    lanes = labelled(results, folder.recorded_config(workdir)) if results else []
    swept = results.get("swept", []) if results else []
    finished = bool(results and results["finished"])
    names = lane_names(rows, lanes, swept)
    trained = shown_lanes(workdir, list(names)[:MOST_LANES])
    prefix = "pseudo-" if results and results.get("pseudo_likelihood") else ""
    sections = chart_list(rows, lanes, swept, names, prefix)
    sections += latent_charts(trained[0] if trained else None)
    bokeh = charts.bokeh()
    script, divs = bokeh.embed.components([section.chart for section in sections])
    resources = bokeh.resources.Resources(mode="inline")
    scripts = resources.render_js() + resources.render_css()
    environment = jinja2.Environment(autoescape=True)
    environment.filters["parts"] = parts
    return environment.from_string(TEMPLATE.read_text()).render(
        title=f"{folder_name(workdir)}: {'sweep' if kind_of(workdir) is Kind.SWEEP else 'run'}",
        state=state(workdir, rows, results),
        refresh=refresh if not finished else 0,
        facts=facts(workdir, results),
        results=result_sheet(workdir, interval=interval) if lanes else None,
        lane_table=lane_sheet(results, lanes, swept) if results and lanes else None,
        charts=[s._asdict() | {"div": div} for s, div in zip(sections, divs, strict=True)],
        pictures=pictures_of_lanes(trained, names, MOST_BYTES - len(scripts) - len(script)),
        lanes=len(names),
        problems=problems(lanes, names),
        errors=errors(workdir),
        scripts=scripts,
        script=script,
    )


def parts(name: str) -> list[str]:
    """A heading in pieces between which a line may break."""
    return [part for part in re.split(r"(?<=[._/])", name) if part]


def state(workdir: Path, rows: list[dict[str, Any]], results: dict[str, Any] | None) -> str:
    """How far the run is."""
    if results and results["finished"]:
        return f"finished; {results['wall_seconds']:.0f} s of work; run folder {workdir}"
    last = max(row["epoch"] for row in rows)
    if failed := len(errors(workdir)):
        return f"{count(failed, 'program')} failed; epoch {last:g} so far; run folder {workdir}"
    return f"in progress: epoch {last:g} so far; run folder {workdir}"


def facts(workdir: Path, results: dict[str, Any] | None) -> list[tuple[str, str]]:
    """What was run: the config, as it differs from the default; the data; the machine."""
    values, usual = folder.recorded_config(workdir), defaults()
    environment = read_json(workdir / folder.ENVIRONMENT, Environment)
    config = [(key, text_of(value)) for key, value in values.items() if value != usual.get(key)]
    data = (results or {}).get("dataset") or environment.get("dataset", {})
    devices = ", ".join(environment.get("devices", []))
    others = [
        ("command", " ".join(environment.get("command", []))),
        ("data", ", ".join(f"{name} {text_of(value)}" for name, value in data.items())),
        (
            "machine",
            f"{environment.get('platform', '')}; {devices}",
        ),
        ("versions", ", ".join(f"{n} {v}" for n, v in environment.get("packages", {}).items())),
        ("commit", str(environment.get("commit") or "not a clone")),
    ]
    return [*config, *others]


def lane_names(
    rows: list[dict[str, Any]], lanes: list[dict[str, Any]], swept: list[str]
) -> dict[int, str]:
    """A name for each lane: its swept values and seed; the best by validation first."""
    seeds = {row["lane"]: row["seed"] for row in rows}
    names = {lane["lane"]: f"{setting_of(lane, swept)}, " if swept else "" for lane in lanes}
    order = [lane["lane"] for lane in best_lanes(lanes)]
    numbers = [*order, *(number for number in seeds if number not in order)]
    return {
        number: f"lane {number}: {names.get(number, '')}seed {seeds[number]}"
        for number in numbers
        if number in seeds
    }


def chart_list(
    rows: list[dict[str, Any]],
    lanes: list[dict[str, Any]],
    swept: list[str],
    names: dict[int, str],
    prefix: str = "",
) -> list[Chart]:
    """What the records hold. prefix: "pseudo-" if it is no likelihood."""
    sections = [training(rows, lanes, swept, names)]
    healthy = [lane for lane in lanes if lane["status"] != "diverged"]
    keys = [key for key in swept if len({repr(lane[key]) for lane in healthy}) > 1]
    metrics = [
        name
        for name in all_columns()
        if healthy and all(isinstance(lane.get(name), (int, float)) for lane in healthy)
    ]
    if not metrics:
        return sections
    for i, key in enumerate(keys):
        caption = "one point for each setting: mean and standard error over seeds"
        caption = "; ".join([caption, *warnings(healthy)])
        chart, legend = sweep_charts.against_key(key, points(healthy, keys), metrics)
        title = findings.of_key(key, healthy, keys)
        sections.append(Chart(f"by-{i}", title, caption, chart, legend))
    with_elbo = [lane for lane in healthy if lane["elbo"] is not None]
    if keys and len(with_elbo) > 1 and "elbo" in metrics:
        rows_of = [
            {key: plain(lane[key]) for key in keys} | {"elbo": lane["elbo"]} for lane in with_elbo
        ]
        caption = "one line for each lane, coloured by its test ELBO"
        caption = "; ".join([caption, *warnings(healthy)])
        title = f"Parallel coordinates of {count(len(with_elbo), 'lane')}"
        chart = sweep_charts.parallel(keys, rows_of, "elbo")
        sections.append(Chart("parallel", title, caption, chart))
    if len(with_elbo) > 1:
        groups = (
            {setting_of(values, keys): group for values, group in in_order(pooled(healthy, keys))}
            if keys
            else {f"seed {lane['seed']}": [lane] for lane in healthy}
        )
        caption = "one point for each lane, test set; the ELBO is the same along a dashed line"
        chart, legend = sweep_charts.rate_distortion(groups, names, prefix)
        title = findings.of_rates(with_elbo)
        sections.append(Chart("rates", title, caption, chart, shown_legend(legend)))
    return sections


def training(
    rows: list[dict[str, Any]],
    lanes: list[dict[str, Any]],
    swept: list[str],
    names: dict[int, str],
) -> Chart:
    """The training curves, coloured as in the figure: by setting in a sweep, else by lane."""
    first = dict(list(names.items())[:MOST_LANES])
    caption = "dotted: training, solid: validation"
    ranked = best_lanes(lanes)
    best = ranked[0]["lane"] if len(names) > 1 and len(kinds(ranked)) == 1 else None
    if best is not None:
        caption += "; bold: the best by validation"
    if len(first) < len(names):
        caption += f"; the best {len(first)} of {len(names)} lanes"
    keys = [key for key in swept if len({repr(lane[key]) for lane in lanes}) > 1]
    colours = {lane: charts.colour(lane) for lane in first}
    legend = [(first[lane], colours[lane]) for lane in sorted(first)]
    if keys:
        legend = []
        for i, (values, group) in enumerate(pooled(lanes, keys)):
            colours |= {lane["lane"]: charts.colour(i) for lane in group}
            legend.append((setting_of(values, keys), charts.colour(i)))
    chart = curves(rows, first, colours, best)
    title = findings.of_training(ranked, max(row["epoch"] for row in rows))
    return Chart("training", title, caption, chart, shown_legend(legend))


def shown_legend(legend: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The legend, where it has several names and not too many; else none."""
    return legend if 1 < len(legend) <= MOST_NAMES else []


def shown_lanes(workdir: Path, numbers: list[int]) -> list[Trained]:
    """These lanes, if there are checkpoints and the images are where they were."""
    try:
        trained = load_lanes(workdir, numbers)
    except UserError as error:
        if isinstance(error, Untrusted):
            tell(f"the page shows no images: {error}")
        return []
    return [lane for lane in trained if lane.data is not None]


def latent_charts(trained: Trained | None) -> list[Chart]:
    """The latent space of the best lane, and its units."""
    if trained is None:
        return []
    images, labels = shown_images(trained, MOST_POINTS)
    codes, kl_l = trained.codes(images, labels)
    caption = f"lane {trained.lane}, {len(images):,} test images"
    plane, axes, more = codes, ("latent unit 0", "latent unit 1"), ""
    if codes.shape[1] > 2:
        plane = principal_components(codes)[0]
        axes = ("principal component 0", "principal component 1")
        more = f", the first two principal components of {codes.shape[1]} units"
    numbers = trained.run.data.test.labels
    names = None if numbers is None else label_names(trained, numbers[: len(images)])
    space = charts.latent_space(plane, trained.pictures(images), names, axes)
    title = "Latent space of the best lane"
    sections = [Chart("latent-space", title, f"{caption}{more}; hover to see an image", space)]
    if kl_l is not None:
        chart = charts.latent_units(kl_l)
        sections.append(Chart("latent-units", findings.of_units(kl_l), caption, chart))
    return sections


def label_names(trained: Trained, labels: np.ndarray) -> list[str]:
    """The names of labels; the numbers where they have none."""
    names = trained.run.data.class_names
    return [names[label] if names and label >= 0 else str(label) for label in labels]


def shown_images(trained: Trained, most: int) -> tuple[np.ndarray, Any]:
    """The first test images, flat, and the names of the classes, if the model reads them."""
    test = trained.run.data.test
    if not trained.reads_labels or test.given is None:
        return test.images[:most], None
    names = trained.run.data.given_names
    return test.images[:most], [names[given] for given in test.given[:most]]


def pictures_of_lanes(
    trained: list[Trained], names: dict[int, str], most_bytes: int
) -> list[dict[str, Any]]:
    """The images of each lane, until they are `most_bytes`; those of the first in any case."""
    lanes: list[dict[str, Any]] = []
    size = 0
    for lane in trained:
        pictures = pictures_of(lane)
        size += sum(len(picture["address"]) for picture in pictures)
        if lanes and size > most_bytes:
            break
        lanes.append({"name": names[lane.lane], "pictures": pictures})
    return lanes


def pictures_of(trained: Trained) -> list[dict[str, Any]]:
    """The images of a lane: reconstructions, samples, and traversals if it has latent units."""
    images, labels = shown_images(trained, PAIRS)
    names = trained.run.data.given_names
    y = [names[i % len(names)] for i in range(SHOWN)] if trained.reads_labels else None
    rebuilt = trained.pictures(trained.reconstruct(images, labels))
    samples = trained.pictures(trained.generate(SHOWN, labels=y))
    pairs = np.concatenate([trained.pictures(images), rebuilt])
    parts: list[tuple[str, np.ndarray, int, list[str]]] = [
        ("test images and their reconstructions", pairs, len(images), []),
        ("samples of the prior, decoded", samples, PAIRS, []),
    ]
    for name in trained.samplers:
        made = trained.pictures(trained.generate(SHOWN, sampler=name))
        parts.append((f"samples by {name}, fitted to the codes, decoded", made, PAIRS, []))
    size, able = trained.latent_size, trained.run.config.model.abilities
    if able.posterior_type is Categorical:
        codes, _ = trained.codes(*shown_images(trained, MEASURED))
        units = np.argsort(-activity(codes, able.unit_size), kind="stable")[:TRAVERSED]
        count = min(able.unit_size, len(TRAVERSAL))
        z = points_of_z.values(codes[0], units, able.unit_size, count).reshape(-1, size)
        label = None if labels is None else labels[:1] * len(z)
        rows = trained.pictures(trained.decode(z, label))
        named = [f"variable {unit}" for unit in units]
        parts.append(("each value of a variable, the most active first", rows, count, named))
    elif size and not trained.run.config.model.has_discrete_z(trained.run.data):
        # A few images do not give the order that many do, and a page has many lanes.
        _, kl_l = trained.codes(*shown_images(trained, MEASURED))
        codes, _ = trained.codes(images[:1], None if labels is None else labels[:1])
        units = points_of_z.by_kl(kl_l, size)[:TRAVERSED]
        z = points_of_z.traversals(codes[0], units, TRAVERSAL).reshape(-1, size)
        label = None if labels is None else labels[:1] * len(z)
        rows = trained.pictures(trained.decode(z, label))
        order = "" if kl_l is None else ", the largest mean KL first"
        name = f"one unit at a time from -3 to 3{order}"
        parts.append((name, rows, len(TRAVERSAL), [f"unit {unit}" for unit in units]))
    pictures = []
    for name, grid, columns, row_names in parts:
        sheet = charts.tiled(grid, columns)
        width = min(1000, sheet.shape[1] * max(1, 56 // grid.shape[2]))
        picture = {"name": name, "address": charts.address(sheet, SHEET), "width": width}
        pictures.append(picture | {"rows": row_names})
    return pictures


def problems(lanes: Sequence[dict[str, Any]], names: dict[int, str]) -> list[str]:
    """A line for each lane that diverged."""
    return [
        f"{names.get(lane['lane'], lane['lane'])} diverged at step {lane['diverged_step']}"
        for lane in lanes
        if lane["status"] == "diverged"
    ]


def errors(workdir: Path) -> list[tuple[str, str]]:
    """The tracebacks of the programs that failed."""
    paths = sorted((workdir / folder.PROGRAMS).glob(f"*/{folder.ERROR}"))
    texts = [read_bytes(path).decode(errors="replace") for path in paths]
    return [(f"program {p.parent.name} failed", t) for p, t in zip(paths, texts, strict=True)]
