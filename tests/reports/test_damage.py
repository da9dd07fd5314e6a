"""Damaged records: every reader has a result, or says in one line what is damaged."""

import copy
import json
import os
import random
import shutil

import pytest

from tests.small.runs import values_of, write_tiny_npz
from vae_jax.api import frames
from vae_jax.commands.sweep import sweep
from vae_jax.config.build import make_config
from vae_jax.errors import UserError
from vae_jax.folders.schemas import Results, decode
from vae_jax.pages import report as report_page
from vae_jax.pages.server import lane_numbers
from vae_jax.reports import sweep_report
from vae_jax.reports.paper_table import FORMATS, compare_runs, table_of
from vae_jax.searches.records import report as report_search
from vae_jax.sweeps import language as hyper
from vae_jax.sweeps.plan import Datasets, make_sweep, read_sweep, recorded_data
from vae_jax.sweeps.records import collect


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    """A sweep over beta of one program with two lanes, and a search as it records itself."""
    at = tmp_path_factory.mktemp("damage")
    base = values_of(write_tiny_npz(at / "tiny.npz"), training__num_epochs=1, training__seeds=(4,))
    data = Datasets()
    settings = hyper.sweep("objective.beta", (0.5, 2.0))
    sweep(at / "sweep", make_sweep(make_config(base), settings, at / "sweep", data), data)
    found = json.loads((at / "sweep" / "results.json").read_text())
    best = {"lane": 0, "validation_bound": -1.0, "elbo": -1.5}
    trial = {"lane": 0, "seed": 4, "objective.beta": 0.5, "status": "done", "epochs": 1,
             "diverged_step": None, "best_epoch": 1.0, "validation_bound": -1.0}  # fmt: skip
    content = {
        "finished": True, "search": "halving", "swept": ["objective.beta"],
        "lanes": [trial, trial | {"lane": 1, "validation_bound": None}], "epochs": 2, "steps": 24,
        "epochs_of_all": 4, "best": best, "random": {"settings": 1, "epochs": 1, "best": best},
        "dataset": found["dataset"], "wall_seconds": 1.0,
    }  # fmt: skip
    (at / "search").mkdir()
    shutil.copy(at / "sweep" / "config.json", at / "search")
    (at / "search" / "search.json").write_text("{}")
    (at / "search" / "results.json").write_text(json.dumps(content))
    return at


def readers(workdir, other):
    """Every command's way to the records, without what it draws and decodes."""
    if (workdir / "search.json").exists():
        return {
            "report": lambda: report_search(workdir),
            "results": lambda: frames.results(workdir),
            "history": lambda: frames.history(workdir),
        }
    return {
        "report": lambda: sweep_report.report(workdir),
        **{
            f"report --format={name}": lambda write=write: write(table_of(workdir))
            for name, write in FORMATS.items()
        },
        "compare": lambda: FORMATS["latex"](compare_runs([workdir, other])),
        "the page": lambda: report_page.page(workdir).encode(errors="replace"),
        "explore": lambda: lane_numbers(workdir),
        "results": lambda: frames.results(workdir),
        "lanes": lambda: frames.lanes(workdir),
        "history": lambda: frames.history(workdir),
        "collect": lambda: collect(read_sweep(workdir)),
    }


@pytest.fixture
def quick(monkeypatch):
    """Without models, figures and bokeh's scripts; its charts are made."""
    from vae_jax.pages import charts

    class Resources:
        def __init__(self, mode):
            self.render_js = self.render_css = str

    monkeypatch.setattr(sweep_report, "draw", lambda *_: [])
    monkeypatch.setattr(report_page, "shown_lanes", lambda *_: [])
    monkeypatch.setattr(charts.bokeh().resources, "Resources", Resources)
    monkeypatch.setattr(charts.bokeh().embed, "components", lambda made: ("", [""] * len(made)))


WRONG = (None, "x", -1, 0.5, True, [], {}, [None], ["x"], {"x": 1}, "\ud800", "a\nb", 10**18)


def places(content, depth=4, at=()):
    """The path of each entry, and of the first of each list."""
    if depth and isinstance(content, dict | list):
        for key in content if isinstance(content, dict) else range(min(1, len(content))):
            yield (*at, key)
            yield from places(content[key], depth - 1, (*at, key))


def damaged(content):
    """(what was done, the content) for each way to damage it."""
    for path in places(content):
        for wrong in ("gone", *WRONG):
            changed = copy.deepcopy(content)
            inner = changed
            for key in path[:-1]:
                inner = inner[key]
            if wrong == "gone":
                del inner[path[-1]]
            else:
                inner[path[-1]] = wrong
            yield f"{path}: {wrong!r}", json.dumps(changed).encode()


