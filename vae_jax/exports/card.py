"""The model card of an export: README.md."""

import math
from collections.abc import Mapping
from typing import Any

from vae_jax.data.units import from_record
from vae_jax.exports.folder import Description
from vae_jax.folders.exported import WEIGHTS
from vae_jax.reports.columns import Lane, columns_of, labelled, means, value
from vae_jax.reports.table import cells, kept, measured_on
from vae_jax.words import as_name, count

NO_LICENCE = "none is stated; ask whoever gave you this model"

# What a reader wants to know of the config first.
TOLD = (
    "model.name", "model.encoder.name", "model.decoder.name", "model.likelihood", "model.prior",
    "model.posterior", "objective.name", "objective.num_samples", "objective.beta",
    "optimizer.learning_rate", "training.batch_size", "training.num_epochs",
)  # fmt: skip

CARD = """\
# {title}

A variational autoencoder of {name}: {units} ({layers}), images of {height} x {width} x {channels}.
Lane {lane}, seed {seed}, its params after step {step:,}. Written by vae_jax {vae_jax}, jax {jax}.

Licence: {licence}.

## What it was trained on

{data}

## How good it is

{numbers}

## How to load it

With vae_jax: `model = vae_jax.load_exported("FOLDER")`; it has {methods}.

Without it, by `pip install jax safetensors flatbuffers`:

```python
from pathlib import Path

import numpy as np
from jax import export
from safetensors.numpy import load_file

params = load_file("{weights}")
{example}
```

Each function takes the params first. b: any number of examples, d = height * width * channels (row
by row, channels last), l: latent units{order}. They run on {platforms}.

| file | arguments after the params | gives |
|---|---|---|
{functions}

{x}{key}{labels}{left_out}
## How it was made

| key | value |
|---|---|
{config}

`config.json` has all keys, and the sha256 of every file here.
"""


def card(description: Description, results: Mapping[str, Any]) -> str:
    """The text of README.md.

    results: of the run or sweep, as `folder.read_results` gives them.
    """
    identity, config = description["dataset"], description["config"]
    height, width, channels = description["images"]["shape"]
    name = code(identity["name"].rpartition("/")[2])
    return CARD.format(
        title=f"A model of {name}",
        name=name,
        units=count(description["latent_size"], "latent unit"),
        layers=" and ".join(
            f"{layer['size']}{where(i, len(description['layers']))}"
            for i, layer in enumerate(description["layers"])
        )
        if len(description["layers"]) > 1
        else "one layer",
        height=height,
        width=width,
        channels=channels,
        lane=description["lane"],
        seed=description["seed"],
        step=description["step"],
        vae_jax=description["vae_jax"],
        jax=description["jax"],
        licence=description["licence"] or NO_LICENCE,
        data=data_lines(identity),
        numbers=numbers(description, results),
        weights=WEIGHTS,
        methods=", ".join(f"`{own}`" for own in description["functions"]),
        example=example(description),
        order=", the bottom layer first" if len(description["layers"]) > 1 else "",
        platforms=", ".join(description["platforms"]),
        functions="\n".join(map("| {} |".format, function_rows(description))),
        x=f"x: float32; {scaled_as(description['images'])}\n",
        key="key: uint32, two numbers an example, such as (seed, 0), (seed, 1), ...; the noise of "
        "an example depends\non its two numbers alone, and that of (0, s) is of "
        "`jax.random.key(s)`.\n" * bool({"generate", "elbo"} & set(description["functions"])),
        labels=labels(description),
        left_out="".join(
            f"There is no `{left}`: {as_name(why)}.\n"
            for left, why in description["left_out"].items()
        ),
        config="\n".join(f"| `{key}` | {code(config[key])} |" for key in TOLD if key in config),
    )


def code(text: Any) -> str:
    """A text that is not ours, as code in a Markdown table."""
    line = as_name(str(text)).replace("`", "'").replace("|", "/")
    return f"`{line or ' '}`"


def where(i: int, layers: int) -> str:
    """Which layer it is, of several, the bottom one first."""
    return " at the bottom" if i == 0 else " at the top" if i == layers - 1 else ""


