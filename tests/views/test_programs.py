"""How many programs a whole command compiles: each costs time, also when it is in the cache."""

import subprocess
import sys

import pytest

from tests.small.runs import values_of, write_tiny_npz

MOST = 24
COMMAND = """
import sys

import jax

from vae_jax.commands.train import train

names = []


def compiled(event, seconds, fun_name="", **_):
    if event == "/jax/core/compile/backend_compile_duration":
        names.append(fun_name)


jax.monitoring.register_event_duration_secs_listener(compiled)
from pathlib import Path

from vae_jax.config.check import check
from vae_jax.config.schema import nest

train(check(nest({values})), Path(sys.argv[1]))
print(len(names), *names, file=sys.stderr)
"""


@pytest.mark.slow
def test_a_run_from_data_to_figures_compiles_few_programs(tmp_path):
    npz = write_tiny_npz(tmp_path / "tiny.npz")
    values = values_of(npz, model__latent_size=2, training__num_epochs=1)
    code = COMMAND.replace("{values}", repr(values))
    found = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "run")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (tmp_path / "run" / "figures" / "manifold.png").exists()
    said = found.stderr.strip().splitlines()[-1]
    assert 10 < int(said.split()[0]) <= MOST, said
