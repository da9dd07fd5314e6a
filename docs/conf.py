"""The documentation site: `sphinx-build -W docs build/docs`, or `nox -s docs`."""

import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import vae_jax
from vae_jax.config.listing import described, quoted, readers_of
from vae_jax.config.schema import KEYS, LANE_KEYS
from vae_jax.usage import HELP, VERBS

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # for configs/

project = "vae_jax"
author = "the vae_jax authors"
copyright = f"2026, {author}"
version = release = vae_jax.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
html_theme = "furo"
html_title = f"vae_jax {version}"
html_static_path: list[str] = []
templates_path: list[str] = []
exclude_patterns = ["_build"]
default_role = "code"  # of single backticks in docstrings

myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath", "fieldlist"]
suppress_warnings = ["mystnb.unknown_mime_type"]

nb_execution_mode = "force"
nb_execution_timeout = 180  # seconds, of a cell
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_use_rtype = False

# The parts of the library, in the order of the reference: {title: modules or packages}.
LIBRARY = {
    "Training and loading": ["vae_jax.api", "vae_jax.functions", "vae_jax.frames"],
    "Models": ["vae_jax.models"],
    "Distributions": ["vae_jax.probability"],
    "Networks": ["vae_jax.networks"],
    "Objectives": ["vae_jax.objectives"],
    "The training step and loop": ["vae_jax.training"],
    "Evaluation": ["vae_jax.evaluation"],
    "Data": ["vae_jax.data"],
    "Config keys of your own": ["vae_jax.keys", "vae_jax.checks"],
}


def modules_of(name: str) -> Iterator[str]:
    """A module, or a package and all in it."""
    yield name
    module = importlib.import_module(name)
    for found in pkgutil.iter_modules(getattr(module, "__path__", [])):
        yield from modules_of(f"{name}.{found.name}")


def library_page(title: str, names: list[str]) -> str:
    """Every public function and class of the modules, by autodoc."""
    lines = [f"# {title}", ""]
    for name in (own for package in names for own in modules_of(package)):
        own = [
            member
            for key, member in inspect.getmembers(importlib.import_module(name))
            if not key.startswith("_") and getattr(member, "__module__", None) == name
        ]
        if own:
            lines += [f"## {name}", "", "```{eval-rst}", f".. automodule:: {name}", "   :members:",
                      "```", ""]  # fmt: skip
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
        meaning = readers_of(name, key) + "; ".join(dict.fromkeys(r.doc for r in key.readers))
        if key.choices:
            meaning += ": " + ", ".join(f"`{choice}`" for choice in key.choices)
        meaning = meaning.replace("|", "\\|")
        lines.append(f"| `{name}` | {meaning}. Default: `{quoted(key.default)}`.{traced(name)} |")
    return "\n".join(lines) + "\n"


def traced(name: str) -> str:
    if name == "model.latent_size":
        return " Padded: lanes of one program may differ in it."
    return " *Traced.*" if name in LANE_KEYS else ""


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
    pages = {"config_keys": keys_page(), "names": choices_page(), "commands": commands_page()}
    for title, names in LIBRARY.items():
        pages[names[0].replace("vae_jax.", "")] = library_page(title, names)
    return pages


def write_reference(app) -> None:
    """Writes them, where they changed."""
    at = HERE / "generated"
    at.mkdir(exist_ok=True)
    for name, text in reference().items():
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
