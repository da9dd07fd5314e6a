"""The documentation site: `sphinx-build -W docs build/docs`, or `nox -s docs`."""

import ast
import functools
import importlib
import inspect
import json
import pkgutil
import re
import sys
from pathlib import Path

import vae_jax
from vae_jax.cli.usage import HELP, VERBS
from vae_jax.config.listing import described, quoted, readers_of
from vae_jax.config.schema import KEYS

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]  # for configs/ and formulas.py

project = "vae_jax"
author = "the vae_jax authors"
copyright = f"2026, {author}"
version = release = vae_jax.__version__
extensions = [
    "myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton", "formulas"
]  # fmt: skip
html_theme = "furo"
html_title = f"vae_jax {version}"
html_static_path: list[str] = []
templates_path: list[str] = []
exclude_patterns = ["_build"]
default_role = "code"  # of single backticks in docstrings

myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath", "fieldlist"]
suppress_warnings = ["mystnb.unknown_mime_type"]

nb_execution_mode = "off"  # the outputs are in the file; tests/test_tutorial.py keeps them fresh
nb_merge_streams = True
html_math_renderer = "mathml"  # formulas.py

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_use_rtype = False


def python_of(page: Path) -> str:
    """The Python of a page, or of a notebook."""
    text = page.read_text()
    if page.suffix == ".ipynb":
        cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
        lines = "".join("".join(cell["source"]) + "\n" for cell in cells).splitlines()
        return "\n".join(line for line in lines if line.startswith(("from vae_jax", "import vae")))
    return "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))


def imported() -> dict[str, set[str]]:
    """What the pages import: {module of the package: names in it; none: the whole module}."""
    found: dict[str, set[str]] = {}
    for page in (*HERE.glob("*.md"), *HERE.glob("*.ipynb")):
        for node in ast.walk(ast.parse(python_of(page))):
            if not isinstance(node, ast.ImportFrom) or not node.module:
                continue
            for name in (alias.name for alias in node.names):
                own = f"{node.module}.{name}"
                if not own.startswith("vae_jax.") or name in vae_jax.__all__:
                    continue
                if own in all_modules() or name in vae_jax.MODULES:
                    found.setdefault(own, set())
                else:
                    found.setdefault(node.module, set()).add(name)
    return found


@functools.cache
def all_modules() -> set[str]:
    return {own.name for own in pkgutil.walk_packages(vae_jax.__path__, "vae_jax.")}


def functions_of(module: str) -> set[str]:
    """The public functions that a module, named as users name it, defines."""
    package, _, name = module.rpartition(".")
    members = inspect.getmembers(getattr(importlib.import_module(package), name))
    return {
        key
        for key, own in members
        if inspect.isfunction(own) and own.__module__.endswith(name) and key[0] != "_"
    }


def documented(module: str, name: str) -> list[str]:
    """The directive for a name: a class, a function or a value."""
    last = module.rpartition(".")[2]
    home = getattr(vae_jax, last) if last in vae_jax.MODULES else importlib.import_module(module)
    member = getattr(home, name)
    if inspect.isclass(member):
        return [f".. autoclass:: {module}.{name}", "   :members:", ""]
    if name == "config":  # a package that can be called
        text = inspect.getdoc(type(member).__call__) or ""
        lines = [f"   {line}".rstrip() for line in text.splitlines()]
        return [f".. py:function:: {module}.config(name)", "", *lines, ""]
    kind = "autofunction" if callable(member) else "autodata"
    return [f".. {kind}:: {module}.{name}", ""]


def library_page() -> str:
    """What `vae_jax` has."""
    lines = [
        "# vae_jax",
        "",
        "What `import vae_jax` has. The examples are in [from Python](../python.md).",
        "",
    ]
    lines += ["```{eval-rst}"]
    lines += [line for name in vae_jax.__all__ for line in documented("vae_jax", name)]
    return "\n".join([*lines, "```", ""])


def parts_page() -> str:
    """The names inside the package that these pages use."""
    lines = [
        "# Inside the package",
        "",
        "The names that the pages on [a loop](../own_loop.md), [extending](../extending.md), "
        "[parts of your own](../own_parts.md) and [from Python](../python.md) import.",
        "",
    ]
    for module, names in sorted(imported().items()):
        lines += [f"## {module}", "", "```{eval-rst}"]
        if module.removeprefix("vae_jax.") in vae_jax.MODULES:  # a module by a shorter name
            names = functions_of(module)
        if not names:
            lines += [f".. automodule:: {module}", "   :members:", ""]
        for name in sorted(names):
            lines += documented(module, name)
        lines += ["```", ""]
    return "\n".join(lines)


