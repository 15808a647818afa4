"""What a network of the loop is calibrated on: checked poses that nothing was learnt from, as it places them.

They are ``corpus.calibration`` and the answers that rounds drew at random. Where a student labels the corpus, and its
teacher whom the student doubts, both are asked about just these poses, and each gets a calibrator of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autolabel.calibrator import Calibrator
from autolabel.manifest import Manifest
from pipelines import calibrate
from pipelines.check import Checked, check
from pipelines.loop_predict import predicted_with
from pipelines.loop_state import Loop, to_calibrate_on
from pipelines.predicted import predicted_how
from pipelines.subset import with_poses


@dataclass(frozen=True)
class Drawn:
    """Answers of random draws.

    Attributes:
        boxes: Their boxes, under the poses' ids, as round 0 has them.
        truth: What people said.
    """

    boxes: Manifest
    truth: Manifest


def drawn_to_calibrate(loop: Loop, n: int, pulled: Manifest) -> Drawn | None:
    """The answers of random draws that round ``n`` calibrates on; None while there are none.

    Args:
        loop: The loop.
        n: The round.
        pulled: All answers so far.
    """
    mine, here = to_calibrate_on(loop, pulled), loop.round(n)
    if not mine:
        return None
    everything = Manifest.open(loop.round(0) / "predicted")
    boxes = with_poses(everything, mine, out=here / "drawn", stage="select")
    return Drawn(boxes, with_poses(pulled, mine, out=here / "checked", stage="select"))


def calibrated(loop: Loop, weights: str, drawn: Drawn | None, *, places: Mapping[str, Path]) -> Calibrator | None:
    """A network's calibrator; None while too few checked poses are bad, or good.

    Args:
        loop: The loop.
        weights: The network.
        drawn: Answers of random draws.
        places: Where what it says of ``calibration`` and of ``drawn`` is kept.
    """
    pairs = list[tuple[Manifest, Manifest]]()
    if held := loop.manifest(loop.project.corpus.calibration):
        pairs.append((predicted_with(loop, weights, held.path, places["calibration"]), held))
    if drawn is not None and drawn.boxes.counts["poses"]:
        pairs.append((predicted_with(loop, weights, drawn.boxes.path, places["drawn"]), drawn.truth))
    if not pairs:
        return None
    everything = Checked.joined([check(predicted, truth) for predicted, truth in pairs])
    if not calibrate.enough(everything):
        return None
    predicted = pairs[0][0]
    how, seed = predicted_how(predicted), loop.project.rounds.seed
    return calibrate.fit(everything, skeleton=predicted.skeleton, how=how, seed=seed)
