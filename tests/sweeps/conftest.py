import pytest

from tests.small.processes import CONFIG, ROWS, completed, outcome, rows_so_far
from tests.small.runs import write_tiny_npz


@pytest.fixture(scope="package")
def config(tmp_path_factory):
    at = tmp_path_factory.mktemp("sweep")
    path = at / "sweep_config.py"
    path.write_text(CONFIG.format(npz=str(write_tiny_npz(at / "tiny.npz"))))
    return path


@pytest.fixture(scope="package")
def uninterrupted(config):
    """The outcome of the sweep in one process."""
    workdir = config.parent / "whole"
    completed(config, workdir)
    assert rows_so_far(workdir) == ROWS
    return outcome(workdir)
