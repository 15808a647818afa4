"""``autolabel weights verify``: whether released weights predict what was published of them."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autolabel.errors import InputError
from autolabel.images import read_image
from autolabel.progress import SILENT, Progress
from pipelines.console import aligned

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from model.golden import Compared
    from model.released import Release
    from model.vitpose import ViTPose


@dataclass(frozen=True)
class WeightsVerified:
    """Whether a network predicts what was published.

    Attributes:
        release: Id of the release that it was compared with.
        told_by: How that was known: ``name``, ``shape`` or ``--as``.
        compared: The numbers.
    """

    release: str
    told_by: str
    compared: "tuple[Compared, ...]"

    @property
    def ok(self) -> bool:
        """Whether all agree."""
        return all(row.ok for row in self.compared)

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        rows = {
            row.name: {"expected": row.expected, "found": row.found, "difference": row.difference, "ok": row.ok}
            for row in self.compared
        }
        return {"release": self.release, "told_by": self.told_by, "ok": self.ok, **rows}

    def table(self) -> str:
        """Expected, found, difference, ok."""
        head = (self.release, "expected", "found", "difference", "ok")
        rows = [
            (row.name, f"{row.expected:.4f}", f"{row.found:.4f}", f"{row.difference:+.4f}", "yes" if row.ok else "NO")
            for row in self.compared
        ]
        return aligned([head, *rows])


ADVICE = (
    "These weights do not predict what was published. Check: that they are this release and not another training "
    "(--as names the release); that the download is whole; that no conversion lost a tensor (convert again from the "
    "file as released). Tens of pixels mean another head or other weights, some tenths another crop or decoding."
)


def weights_verify(
    weights: str | Path,
    *,
    image: str | Path,
    dataset: str | None = None,
    as_: str | None = None,
    progress: Progress = SILENT,
) -> WeightsVerified:
    """Compare a released network with the published nose of one person.

    Predicts as the official pipeline does: mirrored image too, fp32, on the CPU. The tolerance is the porters' 0.05.

    Args:
        weights: Anything ``model.checkpoint.load_model`` reads.
        image: COCO's ``val2017/000000000139.jpg``.
        dataset: Head of a ViTPose++; only COCO's has published values.
        as_: Id of the release it should be, where its name or shape does not tell.
        progress: Where to report; says what to check when the values differ.

    Raises:
        InputError: Another image, or a release without published values.
        CheckpointError: As ``load_model``.
    """
    from model.checkpoint import load_model
    from model.golden import compare

    pixels = _golden_image(Path(image))
    model = load_model(weights, dataset=dataset)
    if "nose" not in model.skeleton.keypoints or model.config.datasets[:1] not in ((), ("coco",)):
        raise InputError(
            f"predicts {model.skeleton.name}: values were published for COCO's keypoints only",
            subject=str(weights),
            remedy="Verify COCO's head: leave --dataset out, or --dataset coco.",
        )
    release, told_by = _meant(str(weights), as_, model)
    assert release.golden is not None
    result = WeightsVerified(release.id, told_by, compare(model, pixels, release.golden))
    if not result.ok:
        progress.note(ADVICE)
    return result


def _golden_image(path: Path) -> "NDArray[np.uint8]":
    from model.golden import IMAGE, IMAGE_SHA256, IMAGE_SIZE

    pixels = read_image(path)
    what = f"COCO's val2017/{IMAGE}"
    remedy = f"Give {what} as COCO distributes it: the values were published for it."
    if (size := pixels.shape[1::-1]) != IMAGE_SIZE:
        sizes = f"{size[0]}x{size[1]}, {what} is {IMAGE_SIZE[0]}x{IMAGE_SIZE[1]}"
        raise InputError(f"is {sizes}", subject=str(path), remedy=remedy)
    if hashlib.sha256(path.read_bytes()).hexdigest() != IMAGE_SHA256:
        raise InputError(f"is not {what} byte for byte", subject=str(path), remedy=remedy)
    return pixels


def _meant(weights: str, named: str | None, model: "ViTPose") -> "tuple[Release, str]":
    """The release to compare with, and how that is known."""
    from model.released import differs_from, find_release, golden_by_shape, with_golden

    known = {release.id: release for release in with_golden()}
    if named is not None:
        found = next((r for key, r in known.items() if named in (key, key.rpartition("/")[2])), None)
        told_by = "--as"
    elif (found := find_release(weights)) is not None:
        told_by = "name"
    else:
        found, told_by = golden_by_shape(model.config), "shape"
    if found is None or found.golden is None:
        release = named or (found.id if found else "")
        raise InputError(
            f"nothing was published to compare {release} with" if release else "its name and shape tell no release",
            subject=weights,
            remedy=f"Say with --as which release it is: {', '.join(known)}.",
        )
    if wrong := differs_from(found, model.config):
        raise InputError(
            f"is {wrong}: it is not {found.id}",
            subject=weights,
            remedy=f"Say with --as which release it is: {', '.join(known)}.",
        )
    return found, told_by