BYTES = (
    b"", b"{", b"[]", b"null", b"{}", b"[" * 100_000, b"\xff\xfe{}", b"NaN", b"1" * 5_000,
    b'{"a": 1e999}', b"\xef\xbb\xbf{}", b"\0" * 100, b"a,b\n1\n", b'lane,"\n', b"x\r\n,,,,\n",
)  # fmt: skip


def ways_of(name, whole):
    """(what was done, the content) for some ways to damage a record; always the same ones."""
    ways = []
    if name.endswith(".json"):
        ways += damaged(json.loads(whole))
    if name == "metrics.jsonl":
        first, *others = whole.splitlines()
        ways += [(what, b"\n".join([own, *others])) for what, own in damaged(json.loads(first))]
    chosen = random.Random(0).sample(ways, min(len(ways), 12))
    torn = (*BYTES, whole[: len(whole) // 2])
    return [*chosen, *((repr(content[:20]), content) for content in torn)]


@pytest.mark.parametrize(
    "name",
    [
        "sweep/results.json", "sweep/environment.json", "sweep/programs/000/environment.json",
        "sweep/lanes.csv", "sweep/metrics.jsonl", "search/results.json",
    ],
)  # fmt: skip
def test_a_damaged_record_is_one_line_or_harmless(intact, tmp_path, quick, name):
    kind = name.split("/")[0]
    shutil.copytree(intact / kind, tmp_path / kind)
    path = tmp_path / name
    every = readers(tmp_path / kind, intact / "sweep")
    if path.name == "environment.json":
        every = {
            "the page": lambda: report_page.facts(tmp_path / kind, None),
            "images gone": lambda: recorded_data(tmp_path / "sweep" / "programs" / "000"),
        }
    whole = path.read_bytes()
    refused = set()
    for i, (what, content) in enumerate([("nothing", whole), *ways_of(path.name, whole)]):
        path.write_bytes(content)
        for reader, read in every.items():
            if reader == "the page" and len(every) > 2 and i % 16:  # 0.2 s
                continue
            try:
                read()
            except UserError as error:
                refused.add((what, str(error)))
            except Exception as error:
                pytest.fail(f"{reader}, {what}: {type(error).__name__}: {error}")
    assert len(refused) >= 8
    assert not [said for what, said in refused if what == "nothing" or "\n" in said]


def test_what_readers_take_for_granted_is_in_the_schema(intact):
    """Each of these had a traceback, of one command or another."""
    content = json.loads((intact / "sweep" / "results.json").read_text())

    def refused(change):
        changed = copy.deepcopy(content)
        change(changed, changed["lanes"][0])
        with pytest.raises(UserError, match="here is damaged"):
            decode(json.dumps(changed), Results, "here")

    decode(json.dumps(content), Results, "here")
    assert {own["bound_of"] for own in content["lanes"]} == {"probability"}
    assert {own["bound_name"] for own in content["lanes"]} == {""}
    refused(lambda all, lane: lane.pop("objective.beta"))
    refused(lambda all, lane: lane.update({"objective.beta": {"x": 1}}))
    refused(lambda all, lane: lane.update(nll="-93"))
    refused(lambda all, lane: lane.update(mig=[0.1]))
    refused(lambda all, lane: lane.update(aggregate_posterior_kl="far"))
    refused(lambda all, lane: lane.update(status="\ud800"))
    refused(lambda all, lane: lane.update(lane=10**30))
    refused(lambda all, lane: all.update(swept="objective.beta"))
    refused(lambda all, lane: all.update(not_measured=["nll"]))
    refused(lambda all, lane: all["dataset"].pop("name"))
    refused(lambda all, lane: all["dataset"].update(test_size="50"))
    refused(lambda all, lane: all.update(dataset={"several": [1]}))


@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "link to a pipe"])
@pytest.mark.parametrize("name", ["results.json", "environment.json", "lanes.csv", "metrics.jsonl"])
def test_what_is_no_file_is_not_read(intact, tmp_path, quick, kind, name):
    """A pipe in place of a record would be waited for, for ever."""
    workdir = tmp_path / "run"
    shutil.copytree(intact / "sweep", workdir)
    path = workdir / name
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        os.mkfifo(path if kind == "pipe" else tmp_path / "pipe")
        if kind != "pipe":
            path.symlink_to(tmp_path / "pipe")
    of = {"environment.json": "the page", "lanes.csv": "lanes", "metrics.jsonl": "history"}
    read = readers(workdir, intact / "sweep")[of.get(name, "report")]
    with pytest.raises(UserError, match=rf"{name} can't be read \((it is no regular|Is a dir)"):
        read()
