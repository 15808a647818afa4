"""The errors autolabel raises on purpose.

    AutolabelError              exit code 1
    ├── InputError              exit code 2: what was given is wrong, nothing was done
    │   ├── SkeletonError       names, edges, flip pairs or sigmas that contradict each other
    │   ├── PosesError          arrays of poses whose shapes or values contradict each other
    │   ├── ManifestError       a manifest folder that is missing, unfinished or damaged
    │   ├── FormatError         a file of another tool; carries ``record`` and ``field``
    │   ├── ImageError          an image that cannot be read
    │   ├── CheckpointError     weights that do not fit, or are ambiguous
    │   ├── ConfigError         an unknown or impossible setting
    │   └── ExistsError         a result that stands already and may not be overwritten
    └── WorkError               exit code 1: the input was fine, the work failed
        ├── LostServerError     a server does not answer now; trying again later may help
        └── UnsureError         a request was sent, and nobody can tell whether it was done

Every message says what is wrong; ``subject`` says where, ``remedy`` what to do next.
"""


class AutolabelError(Exception):
    """Base of all errors that the product raises on purpose.

    Args:
        message: What is wrong, without a trailing full stop.
        subject: The file, record or setting it is about.
        remedy: What the user can do next.
    """

    exit_code = 1

    def __init__(self, message: str, *, subject: str | None = None, remedy: str | None = None) -> None:
        self.message = message
        self.subject = subject
        self.remedy = remedy
        super().__init__(message)

    def __str__(self) -> str:
        """One line: where, what, and what to do."""
        # A file's name may hold a line break; the message is one line all the same.
        where = "{}: ".format(self.subject.replace("\n", "\\n")) if self.subject else ""
        stop = "" if self.message.endswith((".", "…", "!", "?")) else "."  # others' words may bring their own
        then = f"{stop} {self.remedy}" if self.remedy else ""
        return f"{where}{self.message}{then}"


class InputError(AutolabelError):
    """What the user gave is wrong; nothing was done."""

    exit_code = 2


class SkeletonError(InputError):
    """A skeleton that contradicts itself, or two skeletons that may not be mixed."""


class PosesError(InputError):
    """Arrays of poses with wrong shapes or impossible values."""


class ManifestError(InputError):
    """A manifest folder that is missing, unfinished or damaged."""


class FormatError(InputError):
    """A malformed file of another tool.

    Args:
        message: What is wrong.
        record: Which record of the file, such as ``annotations[12]``.
        field: Which field of the record.
        subject: The file.
        remedy: What the user can do next.
    """

    def __init__(
        self,
        message: str,
        *,
        record: str | None = None,
        field: str | None = None,
        subject: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.record = record
        self.field = field
        place = ".".join(part for part in (record, field) if part)
        super().__init__(f"{place}: {message}" if place else message, subject=subject, remedy=remedy)


class ImageError(InputError):
    """An image that cannot be read.

    Args:
        message: What is wrong.
        reason: The kind of trouble in a word that can be counted (``autolabel.images.Reason``).
        subject: The file.
        remedy: What the user can do next.
    """

    def __init__(
        self, message: str, *, reason: str = "", subject: str | None = None, remedy: str | None = None
    ) -> None:
        self.reason = reason
        super().__init__(message, subject=subject, remedy=remedy)


class CheckpointError(InputError):
    """Weights that do not fit the network, or that are ambiguous."""


class ConfigError(InputError):
    """An unknown or impossible setting."""


class ExistsError(InputError):
    """A result stands already and the call was not told to overwrite it."""


class WorkError(AutolabelError):
    """The input was fine, the work failed."""


class LostServerError(WorkError):
    """A server that does not answer, or is too busy or broken to: trying again later may help."""


class UnsureError(WorkError):
    """A request that may not be repeated was sent, and nobody can tell whether it was done: look before going on."""
