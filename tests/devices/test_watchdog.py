"""A compilation that takes long is named, and a signal ends a process that is in one."""

import re
import signal
import subprocess
import sys
import textwrap
import time

import jax
import pytest

from vae_jax.devices import watchdog

STAND_IN = """
import hashlib, signal, sys, threading, time
from jax import monitoring
from vae_jax.devices import watchdog

watchdog.FIRST_SECONDS, watchdog.GRACE_SECONDS, watchdog.POLL_SECONDS = 1.0, {grace}, 0.1

def compile_():
    monitoring.record_scalar(watchdog.EVENT, time.time(), fun_name="jit(train_lanes)")
    print("compiling", end="")
    print(".", file=sys.stderr, flush=True)
    {work}
    monitoring.record_event_duration_secs(watchdog.EVENT, 1.0, fun_name="jit(train_lanes)")

signal.signal(signal.SIGTERM, lambda number, frame: None)  # as while training
with watchdog.watched():
{what}
print(", done")
"""
# Like XLA, pbkdf2 works in C without Python's lock, where no signal handler is run: for minutes.
FOREVER = 'hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)'
# Two thousand functions of one another are one kernel, which takes LLVM about a minute.
FOR_XLA = """
import jax, jax.numpy as jnp

def chain(x):
    for _ in range(2_000):
        x = jax.lax.erf_inv(0.5 * jnp.sin(x))
    return x

program = jax.jit(chain).lower(jnp.ones(64))
print("compiling", end="")
print(".", file=sys.stderr, flush=True)
program.compile()
"""
AHEAD = "threading.Thread(target=compile_).start(); time.sleep(0.5); signal.raise_signal(15)"


def started(what="compile_()", work=FOREVER, grace=1.0):
    """A process that has just begun to compile."""
    code = STAND_IN.format(what=textwrap.indent(what, "    "), work=work, grace=grace)
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    first = process.stderr.readline()
    if first != ".\n":
        process.kill()
        pytest.fail(first + process.communicate()[1])
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


@pytest.mark.slow
def test_a_line_says_what_takes_long_and_again_after_twice_as_long():
    code, out, err = ended(started(work="time.sleep(4)"))
    assert (code, out) == (0, "compiling, done\n")
    line = r"vae-jax: compiling train_lanes: (\d+) s so far; Ctrl-C stops"
    seconds = [int(re.fullmatch(line, own)[1]) for own in err.splitlines()]
    assert 1 <= seconds[0] < seconds[1]
    assert len(seconds) <= 3


@pytest.mark.parametrize(
    ("number", "grace", "signals"),
    [
        (signal.SIGTERM, 1.0, 1),
        (signal.SIGINT, 60.0, 2),
        pytest.param(signal.SIGINT, 1.0, 1, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 60.0, 2, marks=pytest.mark.slow),
    ],
)
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


@pytest.mark.slow
def test_a_signal_ends_xla_s_own_work():
    process = started(FOR_XLA)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    code, out, err = ended(process)
    assert (code, out) == (1, "compiling")
    assert "vae-jax: stopped while compiling chain" in err


def test_a_process_that_was_stopped_does_not_wait_for_what_it_compiles_ahead():
    code, out, _ = ended(started(AHEAD))
    assert (code, out) == (1, "compiling, done\n")
