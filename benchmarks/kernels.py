"""How many operations does a compiled training step launch?

    python -m benchmarks kernels

counts, for each Work of systems.py, the operations of the loop over steps: kernels on a GPU; calls
of fusions, products and library functions on a CPU. A GPU takes a microsecond or more for each,
however small it is. Takes half a minute on two cores, and writes JSON under benchmarks/results/.
"""

import re
from collections import Counter, defaultdict

from benchmarks.machine import leave
from benchmarks.work import WORKS, Work
from vae_jax.words import aligned

# What a backend launches; other instructions of a compiled loop only name memory.
LAUNCHED = (
    *("fusion", "dot", "convolution", "custom-call", "call", "copy", "concatenate", "pad"),
    *("reduce", "sort", "scatter", "gather", "dynamic-update-slice", "dynamic-slice", "transpose"),
)
INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?[\w.-]+ = .*? ([a-z][\w-]*)\(")


def launches(hlo: str) -> dict[str, int]:
    """{operation: how many} of the loop that launches most: the loop over steps."""
    launches_in: dict[str, Counter[str]] = defaultdict(Counter)
    computation = ""
    for line in hlo.splitlines():
        if head := re.match(r"(?:ENTRY )?%?([\w.-]+) .*\{$", line):
            computation = head[1]
        elif (one := INSTRUCTION.match(line)) and one[1] in LAUNCHED:
            launches_in[computation][one[1]] += 1
    bodies = re.findall(r"while\(.*body=%?([\w.-]+)", hlo)
    most: Counter[str] = max((launches_in[body] for body in bodies), key=Counter.total)
    return dict(most)


def of_work(work: Work, lanes: int = 1) -> dict[str, int]:
    """The launches of a step of the work."""
    import numpy as np

    from benchmarks.systems import program_of
    from vae_jax.training.loop import order_lanes, train_lanes

    images = np.zeros((256, 784), np.uint8)
    spec, layout, keys, examples, state = program_of(work, images, lanes)
    order = order_lanes(spec, layout, keys, np.int32(0))
    program = train_lanes.lower(spec, layout, state, keys, order, np.int32(1), examples)
    return launches(program.compile().as_text() or "")


def main() -> None:
    from vae_jax.devices.setup import use_cores

    use_cores()
    counts = {work.name: of_work(work) for work in WORKS}
    rows = []
    for name, by_kind in counts.items():
        kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(by_kind.items()))
        rows.append([name, str(sum(by_kind.values())), kinds])
    print("\n".join(aligned(rows, left={0, 2})))
    leave("kernels", {"launches": counts})
