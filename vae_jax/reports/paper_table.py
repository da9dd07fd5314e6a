"""Tables of results for other programs: LaTeX, CSV and Markdown; several runs side by side."""

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vae_jax.config.declared import is_read
from vae_jax.config.schema import KEYS, differences, nearest
from vae_jax.errors import UserError
from vae_jax.figures.sweeps import text
from vae_jax.folders import folder
from vae_jax.folders.kinds import refuse_search
from vae_jax.reports.columns import (
    Shown,
    columns_of,
    intervals,
    labelled,
    means,
    near_best,
    warnings,
)
from vae_jax.reports.sweep_report import in_order, known, selected
from vae_jax.reports.table import (
    fitted,
    interval_cell,
    kept,
    measured_on,
    too_narrow,
    what_is_shown,
)
from vae_jax.runs.summary import all_columns
from vae_jax.sweeps.records import pooled

SHOWN_KEYS = 8  # most keys that tell runs apart in one table
# What two results must have in common to stand in one table.
IDENTITY = ("checksum", "binarization", "test_size")


class Group(NamedTuple):
    """Lanes that differ in their seeds alone."""

    labels: dict[str, Any]  # what tells the group apart
    lanes: list[dict[str, Any]]


class Table(NamedTuple):
    """One row for each group: the mean over its lanes, and the standard error of that mean; or
    their interquartile mean and its interval."""

    caption: str
    keys: list[str]  # of the labels
    groups: list[Group]
    columns: list[Shown]  # of the metrics
    names: Mapping[str, str] = {}  # {key or heading: the user's own name for it}
    title: str = ""  # of a whole table in LaTeX; "": the caption, if there is a label
    label: str = ""  # of a whole table in LaTeX
    interval: bool = False

    @property
    def headings(self) -> list[str]:
        return [column.heading for column in self.columns]

    @property
    def heads(self) -> list[str]:
        """The headings of all columns."""
        return [*self.keys, "seeds", *self.headings]

    @property
    def named(self) -> list[str]:
        """The headings of all columns, by the user's own names."""
        return [self.names.get(head, head) for head in self.heads]


def results_of(workdir: Path) -> dict[str, Any]:
    """The content of results.json.

    Raises:
      UserError: there is no run, or it has no results yet.
    """
    folder.recorded_config(workdir)
    refuse_search(workdir)
    return folder.read_results(workdir)


def make_table(
    keys: list[str], groups: list[Group], caption: str, *, interval: bool = False
) -> Table:
    lanes = [lane for group in groups for lane in group.lanes]
    narrow = too_narrow([group.lanes for group in groups]) if interval else []
    words = "; ".join([caption, *narrow, *warnings(lanes)])
    return Table(words, keys, groups, columns_of(lanes), interval=interval)


def worded(table: Table, names: Sequence[str], title: str = "", label: str = "") -> Table:
    """The table in the user's own words.

    names: "KEY=TEXT", with a key or heading of the table.

    Raises:
      UserError: the table has no such key or heading.
    """
    texts = {}
    for given in names:
        key, equals, words = given.partition("=")
        if not equals:
            raise UserError(f"--name={given} should be KEY=TEXT, as objective.beta=Beta")
        if key not in table.heads:
            raise UserError(
                f"--name={given}: the table has no column {key!r}; did you mean "
                f"{nearest(key, table.heads)!r}? columns: {', '.join(table.heads)}"
            )
        texts[key] = words
    return table._replace(names=texts, title=title, label=label)


def table_of(
    workdir: Path, where: Sequence[str] = (), by: Sequence[str] = (), *, interval: bool = False
) -> Table:
    """The results of a run or sweep: one row for each setting.

    interval: of interquartile means with their intervals, not of means and standard errors.

    Raises:
      UserError: there are no results, or a key was not swept.
    """
    results = results_of(workdir)
    swept = results.get("swept", [])
    lanes = labelled(results, folder.recorded_config(workdir))
    lanes = selected(results | {"swept": swept, "lanes": lanes}, where)
    keys = [known(key, swept) for key in by] or [
        key for key in swept if len({repr(lane[key]) for lane in lanes}) > 1
    ]
    groups = [Group(values, members) for values, members in in_order(pooled(lanes, keys))]
    return make_table(keys, groups, caption_of([results], interval=interval), interval=interval)


def caption_of(several: Sequence[dict[str, Any]], *, interval: bool) -> str:
    """A caption that says what the numbers of these results are. Their test set is the same."""
    rules = " or ".join(dict.fromkeys(map(kept, several)))
    shown = what_is_shown("seeds", interval=interval)
    return f"{measured_on(several[0])}, nats per example, {shown}, {rules}"