def data_lines(identity: Mapping[str, Any]) -> str:
    """The identity of the data, a line for each entry."""
    told = {key: value for key, value in identity.items() if key != "class_names"}
    return "\n".join(f"- {key}: {code(value)}" for key, value in told.items())


def numbers(description: Description, results: Mapping[str, Any]) -> str:
    """The results of the lane, and the mean over the seeds that have its settings."""
    lanes = labelled(results, description["config"])
    own = next(lane for lane in lanes if lane["lane"] == description["lane"])
    same = [
        lane for lane in lanes if all(lane[key] == own[key] for key in results.get("swept", ()))
    ]
    columns = columns_of([own])
    shown = [value(own, column) for column in columns]
    errors = [own.get(f"{column.name}_se") for column in columns]
    head, of_seeds = ["number", "this model", "± se over images"], ""
    rows = [[c.heading for c in columns], cells(shown, columns), cells(errors, columns)]
    if (over := means(same, columns)).lanes > 1:
        head += [f"mean of {over.lanes} seeds", "± se over seeds"]
        rows += [cells(over.mean, columns), cells(over.se, columns)]
        of_seeds = f" The seeds are {', '.join(str(lane['seed']) for lane in healthy(same))}."
    lines = [
        f"Measured on: {measured_on(dict(results))}; in nats per example, {kept(dict(results))}. "
        f"se: standard error.{of_seeds}",
        "",
        *(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head))),
        *(f"| {' | '.join(row)} |" for row in zip(*rows, strict=True)),
    ]
    if own["status"] == "diverged":
        lines += ["", f"This lane diverged at step {own['diverged_step']}; the model is of before."]
    if description["sampler"]:
        lines += ["", f"They are by the model's own prior, and not by {description['sampler']}."]
    return "\n".join(lines)


def healthy(lanes: list[Lane]) -> list[Lane]:
    return [lane for lane in lanes if lane["status"] != "diverged"]


def function_rows(description: Description) -> list[str]:
    """The cells of each function's row."""
    rows = []
    for function in description["functions"].values():
        arguments = ", ".join(
            f"{own['name']} {own['dtype']} [{', '.join(map(str, own['shape']))}]"
            for own in function["arguments"]
        )
        gives = "; ".join(f"{n} {what}".strip() for n, what in function["returns"].items())
        as_dict = "a dict: " if "" not in function["returns"] else ""
        gives = gives.replace("|", "\\|")  # which would end the cell
        rows.append(f"`{function['file']}` | {arguments} | {as_dict}{gives}")
    return rows


def example(description: Description) -> str:
    """Lines that run a function."""
    name = "generate" if "generate" in description["functions"] else "encode"
    size = math.prod(description["images"]["shape"])
    lines = [
        f'{name} = export.deserialize(bytearray(Path("{name}.jaxexport").read_bytes()))',
    ]
    if name == "generate":
        lines.append(
            "arguments = [np.array([[0, 0], [0, 1]], np.uint32)]  # seed 0, images 0 and 1"
        )
    else:
        lines.append(f"arguments = [np.zeros((2, {size}), np.float32)]")
    if description["reads_labels"]:
        lines.append("arguments.append(np.array([0, 1], np.int32))  # labels")
    call = f"{name}.call(params, *arguments)"
    return "\n".join(
        [*lines, f"images = {call}  # [2, d]" if name == "generate" else f"q = {call}"]
    )


SCALES = {
    "bits": "0 and 1",
    "counts": "counts as they are",
    "levels": "grey levels / 255, from 0 to 1",
    "unit": "from 0 to 1",
    "real": "real numbers as they are",
}


def scaled_as(images: Mapping[str, Any]) -> str:
    """How images become x."""
    units = from_record(images["units"])
    binary = "; the likelihood is of 0 and 1" if images["support"] == "binary" else ""
    if units is None:
        return f"scaled as at training{binary}."
    return f"{SCALES[units.kind]}; at training they were {units}{binary}."


def labels(description: Description) -> str:
    """What labels are, where they are read."""
    if not description["reads_labels"]:
        return ""
    names = description["class_names"]
    told = ", ".join(f"{i} {code(name)}" for i, name in enumerate(names[:50]))
    return f"label: int32, the number of the class: {told}{', ...' * (len(names) > 50)}.\n"
