"""The rules of the house that a test can see."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import vae_jax

ROOT = Path(vae_jax.__file__).parent

PAGE = ROOT.parent / "docs" / "house.md"


def floors(page: str) -> list[set[str]]:
    """The rooms of each row of the page's table, from the ground."""
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    return [
        {name.removesuffix("/").removesuffix(".py") for name in re.findall(r"`([^`]+)`", row)}
        for row in rows
    ]


FLOORS = floors(PAGE.read_text())


def modules(root=ROOT):
    return sorted(root.rglob("*.py"))


def room(name: str) -> str:
    """Of "vae_jax.runs.folder": "runs"."""
    return [*name.split("."), "__init__"][1]


def floor(name: str) -> int:
    return next(i for i, rooms in enumerate(FLOORS) if room(name) in rooms)


def module_name(path: Path, root=ROOT) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(("vae_jax", *(part for part in parts if part != "__init__")))


def imports(path: Path) -> list[str]:
    """Every module, or name of one, that the file imports: at any depth, and for types too."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


def graph(root=ROOT) -> dict[str, set[str]]:
    """The modules of ours that each module imports."""
    names = {module_name(path, root) for path in modules(root)}
    return {
        module_name(path, root): (set(imports(path)) & names) - {module_name(path, root)}
        for path in modules(root)
    }


def climbing(arrows: dict[str, set[str]]) -> list[tuple[str, str]]:
    """The arrows to another room that is not on a lower floor."""
    return [
        (own, other)
        for own, others in arrows.items()
        for other in sorted(others)
        if room(other) != room(own) and floor(other) >= floor(own)
    ]


def rings(arrows: dict[str, set[str]]) -> set[str]:
    """The modules that import one another, in however many steps."""
    left = dict(arrows)
    while ends := [name for name, others in left.items() if not others & left.keys()]:
        for name in ends:
            del left[name]
    return set(left)


def test_the_page_has_every_room_once():
    rooms = {room(module_name(path)) for path in modules()} - {"configs"}
    named = [name for row in FLOORS for name in row]
    assert sorted(named) == sorted(rooms)


def test_no_import_climbs():
    assert climbing(graph()) == []


def test_no_ring_of_imports():
    assert rings(graph()) == set()


def test_no_ring_beside_the_package():
    for folder in ("benchmarks", "configs", "experiments"):
        names = {path.stem: path for path in (ROOT.parent / folder).glob("*.py")}
        arrows = {
            name: {n for n in names if f"{folder}.{n}" in imports(path)} - {name}
            for name, path in names.items()
        }
        assert rings(arrows) == set(), folder


def test_the_tests_see_a_climbing_import_and_a_ring(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "folder.py").write_text("")
    bad = tmp_path / "models" / "bad.py"
    bad.write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import vae_jax.models.worse"
    )
    (tmp_path / "models" / "worse.py").write_text(
        "from vae_jax.runs import folder\ndef f():\n    from vae_jax.models import bad\n"
    )
    arrows = graph(tmp_path)
    assert climbing(arrows) == [("vae_jax.models.worse", "vae_jax.runs.folder")]
    assert rings(arrows) == {"vae_jax.models.bad", "vae_jax.models.worse"}


def test_only_networks_know_flax_and_figures_know_nothing_of_ours():
    for path in modules():
        names = imports(path)
        own = room(module_name(path))
        if own != "networks":
            assert not any(name.split(".")[0] == "flax" for name in names), path
        if own == "figures":
            ours = [name for name in names if name.startswith("vae_jax.")]
            assert all(name.startswith(("vae_jax.figures", "vae_jax.files")) for name in ours), path
        if own in ("probability", "networks", "models", "objectives", "training"):
            outside = {name.split(".")[0] for name in names}
            assert not outside & {"time", "os", "pathlib", "tqdm", "ml_collections", "orbax"}, path


def test_heavy_modules_are_imported_where_they_are_used():
    """`vae-jax --help` and a use as a library need no matplotlib, TFDS or orbax."""
    code = (
        "import sys, vae_jax.cli.main, vae_jax.training.loop, vae_jax.data; "
        "heavy = {'matplotlib', 'tensorflow_datasets', 'orbax'} & set(sys.modules); "
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow  # no ring says the same
def test_every_module_can_be_imported_first():
    """No ring of imports that only some order of them hides."""
    names = [
        ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
        for path in modules()
        if path.stem != "__main__"
    ]
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    for loaded in [m for m in sys.modules if m.startswith('vae_jax')]:\n"
        "        del sys.modules[loaded]\n"
        "    importlib.import_module(name)\n"
    )
    subprocess.run([sys.executable, "-c", code, *names], check=True)


def test_files_hold_one_noun():
    files = [*modules(), *modules(ROOT.parent / "tests")]
    assert {str(p): n for p in files if (n := len(p.read_text().splitlines())) > 400} == {}


def test_no_test_is_imported():
    """What tests share is in tests/small, or a fixture of a conftest.py."""
    for path in modules(ROOT.parent / "tests"):
        tests = [name for name in imports(path) if name.startswith("tests.")]
        assert not any(
            part.startswith(("test_", "conftest")) for n in tests for part in n.split(".")
        )
