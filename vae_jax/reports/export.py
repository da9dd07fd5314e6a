"""Tables of results for other programs: LaTeX, CSV and Markdown; several runs side by side."""

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vae_jax.config.schema import differences
from vae_jax.errors import UserError
from vae_jax.figures.sweeps import text
from vae_jax.reports.columns import Shown, best_rows, columns_of, labelled, means, warnings
from vae_jax.reports.sweep_report import in_order, known, selected
from vae_jax.reports.table import cells, dataset_name, kept, line
from vae_jax.runs import folder
from vae_jax.sweeps.records import pooled

SHOWN_KEYS = 8  # most keys that tell runs apart in one table
# What two results must have in common to stand in one table.
IDENTITY = ("checksum", "binarization", "test_size")


class Group(NamedTuple):
    """Lanes that differ in their seeds alone."""

    labels: dict[str, Any]  # what tells the group apart
    lanes: list[dict[str, Any]]


class Table(NamedTuple):
    """One row for each group: the mean over its lanes, and the standard error of that mean."""

    caption: str
    keys: list[str]  # of the labels
    groups: list[Group]
    columns: list[Shown]  # of the metrics

    @property
    def headings(self) -> list[str]:
        return [column.heading for column in self.columns]


def results_of(workdir: Path) -> dict[str, Any]:
    """The content of results.json.

    Raises:
      UserError: there is no run, or it has no results yet.
    """
    folder.recorded_config(workdir)
    folder.refuse_search(workdir)
    return folder.read_results(workdir)


def make_table(keys: list[str], groups: list[Group], caption: str) -> Table:
    lanes = [lane for group in groups for lane in group.lanes]
    return Table("; ".join([caption, *warnings(lanes)]), keys, groups, columns_of(lanes))


