"""One command in several processes, through torchrun, which ``accelerate launch`` uses too."""

import os
import subprocess
import sys


def launched(processes: int) -> bool:
    """Run this command again in so many processes, unless this is one of them.

    Args:
        processes: How many; with 1 nothing is launched.

    Returns:
        Whether they ran; this process then has nothing left to do.

    Raises:
        SystemExit: They failed.
    """
    if processes == 1 or "RANK" in os.environ:  # torchrun's, of which this is a process
        return False
    options = ["--standalone", "--nproc-per-node", str(processes), "-m", "pipelines.cli"]
    command = [sys.executable, "-m", "torch.distributed.run", *options, *sys.argv[1:]]
    # Left to itself, torchrun gives each process one thread, and says so at length.
    threads = max(1, len(os.sched_getaffinity(0)) // processes)
    code = subprocess.run(command, env={"OMP_NUM_THREADS": str(threads), **os.environ}, check=False).returncode
    if code:
        raise SystemExit(code)
    return True
