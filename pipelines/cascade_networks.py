"""A cascade's two networks, each with the calibrator that says what it doubts.

A calibrator is valid for one network that predicts in one way. So each network predicts in the way that its calibrator
was fitted for, and everything that would not fit in the end is refused before anything is predicted.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from autolabel.calibrator import Calibrator
from autolabel.errors import CheckpointError, InputError
from autolabel.prediction_record import UNKNOWN
from autolabel.progress import SILENT, Progress
from autolabel.skeleton import Skeleton
from pipelines.calibrate import quality_file
from pipelines.distill_doubt import CALIBRATOR
from pipelines.predict import PredictResult, predict
from pipelines.score import AGAINST

if TYPE_CHECKING:
    from model.vitpose import ViTPose

Boxes = Literal["manifest", "file", "whole-image"]


@dataclass(frozen=True)
class Manner:
    """How a network predicts where no calibrator says.

    Attributes:
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: ``auto``: as the calibrator was fitted.
        flip_test: Predict the mirrored crop too.
        batch_size: Crops a batch.
    """

    device: str = "auto"
    precision: str = "auto"
    flip_test: bool = False
    batch_size: int = 32


@dataclass(frozen=True)
class Labeller:
    """One of the two networks.

    Attributes:
        weights: Anything ``model.checkpoint.load_model`` reads.
        dataset: Expert and head of a ViTPose++.
        digest: Of the network.
        skeleton: Of the poses that it gives.
        file: Its calibrator's file.
        calibrator: What stands there; None where there is none.
        quality: The file of the quality head that the calibrator was fitted with.
    """

    weights: str
    dataset: str | None
    digest: str
    skeleton: Skeleton
    file: Path | None = None
    calibrator: Calibrator | None = None
    quality: Path | None = None

    @classmethod
    def read(
        cls, weights: str | Path, file: str | Path | None, manner: Manner, *, boxes: Boxes, dataset: str | None = None
    ) -> "Labeller":
        """Read a network and its calibrator.

        Args:
            weights: The network.
            file: Its calibrator; None for the one in its folder, where there is one. The quality head that it was
                fitted with lies beside it.
            manner: How it is to predict.
            boxes: Who gives the boxes.
            dataset: Expert and head of a ViTPose++.

        Raises:
            CheckpointError: There is no such network, or no such quality head.
            ConfigError: There is no such calibrator.
            InputError: The calibrator is for another network, another precision or other boxes.
        """
        from model.checkpoint import load_model, model_digest

        model = load_model(weights, dataset)
        network = cls(str(weights), dataset, model_digest(model), model.skeleton)
        beside = Path(weights) / CALIBRATOR
        file = beside if file is None and beside.is_file() else file
        if file is None:
            return network
        calibrator, head = Calibrator.read(file), quality_file(Path(file))
        judged = bool(calibrator.predicted.quality)
        wanted = {"model": network.by, "boxes": boxes, "quality": _head_digest(head, model) if judged else ""}
        if manner.precision != "auto":
            wanted["precision"] = manner.precision
        _require_fits(calibrator, Path(file), network, wanted)
        return replace(network, file=Path(file), calibrator=calibrator, quality=head if judged else None)

    @property
    def by(self) -> str:
        """What its poses are signed with."""
        return self.digest[:12]

    def predict(
        self,
        source: Path,
        out: Path,
        manner: Manner,
        *,
        boxes: str | Path | None = None,
        boxes_images: str | Path | None = None,
        progress: Progress = SILENT,
    ) -> PredictResult:
        """Label a manifest, as the calibrator was fitted; goes on where it was stopped.

        Args:
            source: The manifest.
            out: Where the poses go.
            manner: How, where no calibrator says.
            boxes: As ``predict`` takes them.
            boxes_images: As ``predict`` takes them.
            progress: Where to report.
        """
        how = self.calibrator.predicted if self.calibrator is not None else None
        precision = manner.precision
        if precision == "auto" and how is not None and how.precision != UNKNOWN:
            precision = how.precision
        return predict(
            source,
            weights=self.weights,
            out=out,
            dataset=self.dataset,
            boxes=boxes,
            boxes_images=boxes_images,
            device=manner.device,
            precision=precision,
            backend="auto" if how is None else how.backend,
            flip_test=manner.flip_test if how is None else how.flip_test,
            larger_crop=how is None or how.larger_crop,
            jitter=how is not None and how.jitter,
            quality=self.quality,
            batch_size=manner.batch_size,
            progress=progress,
        )


def _head_digest(file: Path, model: "ViTPose") -> str:
    """Of the quality head beside a calibrator.

    Raises:
        CheckpointError: There is none, or it is another network's.
    """
    from model.quality import load_quality, quality_digest

    if not file.is_file():
        raise CheckpointError(
            "is not there, and the calibrator was fitted to what it says",
            subject=str(file),
            remedy="Put the quality head beside its calibrator, or fit both anew: `autolabel calibrate --weights`.",
        )
    return quality_digest(load_quality(file, model))


def _require_fits(calibrator: Calibrator, file: Path, network: Labeller, wanted: Mapping[str, str]) -> None:
    """Refuse what could not be scored after everything was predicted.

    Raises:
        InputError: Says in what the calibrator differs.
    """
    will_be = calibrator.predicted.model_copy(update=wanted)
    try:
        calibrator.require_fits(will_be, network.skeleton, calibrator.uses - {AGAINST})
    except InputError as error:
        raise InputError(
            error.message,
            subject=str(file),
            remedy=f"Fit one for {network.weights}, predicted in this way: `autolabel calibrate`.",
        ) from error
