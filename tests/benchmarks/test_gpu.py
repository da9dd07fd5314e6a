"""The benchmark of GPUs, on its tiny work, and what it counts."""

import json

import pytest

from benchmarks import gpu, kernels, machine

HLO = """\
HloModule m

%fused (p: f32[2]) -> f32[2] {
  %p = f32[2]{0} parameter(0)
  ROOT %a = f32[2]{0} add(%p, %p)
}

%body (s: (s32[], f32[2])) -> (s32[], f32[2]) {
  %s = (s32[], f32[2]{0}) parameter(0)
  %x = f32[2]{0} get-tuple-element(%s), index=1
  %f = f32[2]{0} fusion(%x), kind=kLoop, calls=%fused
  %d = f32[2]{0} custom-call(%f), custom_call_target="gemm"
  %g = f32[2]{0} fusion(%d), kind=kLoop, calls=%fused
  ROOT %t = (s32[], f32[2]{0}) tuple(%i, %g)
}

%condition (s: (s32[], f32[2])) -> pred[] {
  ROOT %c = pred[] fusion(%s), kind=kLoop, calls=%fused
}

ENTRY %main (x: f32[2]) -> f32[2] {
  %w = (s32[], f32[2]{0}) while(%i), condition=%condition, body=%body
  ROOT %r = f32[2]{0} copy(%w)
}
"""


def test_launches_are_those_of_the_loop():
    assert kernels.launches(HLO) == {"fusion": 2, "custom-call": 1}


def test_a_row_that_fails_says_why_and_each_is_written_at_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(machine, "RESULTS", tmp_path)
    written = []

    def answer(module, measure, arguments, **environment):
        written.append([json.loads(p.read_text())["rows"] for p in tmp_path.iterdir()])
        if measure == "bandwidth":
            raise RuntimeError("first\nno memory")
        return {"microseconds": 1.0 * len(arguments)}

    monkeypatch.setattr(gpu, "answer_of", answer)
    found = gpu.run(small=True)
    assert found["memory"] == {"failed": "no memory"}
    assert "no memory" in capsys.readouterr().out
    assert [len(rows[0]) if rows else 0 for rows in written] == list(range(len(written)))
    monkeypatch.setattr(gpu, "BUDGET", -1)
    assert gpu.run(small=True) == {}
    assert gpu.main(["--nonsense"]) == 2


@pytest.mark.slow
def test_it_runs_on_a_cpu(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "RESULTS", tmp_path)
    found = gpu.run(small=True)
    assert not [name for name, row in found.items() if "failed" in row]
    own, golden = (found[f"{whose} numbers: 784-400-20, 1 lane"] for whose in ("its", "the CPU's"))
    assert own["loss"] == golden["loss"]
    assert own["kernels"] > 10
