"""Runs the tutorial, and saves it with its outputs: `python docs/run_tutorial.py`.

It needs `pip install -e '.[docs]'`. tests/test_tutorial.py compares what is saved with a new run.
"""

import hashlib
import os
import re
import sys
import tempfile
from pathlib import Path

TUTORIAL = Path(__file__).parent / "tutorial.ipynb"
PROGRESS = (
    r"(: step [\d,]+ of |^step [\d,]+ of |: about \d|, about \d|: \d+ s so far"
    r"|: [\d,]+ of [\d,]+ images)"
)
RAN = "ran_code_sha256"  # in the notebook's metadata: the code that gave its outputs


def code_of(cells) -> list[str]:
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def checksum(cells) -> str:
    return hashlib.sha256("\0".join(code_of(cells)).encode()).hexdigest()


def without_progress(text: str) -> str:
    """What a command printed, without the lines that say how far it is: they come by the clock."""
    return re.sub(rf"^.*{PROGRESS}.*\n", "", text, flags=re.MULTILINE)


def executed(path: Path = TUTORIAL):
    """The notebook after a run of all its cells, in an empty folder."""
    import nbformat
    from nbclient import NotebookClient

    book = nbformat.read(path, 4)
    commands = Path(sys.executable).parent  # vae-jax
    os.environ["PATH"] = f"{commands}{os.pathsep}{os.environ['PATH']}"
    os.environ["COLUMNS"] = "120"  # of the tables; some versions of IPython make a terminal of 80
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        NotebookClient(book, timeout=600, kernel_name="python3", resources=resources).execute()
    for cell in book.cells:
        cell.metadata.pop("execution", None)  # times of day
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                output.text = without_progress(output.text)
    kept = {name: book.metadata.language_info[name] for name in ("name", "pygments_lexer")}
    book.metadata.language_info = kept
    book.metadata[RAN] = checksum(book.cells)
    return book


if __name__ == "__main__":
    import nbformat

    nbformat.write(executed(), TUTORIAL)
