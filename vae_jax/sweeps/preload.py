"""What a Dask worker of this machine does when it starts."""

import os
from typing import Any


def dask_setup(worker: Any) -> None:
    """Leaves the terminal's process group: Ctrl-C is for the command, which lets workers save."""
    os.setpgrp()