def keys_page() -> str:
    """Every config key: its default, what it means, and what it allows."""
    lines = [
        "# Config keys",
        "",
        "Written from the declarations, like `configs/default.py`. In a sweep, a *traced* key may "
        "differ between the lanes of one program; the others need a program for each value.",
        "",
    ]
    section = ""
    for name, key in KEYS.items():
        own = name.partition(".")[0]
        if own != section:
            section = own
            lines += ["", f"## {section}", "", "| key | meaning |", "|---|---|"]
        meaning = readers_of(key) + "; ".join(dict.fromkeys(r.doc for r in key.readers))
        if key.choices:
            meaning += ": " + ", ".join(f"`{choice}`" for choice in key.choices)
        meaning = meaning.replace("|", "\\|")
        lines.append(f"| `{name}` | {meaning}. Default: `{quoted(key.default)}`.{traced(name)} |")
    return "\n".join(lines) + "\n"


def traced(name: str) -> str:
    if name == "model.latent_size":
        return " Padded: lanes of one program may differ in it."
    if KEYS[name].is_of_lane:
        return " *Lanes of one program may differ in it.*"
    return " *Traced.*" if KEYS[name].is_traced else ""


def choices_page() -> str:
    """What `vae-jax list` prints, as tables."""
    lines = ["# Names that keys can have", "", "What `vae-jax list` prints.", ""]
    for name, key in KEYS.items():
        if key.choices:
            lines += [f"## {name}", "", "| name | what it is |", "|---|---|"]
            for own, member in sorted(key.choices.items()):
                lines.append(f"| `{own}` | {described(member)} |".replace("|x)", "\\|x)"))
            lines.append("")
    return "\n".join(lines)


def commands_page() -> str:
    parts = ["# Commands", "", "What `vae-jax --help` prints.", "", f"```text\n{HELP}```"]
    for verb, text in VERBS.items():
        parts += ["", f"## vae-jax {verb}", "", f"```text\n{text}```"]
    return "\n".join(parts) + "\n"


def reference() -> dict[str, str]:
    """The pages that are made from the code: {name: Markdown}."""
    return {
        "config_keys": keys_page(),
        "names": choices_page(),
        "commands": commands_page(),
        "vae_jax": library_page(),
        "parts": parts_page(),
    }


def write_reference(app) -> None:
    """Writes them, where they changed."""
    at = HERE / "generated"
    at.mkdir(exist_ok=True)
    pages = reference()
    for path in at.glob("*.md"):
        if path.stem not in pages:
            path.unlink()
    for name, text in pages.items():
        path = at / f"{name}.md"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


OF_PROPERTIES: dict[str, list[str]] = {}
SECTIONS = ("Args:", "Returns:", "Raises:", "References:", "Yields:", "Attributes:")


def as_plain(app, what, name, obj, options, lines: list[str]) -> None:
    """Docstrings are plain text with Google's sections; indented lines elsewhere are kept as is.

    What reStructuredText would take for markup is escaped.
    """
    if lines and lines[0].startswith("Alias for field number"):
        lines.clear()
    found: list[str] = []
    section = block = False
    for line in lines:
        indented = line.startswith(" ")
        if line and not indented:
            section, block = line in SECTIONS, False
        elif indented and not section and not block:
            block = True
            found += ["", "::", ""]
        found.append(line if block else re.sub(r"([*|\\]|(?<=\w)_(?!\w))", r"\\\1", line))
    lines[:] = found
    if what == "property":
        OF_PROPERTIES[name] = found


def without_type(app, what, name, obj, options, lines: list[str]) -> None:
    """Napoleon takes what comes before a colon for the type of a property."""
    lines[:] = OF_PROPERTIES.pop(name, lines)


def shorter(app, what, name, obj, options, signature, returns):
    """Types by their own names."""
    names = r"\b(jaxlib\._jax|jax)\.Array\b"
    return tuple(text and re.sub(names, "Array", text) for text in (signature, returns))


def setup(app) -> None:
    app.connect("autodoc-process-signature", shorter)
    app.connect("builder-inited", write_reference, priority=100)
    app.connect("autodoc-process-docstring", as_plain, priority=100)
    app.connect("autodoc-process-docstring", without_type, priority=900)
