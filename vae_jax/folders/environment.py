"""What a result depends on besides its config: versions, devices, command, code."""

import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

import vae_jax
from vae_jax.config.build import Config
from vae_jax.config.import_members import checksums
from vae_jax.folders.formats import FORMAT

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "ml-collections", "numpy")


def environment(*configs: Config) -> dict[str, Any]:
    """The content of environment.json.

    configs: those that name the user's own code.
    """
    code = checksums(*configs)
    return ({"code": code} if code else {}) | {
        "format": FORMAT,
        "vae_jax": vae_jax.__version__,
        "commit": commit(),
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "devices": [str(device) for device in jax.devices()],
        "packages": {name: metadata.version(name) for name in PACKAGES},
    }


def commit() -> str | None:
    """The commit of this code, with "-dirty" appended if changed; None if it is not a clone."""
    root = Path(vae_jax.__file__).parents[1]
    try:
        if not (root / ".git").exists():
            return None
        git = ["git", "describe", "--always", "--dirty", "--abbrev=40"]
        return subprocess.run(git, cwd=root, capture_output=True, text=True).stdout.strip() or None
    except OSError:
        return None