def compare_runs(workdirs: Sequence[Path], *, interval: bool = False) -> Table:
    """Several runs and sweeps in one table: one row for each run and setting.

    interval: as in `table_of`.

    Raises:
      UserError: a folder has no results, or the results are of different data.
    """
    if len(workdirs) < 2:
        raise UserError("compare needs at least two run folders: vae-jax compare RUN RUN")
    found = collected(workdirs)
    caption = caption_of(list(found.results.values()), interval=interval)
    return make_table(found.keys, [own for _, own in found.groups], caption, interval=interval)


class Collected(NamedTuple):
    """The settings of several folders, in their order."""

    keys: list[str]  # of the labels: the run, and what tells settings apart
    groups: list[tuple[Path, Group]]
    results: dict[Path, dict[str, Any]]


def collected(workdirs: Sequence[Path]) -> Collected:
    """The settings of several runs and sweeps.

    Raises:
      UserError: as in `compare_runs`.
    """
    results = {workdir: results_of(workdir) for workdir in workdirs}
    first, *others = workdirs
    refuse_other_results(first, others, results)
    configs = {workdir: folder.recorded_config(workdir) for workdir in workdirs}
    lines = [differences(configs[first], configs[other]) for other in others]
    different = dict.fromkeys(line.split(":")[0] for pair in lines for line in pair)
    swept = dict.fromkeys(key for one in results.values() for key in one.get("swept", []))
    ignored = ("training.seeds", "training.num_epochs") if len(different) > SHOWN_KEYS else ()
    shown = [key for key in different if key not in ignored and not key.startswith(NOT_SHOWN)]
    keys = ["run", *swept, *(key for key in shown if key not in swept)][: SHOWN_KEYS + 1]
    groups = []
    for workdir in workdirs:
        named = labelled(results[workdir], configs[workdir])
        for values, lanes in in_order(pooled(named, results[workdir].get("swept", []))):
            config = configs[workdir] | values
            labels = {key: config[key] if has(config, key) else None for key in keys[1:]}
            groups.append((workdir, Group({"run": str(workdir)} | labels, lanes)))
    return Collected(keys, groups, results)


def has(config: Mapping[str, Any], key: str) -> bool:
    """Whether a run of this config has the key: one that none of its parts reads is not its own."""
    return key in config and (key not in KEYS or is_read(KEYS[key], config))


NOT_SHOWN = ("log.", "evaluation.", "sweep.", "search.", "dataset.path")


def refuse_other_results(first: Path, others: Sequence[Path], results: dict[Path, Any]) -> None:
    """Raises UserError unless all results are of the same test images."""
    for other in others:
        one, another = (
            identity_of(workdir, results[workdir]["dataset"]) for workdir in (first, other)
        )
        lines = [
            f"{name}: {one[name]} there, {another[name]} here"
            for name in IDENTITY
            if one[name] != another[name]
        ]
        if lines:
            raise UserError(
                f"the results in {first} and in {other} are of other data and can't stand in one "
                f"table ({'; '.join(lines)})"
            )


def identity_of(workdir: Path, dataset: dict[str, Any]) -> dict[str, Any]:
    """What tells test images from others: the entries IDENTITY of a dataset.

    Raises:
      UserError: these are of several datasets.
    """
    several = [
        {name: identity.get(name) for name in IDENTITY}
        for identity in dataset.get("several", [dataset])
    ]
    if any(identity != several[0] for identity in several):
        raise UserError(
            f"the results in {workdir} are of several datasets and can't stand in one table with "
            f"others; `vae-jax report --workdir={workdir} --format=text` has them alone"
        )
    return several[0] if several else dict.fromkeys(IDENTITY)


# (mean, standard error, the digits of a column after the point) -> a cell.
Written = Callable[[float, float | None, int], str]


def plainly(mean: float, se: float | None, digits: int) -> str:
    return f"{mean:.{digits}f}" + ("" if se is None else f" ± {se:.{digits}f}")


def labels_of(table: Table, group: Group) -> list[str]:
    """What tells a group apart; "" for a key that it does not have."""
    values = [group.labels[key] for key in table.keys]
    # A line break in a name would make two rows.
    return ["" if value is None else " ".join(text(value).split()) for value in values]


def rows_of(table: Table, written: Written) -> list[list[str]]:
    """The cells of each group: its labels, how many lanes, the metrics."""
    digits = [all_columns()[column.name].digits for column in table.columns]
    rows = []
    for group in table.groups:
        of = means(group.lanes, table.columns)
        numbers = [
            "-" if mean is None else written(mean, se, decimals)
            for mean, se, decimals in zip(of.mean, of.se, digits, strict=True)
        ]
        if table.interval:
            pairs = zip(intervals(group.lanes, table.columns), digits, strict=True)
            numbers = [interval_cell(own, decimals) for own, decimals in pairs]
        labels = [label or "-" for label in labels_of(table, group)]
        rows.append([*labels, str(of.lanes), *numbers])
    return rows


