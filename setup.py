"""What setup.cfg can't say: `configs` is in the package; README for a page outside of it."""

import configparser
import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent


def described(text: str, site: str) -> str:
    """README for a page that is not in this repository: links to `docs/` lead to the site.

    Links to files that the site does not have become plain text.
    """

    def to_site(found: re.Match) -> str:
        mark, words, name, kind, part = found.groups()
        if kind == "png":
            return f"{mark}[{words}]({site}/_images/{name}.png)"
        return f"{mark}[{words}]({site}/{name}.html{part or ''})"

    text = re.sub(r"(!?)\[([^]]*)\]\(docs/(\w+)\.(md|ipynb|png)(#[\w-]+)?\)", to_site, text)
    return re.sub(r"\[([^]]*)\]\((?!http)[^)]*\)", r"\1", text)


def site() -> str:
    """The address of the documentation."""
    parser = configparser.ConfigParser()
    parser.read(HERE / "setup.cfg")
    named = dict(re.findall(r"(\w+) = (\S+)", parser["metadata"]["project_urls"]))
    return named["Documentation"]


if __name__ == "__main__":
    setup(
        packages=[
            *find_packages(include=["vae_jax", "vae_jax.*"]),
            *(f"vae_jax.{name}" for name in find_packages(include=["configs", "configs.*"])),
        ],
        package_dir={"vae_jax.configs": "configs"},
        long_description=described((HERE / "README.md").read_text(encoding="utf-8"), site()),
        long_description_content_type="text/markdown",
    )
