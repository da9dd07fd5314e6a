"""The stages of a start add up to it."""

import time

import pytest

from benchmarks import startup as benchmark_startup
from benchmarks.systems import answer_of


@pytest.mark.slow
def test_the_stages_are_all_of_the_start():
    began = time.time()
    found = answer_of("benchmarks.startup", began)
    took = time.time() - began
    together = found.pop("together")
    assert min(found.values()) > 0
    assert sum(found.values()) == pytest.approx(together)
    assert together < took < together + 2


def test_the_least_of_the_rounds_cold_beside_warm(monkeypatch):
    seconds = iter([6.0, 2.0, 5.0, 3.0])
    caches = []

    def command_line(cache):
        caches.append(cache)
        return {"first_step_seconds": next(seconds)}

    monkeypatch.setattr(benchmark_startup, "command_line", command_line)
    monkeypatch.setattr(benchmark_startup, "answer_of", lambda *_, **__: {"data": 1.0})
    found = benchmark_startup.measure(2)
    assert found["command, cold"] == {"first_step_seconds": 5.0}
    assert found["command, warm"] == {"first_step_seconds": 2.0}
    assert caches[0] == caches[1] != caches[2] == caches[3]
    rows = [line.split() for line in benchmark_startup.table(found).splitlines()]
    assert rows == [
        ["cold", "warm"],
        ["first_step_seconds", "5.00", "2.00"],
        ["data", "1.00", "1.00"],
    ]