def as_text(table: Table) -> str:
    """The table as plain text, as wide as the terminal; metrics that do not fit follow below."""
    rows, labels = [table.named, *rows_of(table, plainly)], len(table.keys) + 1
    lines = fitted([row[:labels] for row in rows], [row[labels:] for row in rows])
    return "\n".join([table.caption, *lines])


def unmarked(cell: str) -> str:
    """A cell that Markdown takes neither as HTML nor as two cells."""
    return "".join(f"\\{letter}" if letter in "\\|<>&" else letter for letter in cell)


def as_markdown(table: Table) -> str:
    rows = [table.named, ["---"] * len(table.heads), *rows_of(table, plainly)]
    lines = ["| " + " | ".join(map(unmarked, row)) + " |" for row in rows]
    return "\n".join([*lines, "", unmarked(sentence(table.caption))])


# Characters that LaTeX reads as commands.
ESCAPES = {
    "\\": r"\textbackslash{}", "_": r"\_", "&": r"\&", "%": r"\%", "#": r"\#", "$": r"\$",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip


def escaped(cell: str) -> str:
    return "".join(ESCAPES.get(letter, letter) for letter in cell)


def by_error(
    mean: float, se: float | None, digits: int, sign: str = r"\pm", thousands: str = ""
) -> str:
    """The error with one significant digit, or two if the first is a 1; the mean to the same place.

    Nothing is rounded before the point.
    """
    if se is None:
        return f"{mean:{thousands}.{digits}f}"
    if se > 0:
        exponent = math.floor(math.log10(se))
        digits = max(0, (se < 2 * 10.0**exponent) - exponent)
    return f"{mean:{thousands}.{digits}f} {sign} {se:{thousands}.{digits}f}"


def as_latex(table: Table) -> str:
    """A tabular of the package booktabs; in a table, if it has a title or a label.

    Bold is the best mean of each metric, and those that are as good (`near_best`); none is where
    the table has no means. The user's own words are LaTeX, and stay as they are.
    """
    labels = len(table.keys) + 1
    groups = [group.lanes for group in table.groups]
    best = {} if table.interval else near_best(groups, table.columns)
    heads = [table.names.get(head, escaped(head)) for head in table.heads]
    lines = [
        rf"\begin{{tabular}}{{{'l' * len(table.keys)}{'r' * (len(heads) - len(table.keys))}}}",
        r"\toprule",
        " & ".join(heads) + r" \\",
        r"\midrule",
    ]
    for i, row in enumerate(rows_of(table, by_error)):
        numbers = [
            "-" if cell == "-" else rf"$\mathbf{{{cell}}}$" if i in best.get(j, ()) else f"${cell}$"
            for j, cell in enumerate(row[labels:])
        ]
        lines.append(" & ".join([*map(escaped, row[:labels]), *numbers]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    if table.title or table.label:
        words = [rf"\caption{{{table.title or escaped(sentence(table.caption))}}}"]
        words += [rf"\label{{{table.label}}}"] if table.label else []
        lines = [r"\begin{table}", r"\centering", *words, *lines, r"\end{table}"]
    what = [f"% {' '.join(table.caption.split())}"]
    if best:
        what.append("% bold: the best mean, and those within one standard error of the difference")
    return "\n".join([*what, r"% \usepackage{booktabs}", *lines])


def sentence(caption: str) -> str:
    caption = " ".join(caption.split())
    return f"{caption[:1].upper()}{caption[1:]}."


def as_csv(table: Table) -> str:
    """A column each for the mean and its standard error over seeds, unrounded; or for the
    interquartile mean and the ends of its interval."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    labels, metrics = table.named[: len(table.keys) + 1], table.named[len(table.keys) + 1 :]
    # Not "nll_se": in results.json that is the standard error over the images, of one lane.
    ends = ("_iqm", "_low", "_high") if table.interval else ("", "_se_over_seeds")
    heads = [f"{name}{end}" for name in metrics for end in ends]
    writer.writerow([*labels, *heads])
    for group in table.groups:
        of = means(group.lanes, table.columns)
        numbers = [part for pair in zip(of.mean, of.se, strict=True) for part in pair]
        if table.interval:
            found = intervals(group.lanes, table.columns)
            numbers = [part for own in found for part in (own or (None, None, None))]
        writer.writerow([*labels_of(table, group), of.lanes, *numbers])
    return written.getvalue().rstrip("\n")


FORMATS: dict[str, Callable[[Table], str]] = {
    "text": as_text,
    "latex": as_latex,
    "csv": as_csv,
    "markdown": as_markdown,
}
