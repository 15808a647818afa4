"""The paper's knowledge token (``vitpose.md`` 4.8): what a teacher has to tell in one token, given to its student.

The token is appended to the patches' tokens of the frozen teacher and alone is tuned, until the teacher does best with
it; then it is frozen and appended to the student's. The paper leaves open how it fits a student of another width. Here
it is selected like every other layer of a student that is a part of its teacher (:mod:`model.slicing`). A linear map
that is learnt with the student would not do: of one fixed vector it makes any other, so that nothing of the teacher
would be left in it (decision 0014).
"""

import torch
from torch import Tensor

from autolabel.errors import ConfigError
from model.checkpoint import assemble
from model.layouts import Weights
from model.positions import adapted
from model.slicing import evenly_spaced
from model.vitpose import ViTPose


def with_token(model: ViTPose, *, seed: int) -> ViTPose:
    """A copy of a network with a token that was not tuned yet; without stochastic depth.

    Args:
        model: Plain; not changed.
        seed: Of the token.

    Raises:
        ConfigError: It has a token already, or attends within windows, where a token has no place.
    """
    if model.config.knowledge:
        raise ConfigError(
            "has the token of its own teacher already, and a student gets one",
            subject="teacher",
            remedy="Leave [knowledge] out, or take a teacher without.",
        )
    tensors = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
    changes = {"knowledge": True, "drop_path": 0.0}
    return assemble(adapted(Weights(model.config, model.skeletons, tensors), changes, "teacher", seed=seed), "teacher")


@torch.no_grad()
def give_token(student: ViTPose, token: Tensor) -> None:
    """Put a teacher's token in a student's place for it.

    Args:
        student: With a place for a token; its width is at most the teacher's.
        token: (1, 1, D of the teacher).

    Raises:
        ConfigError: The student is wider than its teacher.
    """
    assert student.knowledge is not None
    width, own = token.shape[2], student.knowledge.shape[2]
    if own > width:
        raise ConfigError(
            f"is {own} wide, and its teacher's token {width}: there is nothing to take the rest from",
            subject="student",
            remedy="Make it no wider than its teacher, or leave [knowledge] out.",
        )
    student.knowledge.copy_(token[:, :, evenly_spaced(width, own)])
