"""What SIGUSR1 does to a command, and that its job is queued again."""

import os
import signal

import pytest

from vae_jax import preemption
from vae_jax.preemption import requeued

SCONTROL = """#!/bin/sh
echo "$@" >> $(dirname $0)/asked
exit {code}
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A folder with an scontrol; the process is the first one of job 42."""

    def with_code(code):
        (tmp_path / "scontrol").write_text(SCONTROL.format(code=code))
        (tmp_path / "scontrol").chmod(0o755)
        return tmp_path / "asked"

    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    monkeypatch.delenv("SLURM_PROCID", raising=False)
    return with_code


def test_it_is_a_sigterm_where_that_is_handled(slurm, monkeypatch, capsys):
    asked, heard = slurm(0), []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with requeued():
            signal.raise_signal(signal.SIGUSR1)
            assert heard == [signal.SIGTERM]
            assert not asked.exists()  # what runs has not saved yet
    finally:
        signal.signal(signal.SIGTERM, before)
    assert asked.read_text() == "requeue 42\n"
    assert "queues job 42 again" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


def test_elsewhere_it_interrupts(slurm):
    asked = slurm(0)
    with pytest.raises(KeyboardInterrupt), requeued():
        signal.raise_signal(signal.SIGUSR1)
    assert asked.exists()


@pytest.mark.parametrize(("name", "value"), [("SLURM_PROCID", "1"), ("SLURM_JOB_ID", "")])
def test_only_the_first_process_of_a_job_asks(slurm, monkeypatch, name, value):
    asked = slurm(0)
    monkeypatch.setenv(name, value)
    with pytest.raises(KeyboardInterrupt), requeued():
        signal.raise_signal(signal.SIGUSR1)
    assert not asked.exists()


def test_without_the_signal_nothing_is_asked(slurm):
    asked = slurm(0)
    with requeued():
        pass
    assert not asked.exists()


@pytest.mark.parametrize("code", [1, None])
def test_a_scheduler_that_refuses_is_one_line(slurm, monkeypatch, capsys, code):
    slurm(code)
    if code is None:
        monkeypatch.setenv("PATH", "")
    preemption.asked.set()
    preemption.requeue()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "not queued again: scontrol requeue 42" in lines[0]
