"""The product's score model as what a session's doubts come from: fitted on people's answers, never on the truth."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from autolabel.calibration import MIN_BAD, fit
from autolabel.calibrator import doubt
from autolabel.prediction_record import Predicted
from autolabel.skeleton import Skeleton
from pipelines.check import Checked
from pipelines.effort import Doubts
from pipelines.effort_review import Answers


@dataclass(frozen=True, eq=False)
class Calibrated:
    """Fits a calibrator on the poses that were answered and doubts all poses with it.

    The same answers are fitted once, as several ways to spend effort may start alike.

    Attributes:
        checked: N poses with their features, in the corpus's order. What the truth says of them is not read.
        skeleton: Of the poses.
        predicted: How they were predicted.
        seed: Of the fit.
        without: Evidence to leave out.
    """

    checked: Checked
    skeleton: Skeleton
    predicted: Predicted
    seed: int = 0
    without: frozenset[str] = frozenset()
    _fitted: dict[bytes, Doubts] = field(default_factory=dict[bytes, Doubts], repr=False)

    def __call__(self, answers: Sequence[Answers]) -> Doubts | None:
        """The doubts of all N poses; None where too few answers are of bad or of good poses."""
        judged = Checked.joined([self.answered(one) for one in answers])
        if min(int(judged.bad.sum()), int((~judged.bad).sum())) < MIN_BAD:
            return None
        key = b"".join(one.rows.tobytes() + one.xy.tobytes() for one in answers)
        if key not in self._fitted:
            fitted = fit(judged, skeleton=self.skeleton, predicted=self.predicted, seed=self.seed, without=self.without)
            said = doubt(fitted, self.checked.poses, self.checked.features, self.skeleton)
            self._fitted[key] = Doubts(said.p_bad, said.p_gross)
        return self._fitted[key]

    def answered(self, answers: Answers) -> Checked:
        """The network's poses beside what people made of them."""
        chosen = np.zeros(len(self.checked.poses), bool)
        chosen[answers.rows] = True
        order = np.argsort(answers.rows)  # a mask keeps the corpus's order
        mine, truth = self.checked.take(chosen), answers.truth[order]
        error = np.linalg.norm(mine.poses.xy - truth, axis=-1)
        return replace(
            mine,
            gross=answers.found.gross[order],
            bad=answers.found.bad[order],
            oks=answers.found.oks[order],
            truth=np.where(mine.scored[..., None], truth, np.nan),
            error=np.where(mine.scored, error, np.nan),
        )
