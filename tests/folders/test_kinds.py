"""What a folder holds, by the files in it."""

import pytest

from vae_jax.errors import UserError
from vae_jax.folders import folder
from vae_jax.folders.kinds import (
    Kind,
    kind_of,
    refuse_others,
    refuse_run,
    refuse_search,
    refuse_sweep,
)

REFUSALS = {"run": refuse_run, "sweep": refuse_sweep, "search": refuse_search}

# {what is there: (the files, the kind, the kinds that refuse it)}
FOLDERS = {
    "no folder": ((), None, ()),
    "a lock alone": ((folder.LOCK,), None, ()),
    "a run that begins": ((folder.ENVIRONMENT, folder.LANES), None, ("run",)),
    "a run": ((folder.LANES, folder.CONFIG), Kind.RUN, ("run",)),
    "a run without its lanes.csv": ((folder.CONFIG,), Kind.RUN, ()),
    "a sweep": ((folder.CONFIG, folder.LANES, folder.SWEEP), Kind.SWEEP, ("sweep",)),
    "a search": ((folder.CONFIG, folder.LANES, folder.SEARCH), Kind.SEARCH, ("sweep", "search")),
}


def is_refused(refuse, workdir) -> bool:
    try:
        refuse(workdir)
    except UserError:
        return True
    return False


@pytest.mark.parametrize("name", FOLDERS)
def test_the_files_say_the_kind(tmp_path, name):
    names, kind, refused = FOLDERS[name]
    workdir = tmp_path / "run"
    for file in names:
        workdir.mkdir(exist_ok=True)
        (workdir / file).write_text("")
    assert kind_of(workdir) is kind
    assert [own for own in REFUSALS if is_refused(REFUSALS[own], workdir)] == [*refused]


def test_a_search_says_where_its_best_run_is(tmp_path):
    (tmp_path / folder.SEARCH).write_text("")
    with pytest.raises(UserError, match=r"works there$"):
        refuse_search(tmp_path)
    (tmp_path / folder.BEST).mkdir()
    (tmp_path / folder.BEST / folder.CONFIG).write_text("")
    with pytest.raises(UserError, match=r"the best run that it found is in .*best$"):
        refuse_search(tmp_path)


def test_what_was_measured_on_other_images_is_no_run_of_its_own(tmp_path, monkeypatch):
    on_others = tmp_path / folder.ON / "digits_01234567"
    on_others.mkdir(parents=True)
    refuse_others(on_others)  # a folder that is called "on" by chance
    (tmp_path / folder.CONFIG).write_text("")
    monkeypatch.chdir(on_others)
    for workdir in (on_others, on_others.relative_to(on_others)):
        with pytest.raises(UserError, match="measured on other images"):
            refuse_others(workdir)
    refuse_others(tmp_path)
