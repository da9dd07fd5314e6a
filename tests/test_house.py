"""The rules of the house that a test can see."""

import ast
import subprocess
import sys
from pathlib import Path

import vae_jax

ROOT = Path(vae_jax.__file__).parent

FLOORS = {
    "errors": -1,
    "lanes": -1,
    "threefry": -1,
    "probability": 0,
    "networks": 0,
    "data": 0,
    "figures": 0,
    "models": 1,
    "objectives": 2,
    "evaluation": 2.5,  # it measures the bounds that objectives define
    "training": 3,
    "runs": 4,
    "cli": 5,
    "__main__": 6,
    "__init__": -1,
}


def modules():
    return sorted(ROOT.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found.append(node.module)
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def climbing(path: Path) -> list[str]:
    """The imports of another room that is not on a lower floor."""
    own = room(path)
    return [
        name
        for name in imports(path)
        if name.startswith("vae_jax.")
        and (other := name.split(".")[1]) != own
        and FLOORS[other] >= FLOORS[own]
    ]


def test_no_import_climbs():
    assert {str(path): climbing(path) for path in modules() if climbing(path)} == {}


def test_the_test_sees_a_climbing_import(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    (tmp_path / "models").mkdir()
    bad = tmp_path / "models" / "bad.py"
    bad.write_text("from vae_jax.runs import folder\n")
    assert climbing(bad) == ["vae_jax.runs", "vae_jax.runs.folder"]


def test_only_networks_know_flax_and_figures_know_nothing_of_ours():
    for path in modules():
        names = imports(path)
        if room(path) != "networks":
            assert not any(name.split(".")[0] == "flax" for name in names), path
        if room(path) == "figures":
            ours = [name for name in names if name.startswith("vae_jax.")]
            assert all(name.startswith("vae_jax.figures") for name in ours), path
        if room(path) in ("probability", "networks", "models", "objectives", "training"):
            outside = {name.split(".")[0] for name in names}
            assert not outside & {"time", "os", "pathlib", "tqdm", "ml_collections", "orbax"}, path


def test_heavy_modules_are_imported_where_they_are_used():
    """`vae-jax --help` and a use as a library need no matplotlib, TFDS or orbax."""
    code = (
        "import sys, vae_jax.cli, vae_jax.training.loop, vae_jax.data; "
        "heavy = {'matplotlib', 'tensorflow_datasets', 'orbax'} & set(sys.modules); "
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


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
    assert {str(p): n for p in modules() if (n := len(p.read_text().splitlines())) > 400} == {}
