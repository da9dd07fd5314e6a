"""The tables of the report page."""

from pathlib import Path
from typing import Any, NamedTuple

from vae_jax.figures.sweeps import text
from vae_jax.pages import findings
from vae_jax.reports.columns import (
    Lane,
    best_lanes,
    columns_of,
    intervals,
    kinds,
    means,
    value,
    warnings,
)
from vae_jax.reports.paper_table import table_of
from vae_jax.reports.table import interval_cell, kept, remarks
from vae_jax.runs.summary import all_columns
from vae_jax.words import count


class Cell(NamedTuple):
    """A cell of a table."""

    text: str
    order: float | None = None  # what it is sorted by; None: its text


class Sheet(NamedTuple):
    """A table of the page."""

    title: str
    caption: str
    head: list[str]
    rows: list[list[Cell]]
    best: int | None = None


def result_sheet(workdir: Path, *, interval: bool = False) -> Sheet:
    """The results by setting; interval: as in `table_of`."""
    table = table_of(workdir, interval=interval)
    columns, digits = table.columns, all_columns()
    rows = []
    for group in table.groups:
        of = means(group.lanes, columns)
        cells = [cell(group.labels[key]) for key in table.keys]
        if interval:
            for column, own in zip(columns, intervals(group.lanes, columns), strict=True):
                shown = interval_cell(own, digits[column.name].digits)
                cells.append(Cell(shown, None if own is None else own.value))
        else:
            for column, mean, se in zip(columns, of.mean, of.se, strict=True):
                cells.append(number(mean, digits[column.name].digits, se))
        rows.append([*cells, cell(of.lanes)])
    best = findings.best_setting(table)
    lines = [table.caption]
    if best is not None:
        lines.append(
            f"bold: the best mean {best.heading}" if interval else f"bold: the best {best.heading}"
        )
        if best.close:
            lines.append(f"within the standard error of the best: {best.close}")
    head = [*table.keys, *table.headings, "seeds"]
    bold = None if best is None else best.group
    return Sheet(findings.of_results(table, best), "; ".join(lines), head, rows, bold)


def lane_sheet(results: dict[str, Any], lanes: list[Lane], swept: list[str]) -> Sheet:
    """The results of each lane."""
    columns, digits = columns_of(lanes), all_columns()
    rows = [
        [cell(lane["lane"]), cell(lane["seed"]), *(cell(plain(lane[key])) for key in swept),
         cell(lane["status"]), cell(lane["best_epoch"]),
         number(lane["validation_bound"], 2),
         *(number(value(lane, column), digits[column.name].digits) for column in columns)]
        for lane in lanes
    ]  # fmt: skip
    headings = [column.heading for column in columns]
    head = ["lane", "seed", *swept, "status", "best epoch", "validation", *headings]
    order = {lane["lane"]: i for i, lane in enumerate(lanes)}
    ranked = best_lanes(lanes)
    top = order[ranked[0]["lane"]] if len(rows) > 1 and len(kinds(ranked)) == 1 else None
    bold = ["bold: the best by validation"] if top is not None else []
    caption = "; ".join([kept(results), *bold, *warnings(lanes), *remarks(results)])
    title = f"All {len(lanes)} lanes" if len(lanes) > 1 else count(1, "lane")
    return Sheet(title, caption, head, rows, top)


def cell(value: Any) -> Cell:
    """The cell of a value; a number is sorted by its size."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return Cell(text_of(value))
    return Cell(f"{value:.6g}", float(value))


def number(value: float | None, digits: int, se: float | None = None) -> Cell:
    """The cell of a number with so many digits, and of its standard error."""
    if value is None:
        return Cell("-")
    more = "" if se is None else f" ± {se:.{digits}f}"
    return Cell(f"{value:.{digits}f}{more}", float(value))


def plain(value: Any) -> Any:
    """A swept value as a number or a text."""
    return text(value) if isinstance(value, list | tuple | bool) else value


def text_of(value: Any) -> str:
    """A value as a text; a tuple without its brackets."""
    return ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
