"""One command in several processes, through torchrun, which ``accelerate launch`` uses too."""

import os
import subprocess
import sys
from collections.abc import Sequence

from autolabel.errors import WorkError


def is_launched() -> bool:
    """Whether this is one of several processes that torchrun started."""
    return "RANK" in os.environ


def launch(arguments: Sequence[str], processes: int) -> None:
    """Run a command of ours in several processes on this machine; they report on stderr.

    Args:
        arguments: What follows ``autolabel``.
        processes: How many.

    Raises:
        WorkError: One of them failed.
    """
    options = ["--standalone", "--nproc-per-node", str(processes), "-m", "pipelines.cli"]
    command = [sys.executable, "-m", "torch.distributed.run", *options, *arguments]
    # Left to itself, torchrun gives each process one thread, and says so at length.
    threads = max(1, len(os.sched_getaffinity(0)) // processes)
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ}
    if subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False).returncode:
        raise WorkError(
            f"one of the {processes} processes failed, and said why above",
            subject=arguments[0],
            remedy="The same command goes on from the last saved state.",
        )
