"""What setup.cfg can't say: the folder `configs` is a part of the installed package."""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["vae_jax", "vae_jax.*"]),
        *(f"vae_jax.{name}" for name in find_packages(include=["configs", "configs.*"])),
    ],
    package_dir={"vae_jax.configs": "configs"},
)
