"""How the poses of a manifest were predicted, as a small file beside them.

A calibrator turns features into probabilities for one network that was used in one way. Where any of that changes, the
same features mean something else. So ``predict`` writes ``prediction.json`` into its manifest's folder, and what reads
features compares it with what it was fitted on. The file is no part of the manifest's digest, as features are none.

Where several networks placed the poses of one manifest, as in a cascade, each has its record, and a pose's ``by`` says
which one it is of.
"""

import json
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import SerializerFunctionWrapHandler, model_serializer

from autolabel.errors import ConfigError, ManifestError
from autolabel.manifest import write_text
from autolabel.settings import Settings

PREDICTION = "prediction.json"
UNKNOWN: Final = "unknown"


class Predicted(Settings):
    """How poses were predicted.

    Attributes:
        model: The first digits of the network's digest, which its poses are signed with (``by``).
        flip_test: The mirrored crop was predicted too.
        larger_crop: People whom their crop, or the image, seemed to cut were looked at again.
        jitter: People of whom the network was half sure were looked at in slightly other crops.
        quality: Digest of the quality head; empty without one.
        input_size: (H, W) of the crops; None where nobody wrote it down, as the ``unknown`` of others.
        precision: ``fp32``, ``bf16`` or ``fp16``; what ``auto`` came to.
        backend: What computed.
        device: Kind of device, such as ``cpu`` or ``cuda``.
        boxes: Who gave the boxes: the manifest, a file, a detector, or nobody, where every image is one person.
        others: How further networks predicted that placed some of the poses, as a cascade's teacher did. The embeddings
            are of the first network all the same.
    """

    model: str
    flip_test: bool
    larger_crop: bool
    jitter: bool = False
    quality: str = ""
    input_size: tuple[int, int] | None = None
    precision: str = UNKNOWN
    backend: str = "torch"
    device: str = UNKNOWN
    boxes: Literal["manifest", "file", "detector", "whole-image", "unknown"] = UNKNOWN
    others: tuple["Predicted", ...] = ()

    @model_serializer(mode="wrap")
    def _without_nobody(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Say nothing of others where there are none, so that the record of one network keeps its digest."""
        record: dict[str, Any] = handler(self)
        return record if self.others else {name: value for name, value in record.items() if name != "others"}

    @property
    def each(self) -> tuple["Predicted", ...]:
        """A record for each network, the first one's first."""
        return (self.model_copy(update={"others": ()}), *self.others)

    @classmethod
    def read(cls, folder: str | Path) -> Self | None:
        """How the poses of a manifest's folder were predicted; None where nobody wrote it down.

        Raises:
            ManifestError: The file is damaged.
        """
        path = Path(folder) / PREDICTION
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            return cls.parse(record, subject=str(path))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, ConfigError) as error:
            message = error.message if isinstance(error, ConfigError) else repr(error)
            raise ManifestError(
                f"is damaged: {message}", subject=str(path), remedy="Predict again, with --overwrite."
            ) from error

    def write(self, folder: str | Path) -> Path:
        """Write it into a manifest's folder, all of it or nothing, and say where."""
        path = Path(folder) / PREDICTION
        write_text(path, json.dumps(self.model_dump(mode="json"), indent=2) + "\n")
        return path


def carry_over(source: str | Path, out: str | Path) -> None:
    """Copy the record along with the features, from one manifest's folder to another's; nothing where there is none.

    Raises:
        ManifestError: The file is damaged.
    """
    if (how := Predicted.read(source)) is not None:
        how.write(out)
