"""How much memory there is."""

import contextlib
import os
from pathlib import Path

UNTOLD_BYTES = 8_000_000_000  # of memory, where the system does not tell: what small machines have


def host_memory() -> int:
    """Bytes of memory that this process may use: the machine's, or its control group's limit."""
    machine = machine_memory()
    with contextlib.suppress(OSError, ValueError):  # there is no such file, or it says "max"
        return min(machine, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return machine


def machine_memory() -> int:
    """Bytes of memory of the machine; UNTOLD_BYTES where the system does not tell."""
    try:
        pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # no such function, or no such name
        return UNTOLD_BYTES
    return pages * size if min(pages, size) > 0 else UNTOLD_BYTES
