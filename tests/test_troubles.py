"""docs/troubles.md quotes what the program says, and the program's messages lead there."""

import ast
import re
import runpy
from importlib import metadata
from pathlib import Path

import pytest

from tests.small.docs import anchors
from vae_jax import words

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "troubles.md").read_text()
GAP = "\0"  # what an f-string fills in


def text_of(node: ast.AST) -> str | None:
    """A string of the code; what is filled in is a GAP."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) or GAP for part in node.values)
    return None


def texts() -> list[str]:
    trees = (ast.parse(path.read_text()) for path in (ROOT / "vae_jax").rglob("*.py"))
    found = (text_of(node) for tree in trees for node in ast.walk(tree))
    return [text for text in found if text and " " in text.strip()]


def messages() -> list[str]:
    """Those in the first column of a table."""
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    return [own for row in rows for own in re.findall(r"`([^`]+)`", row.split(" | ")[0])]


def pieces(message: str) -> list[str]:
    """The words that a message always has."""
    return [own for part in message.split("...") if " " in (own := part.strip(" (:;,"))]


def test_every_message_of_the_page_is_one_of_the_program():
    known = texts()
    asked = [own for own in messages() if pieces(own)]
    assert len(asked) > 40
    for message in asked:
        for piece in pieces(message):
            assert any(piece in text for text in known), (message, piece)


def test_every_address_in_a_message_is_there():
    code = "".join(path.read_text() for path in (ROOT / "vae_jax").rglob("*.py"))
    named = set(re.findall(r"(?:page\(|MEMORY = )[\"'](\w+(?:#[\w-]+)?)[\"']", code))
    assert {"troubles#diverged", "troubles#out-of-memory", "troubles#other-units"} <= named
    for own in named:
        name, _, part = own.partition("#")
        page = ROOT / "docs" / f"{name}.md"
        assert page.exists(), own
        assert not part or part in anchors(page), own
    # An installed wheel has no such file; these are in docstrings.
    assert set(re.findall(r"docs/(\w+)\.md", code)) <= {"members", "wrong_products"}


@pytest.fixture
def anew():
    words.documentation.cache_clear()
    yield
    words.documentation.cache_clear()


def test_the_address_is_that_of_the_package(anew, monkeypatch):
    site = runpy.run_path(str(ROOT / "setup.py"))["site"]()
    about = metadata.metadata("vae_jax")
    about["Project-URL"] = f"Documentation, {site}"
    monkeypatch.setattr(metadata, "metadata", lambda name: about)
    assert words.page("troubles#diverged") == f"{site}/troubles.html#diverged"
    assert words.page("python") == f"{site}/python.html"


def test_without_the_package_it_is_the_file(anew, monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "metadata", missing)
    assert words.page("troubles#diverged") == "docs/troubles.md#diverged"
