"""What the environment may not change, and the compilation cache: on unless told, and bounded."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from vae_jax.devices.setup import (
    PINNED,
    cache_folder,
    pin,
    pinned,
    refuse_without_devices,
    remove_oldest,
    use_cache,
)
from vae_jax.errors import UserError

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


@pytest.mark.slow
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


OTHER = {
    "jax_enable_x64": True,
    "jax_default_prng_impl": "rbg",
    "jax_threefry_partitionable": False,
    "jax_random_seed_offset": 3,
}


def test_the_environment_does_not_change_the_numbers():
    wanted = {name: getattr(jax.config, name) for name in PINNED}
    assert wanted == PINNED
    try:
        for name, value in OTHER.items():
            jax.config.update(name, value)
        pin()
        assert {name: getattr(jax.config, name) for name in PINNED} == wanted
    finally:
        for name, value in wanted.items():
            jax.config.update(name, value)


def settings():
    return {name: getattr(jax.config, name) for name in PINNED}


def test_settings_are_pinned_for_one_thread_and_the_user_s_stay():
    """Two runs in two threads of a process that has its own settings: none sees the other's end."""
    wanted, in_thread, both, over = settings(), {}, threading.Barrier(2), threading.Event()

    def other():
        in_thread["before"] = settings()
        with pinned():
            both.wait(20)
            over.wait(20)  # the first one has ended meanwhile
            in_thread["inside"] = settings()
            in_thread["dtype"] = jnp.zeros(1, float).dtype
            in_thread["key"] = jax.random.key_data(jax.random.key(0)).shape
        in_thread["after"] = settings()

    others = {name: value for name, value in OTHER.items() if name != "jax_random_seed_offset"}
    try:
        for name, value in others.items():
            jax.config.update(name, value)
        users = settings()
        thread = threading.Thread(target=other)
        with pinned():
            thread.start()
            both.wait(20)
            assert settings() == wanted
        assert settings() == users
        assert jnp.zeros(1, float).dtype == "float64"
        over.set()
        thread.join(20)
    finally:
        for name, value in wanted.items():
            jax.config.update(name, value)
    assert in_thread == {
        "before": users, "inside": wanted, "dtype": "float32", "key": (2,), "after": users
    }  # fmt: skip


def test_an_offset_of_seeds_is_put_back():
    jax.config.update("jax_random_seed_offset", 3)
    try:
        with pinned():
            assert settings() == PINNED
        assert jax.config.jax_random_seed_offset == 3
    finally:
        jax.config.update("jax_random_seed_offset", 0)


def test_a_device_that_is_not_there_is_told(monkeypatch):
    def not_there(value):
        raise AssertionError

    refuse_without_devices()
    monkeypatch.setattr(jax, "device_put", not_there)
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    with pytest.raises(UserError, match=r"JAX_PLATFORMS=cuda \(no such device\); unset it"):
        refuse_without_devices()


def test_without_a_home_folder_that_can_be_written_nothing_is_kept(monkeypatch, tmp_path, capsys):
    for name in ("JAX_COMPILATION_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert cache_folder() == tmp_path / ".cache" / "vae_jax"

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    assert cache_folder() is None
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    assert cache_folder() is None
    monkeypatch.setenv("JAX_ENABLE_COMPILATION_CACHE", "1")  # restored after this test
    use_cache()
    jax.config.update("jax_enable_compilation_cache", True)
    assert capsys.readouterr().err.startswith("vae-jax: compiled programs can't be kept here; set ")