def table_of(workdir: Path, where: Sequence[str] = (), by: Sequence[str] = ()) -> Table:
    """The results of a run or sweep: one row for each setting.

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
    groups = [Group(values, own) for values, own in in_order(pooled(lanes, keys))]
    return make_table(keys, groups, caption_of([results]))


def caption_of(several: Sequence[dict[str, Any]]) -> str:
    """What the numbers of results on the same test set are."""
    rules = " or ".join(dict.fromkeys(map(kept, several)))
    return (
        f"test set of {dataset_name(several[0])}, nats per example, mean and standard error over "
        f"seeds, {rules}"
    )


def compared(workdirs: Sequence[Path]) -> Table:
    """Several runs and sweeps in one table: one row for each run and setting.

    Raises:
      UserError: a folder has no results, or the results are of different data.
    """
    if len(workdirs) < 2:
        raise UserError("compare needs at least two run folders: vae-jax compare RUN RUN")
    found = {workdir: results_of(workdir) for workdir in workdirs}
    first, *others = workdirs
    refuse_other_results(first, others, found)
    configs = {workdir: folder.recorded_config(workdir) for workdir in workdirs}
    lines = [differences(configs[first], configs[other]) for other in others]
    different = dict.fromkeys(one.split(":")[0] for own in lines for one in own)
    swept = dict.fromkeys(key for own in found.values() for key in own.get("swept", []))
    ignored = ("training.seeds", "training.num_epochs") if len(different) > SHOWN_KEYS else ()
    shown = [key for key in different if key not in ignored and not key.startswith(NOT_SHOWN)]
    keys = ["run", *swept, *(key for key in shown if key not in swept)][: SHOWN_KEYS + 1]
    groups = []
    for workdir, results in found.items():
        own = results.get("swept", [])
        named = labelled(results, configs[workdir])
        for values, lanes in in_order(pooled(named, own)):
            labels = {key: values.get(key, configs[workdir].get(key)) for key in keys[1:]}
            groups.append(Group({"run": str(workdir)} | labels, lanes))
    return make_table(keys, groups, caption_of(list(found.values())))


NOT_SHOWN = ("log.", "evaluation.", "sweep.", "search.", "dataset.path")


def refuse_other_results(first: Path, others: Sequence[Path], found: dict[Path, Any]) -> None:
    """Raises UserError unless all results are of the same test images."""
    for other in others:
        one, another = (identity_of(at, found[at]["dataset"]) for at in (first, other))
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
    """What is the same of results on the same test images.

    Raises:
      UserError: these are of several datasets.
    """
    several = [
        {name: own.get(name) for name in IDENTITY} for own in dataset.get("several", [dataset])
    ]
    if any(own != several[0] for own in several):
        raise UserError(
            f"the results in {workdir} are of several datasets and can't stand in one table with "
            f"others; `vae-jax report --workdir={workdir} --format=text` has them alone"
        )
    return several[0] if several else dict.fromkeys(IDENTITY)


def rows_of(table: Table, join: Callable[[str, str], str]) -> list[list[str]]:
    """The cells of each group: its labels, how many lanes, the metrics."""
    rows = []
    for group in table.groups:
        of = means(group.lanes, table.columns)
        pairs = zip(cells(of.mean, table.columns), cells(of.se, table.columns), strict=True)
        numbers = [mean if se == "-" else join(mean, se) for mean, se in pairs]
        # A line break in a name would make two rows.
        labels = [" ".join(text(group.labels[key]).split()) for key in table.keys]
        rows.append([*labels, str(of.lanes), *numbers])
    return rows


def as_text(table: Table) -> str:
    rows = [
        [*table.keys, "seeds", *table.headings],
        *rows_of(table, lambda mean, se: f"{mean} ± {se}"),
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join([table.caption, *(line(row, widths) for row in rows)])


def unmarked(cell: str) -> str:
    """A cell that Markdown takes neither as HTML nor as two cells."""
    return "".join(f"\\{letter}" if letter in "\\|<>&" else letter for letter in cell)


def as_markdown(table: Table) -> str:
    head = [*table.keys, "seeds", *table.headings]
    rows = [head, ["---"] * len(head), *rows_of(table, lambda mean, se: f"{mean} ± {se}")]
    lines = ["| " + " | ".join(map(unmarked, row)) + " |" for row in rows]
    caption = unmarked(table.caption)
    return "\n".join([*lines, "", f"{caption[:1].upper()}{caption[1:]}."])


# Characters that LaTeX reads as commands.
ESCAPES = {
    "\\": r"\textbackslash{}", "_": r"\_", "&": r"\&", "%": r"\%", "#": r"\#", "$": r"\$",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip


def escaped(cell: str) -> str:
    return "".join(ESCAPES.get(letter, letter) for letter in cell)


def as_latex(table: Table) -> str:
    """A tabular of the package booktabs, whose best mean of each metric is bold."""
    labels = len(table.keys) + 1
    rows = rows_of(table, lambda mean, se: f"{mean} \\pm {se}")
    best = best_rows([group.lanes for group in table.groups], table.columns)
    lines = [
        f"% {' '.join(table.caption.split())}",
        r"% \usepackage{booktabs}",
        rf"\begin{{tabular}}{{{'l' * len(table.keys)}{'r' * (len(table.headings) + 1)}}}",
        r"\toprule",
        " & ".join(map(escaped, [*table.keys, "seeds", *table.headings])) + r" \\",
        r"\midrule",
    ]
    for i, row in enumerate(rows):
        numbers = [
            "-" if cell == "-" else f"$\\mathbf{{{cell}}}$" if i == best.get(j) else f"${cell}$"
            for j, cell in enumerate(row[labels:])
        ]
        lines.append(" & ".join([*map(escaped, row[:labels]), *numbers]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def as_csv(table: Table) -> str:
    """A column each for the mean and its standard error over seeds, unrounded."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    # Not "nll_se": in results.json that is the standard error over the images, of one lane.
    heads = [part for name in table.headings for part in (name, f"{name}_se_over_seeds")]
    writer.writerow([*table.keys, "seeds", *heads])
    for group in table.groups:
        of = means(group.lanes, table.columns)
        numbers = [part for pair in zip(of.mean, of.se, strict=True) for part in pair]
        labels = [text(group.labels[key]) for key in table.keys]
        writer.writerow([*labels, of.lanes, *numbers])
    return written.getvalue().rstrip("\n")


FORMATS: dict[str, Callable[[Table], str]] = {
    "text": as_text,
    "latex": as_latex,
    "csv": as_csv,
    "markdown": as_markdown,
}
