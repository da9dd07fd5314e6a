"""A compilation that takes long is named, and a signal ends a process that is in one."""

import signal
import subprocess
import sys
import time

import jax
import pytest

from vae_jax.runs import watchdog

# Like XLA, pbkdf2 works in C without Python's lock, where no signal handler is run.
STAND_IN = """
import hashlib, signal, sys, threading, time
from jax import monitoring
from vae_jax.runs import watchdog

watchdog.FIRST_SECONDS, watchdog.GRACE_SECONDS, watchdog.POLL_SECONDS = 0.4, {grace}, 0.1

def compile_():
    monitoring.record_scalar(watchdog.EVENT, time.time(), fun_name="jit(train_lanes)")
    print("compiling", end="")
    print(".", file=sys.stderr, flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", {work})
    monitoring.record_event_duration_secs(watchdog.EVENT, 1.0, fun_name="jit(train_lanes)")

signal.signal(signal.SIGTERM, lambda number, frame: None)  # as while training
with watchdog.watched():
    {what}
print(", done")
"""
FOREVER = 10**9  # steps of pbkdf2; an hour
AHEAD = "threading.Thread(target=compile_).start(); time.sleep(0.5); signal.raise_signal(15)"


def started(what="compile_()", work=FOREVER, grace=1.0):
    process = subprocess.Popen(
        [sys.executable, "-c", STAND_IN.format(what=what, work=work, grace=grace)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr.readline() == ".\n"
    return process


def ended(process):
    """(exit code, stdout, stderr) of a process that ends within seconds."""
    try:
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    return process.returncode, out, err


def test_jax_says_what_it_compiles(monkeypatch):
    """On each version of jax: the name of its event and what it tells are not promised."""
    monkeypatch.setattr(watchdog, "_under_way", {})
    watchdog.listen()
    seen = []

    def look(event, value, **named):
        seen.extend(compilation.name for compilation in watchdog._under_way.values())

    jax.monitoring.register_scalar_listener(look)

    @jax.jit
    def a_program_of_this_test(x):
        return 2 * x

    a_program_of_this_test(1.0).block_until_ready()
    assert "a_program_of_this_test" in seen
    assert watchdog._under_way == {}


def test_a_line_says_what_takes_long_and_again_after_twice_as_long():
    code, out, err = ended(started(work=4_000_000))
    assert (code, out) == (0, "compiling, done\n")
    lines = err.splitlines()
    assert lines[0].startswith("vae-jax: compiling train_lanes: 0 s so far")
    assert lines[1].startswith("vae-jax: compiling train_lanes: 1 s so far")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("grace", "signals"), [(1.0, 1), (60.0, 2)])
def test_a_signal_ends_a_compilation(number, grace, signals):
    process = started(grace=grace)
    for _ in range(signals):
        time.sleep(0.3)
        process.send_signal(number)
    code, out, err = ended(process)
    assert (code, out) == (1, "compiling")
    assert err.splitlines()[-1] == (
        "vae-jax: stopped while compiling train_lanes; "
        "the same command goes on from the last checkpoint"
    )


def test_a_process_that_was_stopped_does_not_wait_for_what_it_compiles_ahead():
    code, out, _ = ended(started(AHEAD))
    assert (code, out) == (1, "compiling, done\n")
