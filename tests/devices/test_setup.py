"""The compilation cache: on unless told, and bounded."""

import os
import subprocess
import sys

from vae_jax.devices.setup import remove_oldest

CODE = (
    "import sys, jax; from vae_jax.devices.setup import use_cache; "
    "use_cache(sys.argv[1] == 'True'); jax.jit(lambda x: x + 1)(1.0)"
)


def cached_by(tmp_path, wanted):
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    environment.pop("JAX_COMPILATION_CACHE_DIR")
    subprocess.run([sys.executable, "-c", CODE, str(wanted)], env=environment, check=True)
    folder = tmp_path / "vae_jax"
    return list(folder.iterdir()) if folder.exists() else []


def test_programs_are_kept_in_the_user_s_cache_folder_unless_told_otherwise(tmp_path):
    assert cached_by(tmp_path, wanted=False) == []
    assert cached_by(tmp_path, wanted=True)


def test_the_oldest_are_removed_and_no_more_than_it_takes(tmp_path):
    for age, name in enumerate("abcd"):
        path = tmp_path / name
        path.write_bytes(bytes(10))
        os.utime(path, (1_000 - age, 1_000 - age))
    remove_oldest(tmp_path, 40)
    assert len(list(tmp_path.iterdir())) == 4
    remove_oldest(tmp_path, 25)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    remove_oldest(tmp_path / "none", 25)
