"""What the environment of a SLURM step says."""

import pytest

from vae_jax.devices.processes import slurm_tasks
from vae_jax.errors import UserError

STEP = {
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_NODELIST": "a",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "1",
}


def test_the_tasks_of_a_step():
    assert slurm_tasks({}) == 1
    assert slurm_tasks({"SLURM_JOB_ID": "7", "SLURM_STEP_NUM_TASKS": "1"}) == 1
    assert slurm_tasks(STEP) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"SLURM_PROCID": ""}, "but SLURM_PROCID is not set; start it with srun, or unset"),
        ({"SLURM_STEP_NODELIST": "", "SLURM_JOB_ID": ""}, "SLURM_JOB_ID, SLURM_STEP_NODELIST is"),
        ({"SLURM_STEP_NUM_TASKS": "two"}, "SLURM_STEP_NUM_TASKS=two in the environment should be"),
        ({"SLURM_PROCID": "2"}, "SLURM_PROCID=2 should be below SLURM_STEP_NUM_TASKS=2"),
    ],
)
def test_half_of_a_step_is_told(change, message):
    with pytest.raises(UserError, match=message):
        slurm_tasks(STEP | change)
