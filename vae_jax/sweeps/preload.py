"""What a Dask worker of this machine does when it starts."""

import os


def dask_setup(worker) -> None:
    """Leaves the terminal's process group: Ctrl-C is for the command, which lets workers save."""
    os.setpgrp()
