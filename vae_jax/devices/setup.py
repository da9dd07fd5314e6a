"""Configures jax before its first computation, and tells how much memory there is."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from vae_jax.devices.lanes import Layout
from vae_jax.devices.pool import compute_in_batches, cores, keep_threads_free
from vae_jax.errors import UserError, tell
from vae_jax.files import user_cache
from vae_jax.memory import host_memory

CACHE_BYTES = 2_000_000_000
# What results depend on, whatever the environment says.
PINNED = {
    "jax_enable_x64": False,
    "jax_default_prng_impl": "threefry2x32",
    "jax_threefry_partitionable": True,
    "jax_random_seed_offset": 0,
}


def pin() -> None:
    """Sets what results depend on: the environment must not change the numbers of a config."""
    for name, value in PINNED.items():
        jax.config.update(name, value)


# Those that jax can set for one thread alone.
BY_THREAD: dict[str, Any] = {
    "jax_enable_x64": jax.enable_x64,
    "jax_default_prng_impl": jax.default_prng_impl,
    "jax_threefry_partitionable": jax.threefry_partitionable,
}


@contextlib.contextmanager
def pinned() -> Iterator[None]:
    """In this context, what `pin` sets is set, for this thread alone.

    The user's own settings stay as they are, for other threads and afterwards. A thread that is
    started in this context has the user's: it needs a context of its own.
    """
    with contextlib.ExitStack() as stack:
        for name, setting in BY_THREAD.items():
            stack.enter_context(setting(PINNED[name]))
        stack.enter_context(without_seed_offset())
        yield


@contextlib.contextmanager
def without_seed_offset() -> Iterator[None]:
    """In this context, seeds are what they say. jax can't set it by thread; nearly nobody does."""
    name = "jax_random_seed_offset"
    before = getattr(jax.config, name)
    if before == PINNED[name]:
        yield
        return
    jax.config.update(name, PINNED[name])
    try:
        yield
    finally:
        jax.config.update(name, before)


def refuse_without_devices() -> None:
    """Raises UserError if jax cannot compute here, such as on a GPU that is not there."""
    try:
        jax.device_put(0).block_until_ready()
    except Exception as error:  # AssertionError, RuntimeError, ...: by version and platform
        reason = (str(error).strip().splitlines() or ["no such device"])[0]
        settings = [f"{name}={os.environ[name]}" for name in DEVICE_CHOICES if name in os.environ]
        raise UserError(
            f"jax cannot compute with {' '.join(settings) or 'the devices of this machine'} "
            f"({reason}); {'unset it' if settings else 'JAX_PLATFORMS=cpu runs on the CPU'}"
        ) from error


# The environment's settings that choose devices.
DEVICE_CHOICES = ("JAX_PLATFORMS", "JAX_DEFAULT_DEVICE", "JAX_NUM_CPU_DEVICES", "XLA_FLAGS")


def use_cores() -> None:
    """Makes every core a device of its own, so that lanes run side by side on a CPU.

    The devices share one pool of threads, so a lane that runs alone uses all of it. Of no effect
    if jax has computed before.
    """
    setting = re.search(r"host_platform_device_count=(\d+)", os.environ.get("XLA_FLAGS", ""))
    if setting is None and "JAX_NUM_CPU_DEVICES" not in os.environ:
        try:
            jax.config.update("jax_num_cpu_devices", cores())
        except RuntimeError:  # jax has computed
            return
    devices = int(setting[1]) if setting else jax.config.jax_num_cpu_devices  # type: ignore[attr-defined]
    if devices > 1:
        keep_threads_free(devices)
        compute_in_batches()


def use_cache(wanted: bool = True) -> None:
    """Keeps compiled programs on disk: in JAX_COMPILATION_CACHE_DIR, or the user's cache folder.

    The user's cache folder is reduced to CACHE_BYTES first. jax's thresholds are lowered, as by
    default it does not keep fast compilations. If not `wanted`, or if there is no cache folder
    that can be written, neither this process nor those that it starts use a cache.
    """
    folder = cache_folder() if wanted else None
    if wanted and folder is None:
        tell(
            "compiled programs can't be kept here; set JAX_COMPILATION_CACHE_DIR to a folder that "
            "can be written"
        )
        wanted = False
    if not wanted:
        os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "0"
        jax.config.update("jax_enable_compilation_cache", False)
        return
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        assert folder is not None
        remove_oldest(folder, CACHE_BYTES)
        jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def cache_folder() -> Path | None:
    """The folder of compiled programs; None if it can't be written, or there is no home folder."""
    setting = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    if setting and "://" in setting:  # a bucket
        return Path(setting)
    if not setting:
        return user_cache()
    try:
        folder = Path(setting)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK | os.X_OK) else None


def remove_oldest(folder: Path, most: int) -> None:
    """Removes the oldest files, until the others have at most `most` bytes.

    Ignores the errors that come if another process removes or forbids a file at the same time.
    """
    with contextlib.suppress(OSError):
        entries = [(path.stat(), path) for path in folder.iterdir() if path.is_file()]
        total = sum(stat.st_size for stat, _ in entries)
        for stat, path in sorted(entries, key=lambda entry: entry[0].st_mtime_ns):
            if total <= most:
                break
            path.unlink(missing_ok=True)
            total -= stat.st_size


def device_memory(layout: Layout) -> int:
    """Bytes that one device of the layout may use."""
    stats = layout.mesh.devices.flat[0].memory_stats() or {}
    return stats.get("bytes_limit", host_memory())
