"""torchrun, without its tables and tracebacks when a process of the job fails or the job is stopped.

The process that failed says itself what is wrong, and :mod:`pipelines.launch`, which starts this, passes it on. What
is left to say is the exit code: that of the process which failed first, or 128 and the number of the signal that ended
it or the job.
"""

import logging
import signal
import sys
from collections.abc import Sequence


def torchrun(arguments: Sequence[str]) -> int:
    """Run a job.

    Args:
        arguments: As of ``torchrun``.

    Returns:
        The exit code.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main  # pyright: ignore[reportUnknownVariableType]  # torch leaves it untyped

    try:
        main(list(arguments))
    except ChildFailedError as error:
        code = error.get_first_failure()[1].exitcode
        return code if code > 0 else 128 - code
    except SignalException as error:
        return 128 + error.sigval
    return 0


if __name__ == "__main__":
    # Until torchrun handles signals no process of the job runs, and there is nothing to tell a person of.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    logging.disable(logging.CRITICAL)
    sys.exit(torchrun(sys.argv[1:]))
