"""What a folder holds before the first step."""

import json

from tests.small.runs import config_of
from vae_jax.folders import folder

LANES = [{"lane": 0, "seed": 3, "status": "running"}]


def names_in(workdir):
    return {path.name for path in workdir.iterdir()}


def content_of(workdir, name):
    return json.loads((workdir / name).read_text())


def test_a_run_a_program_and_a_search_are_laid_out_by_one_function(tiny_npz, tmp_path):
    config, about = config_of(tiny_npz), {"dataset": {"name": "tiny"}}
    folder.lay_out(tmp_path / "run", config, about=about, lanes=LANES)
    folder.lay_out(tmp_path / "program", config, about=about, lanes=LANES, is_program=True)
    folder.lay_out(tmp_path / "search", config, [config], about=about)
    beside = {folder.ENVIRONMENT, folder.LANES}
    assert names_in(tmp_path / "run") == beside | {folder.CONFIG}
    assert names_in(tmp_path / "program") == beside
    assert names_in(tmp_path / "search") == {folder.ENVIRONMENT, folder.CONFIG}
    assert folder.read_config(tmp_path / "run").values == config.values
    for path in tmp_path.glob(f"*/{folder.ENVIRONMENT}"):
        assert content_of(path.parent, path.name)["dataset"] == {"name": "tiny"}
    assert (tmp_path / "run" / folder.LANES).read_text().splitlines()[1] == "0,3,running"


def test_a_run_that_goes_on_keeps_what_it_began_with(tiny_npz, tmp_path):
    short, long = (config_of(tiny_npz, training__num_epochs=n) for n in (1, 2))
    folder.lay_out(tmp_path, short, about={"dataset": {"name": "first"}}, lanes=LANES)
    (tmp_path / folder.CHECKPOINTS).mkdir()
    later = [LANES[0] | {"status": "later"}]
    folder.lay_out(tmp_path, long, about={"dataset": {"name": "second"}}, lanes=later)
    assert content_of(tmp_path, folder.ENVIRONMENT)["dataset"] == {"name": "first"}
    assert "later" not in (tmp_path / folder.LANES).read_text()
    assert folder.read_config(tmp_path).training.num_epochs == 2
