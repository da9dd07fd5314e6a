"""User-defined members: those of docs/own_parts.md, and how they are forgotten."""

import importlib
import re
from pathlib import Path

from vae_jax.config import code
from vae_jax.runs.summary import RECORDED


def forget():
    """As in a new process: no module of the user's is imported."""
    code.MODULES.clear()
    code.tell_of_copy.cache_clear()
    RECORDED.clear()
    importlib.invalidate_caches()


DOCS = Path(__file__).parents[2] / "docs"
EXAMPLE = re.compile(
    r"^`(\w+)\.py`.*?^```python\n(.*?)^```\n\n```\n(.*?)^```", re.MULTILINE | re.DOTALL
)


def parts_of(page: str) -> dict[str, tuple[str, str]]:
    """{name: (code, command)}: the modules that a page of docs prints."""
    return {
        name: (code, command) for name, code, command in EXAMPLE.findall((DOCS / page).read_text())
    }


SHORT = parts_of("own_parts.md")
PARTS = SHORT | parts_of("hierarchies.md")
