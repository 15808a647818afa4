"""Constants have the type that is asked for, are made once, and serve training after prediction."""

import torch

from model.constant import constant


def test_type_and_numbers() -> None:
    for dtype in (torch.float32, torch.float64, torch.int64, torch.bool):
        found = constant((0.0, 1.0), torch.zeros(3, dtype=dtype))
        assert torch.equal(found, torch.tensor([0, 1], dtype=dtype))
        assert constant((0.0, 1.0), torch.ones(1, dtype=dtype)) is found


def test_made_in_prediction_and_used_in_training() -> None:
    with torch.inference_mode():
        found = constant((2.0, 7.5), torch.zeros(1))
    weight = torch.ones(2, requires_grad=True)
    (weight * found).sum().backward()
    assert torch.equal(weight.grad, found)  # type: ignore[arg-type]
