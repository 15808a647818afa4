"""What a network says of its keypoints besides their places: whether they are there, and whether they are seen."""

import torch
from torch import Tensor, nn


class PresenceHead(nn.Module):
    """Features (B,D,Hp,Wp) -> logits (B,K,2): inside the image, and visible given that it is inside.

    Each keypoint looks for its own evidence: a learnt query weighs the tokens, and two linear functions of the mean
    token that results give the logits. With p and v their sigmoids, P(absent) = 1 - p, P(hidden) = p (1 - v),
    P(visible) = p v.
    """

    def __init__(self, width: int, num_keypoints: int) -> None:
        super().__init__()
        self.scale = width**-0.5
        self.queries = nn.Parameter(torch.empty(num_keypoints, width))
        self.weight = nn.Parameter(torch.empty(num_keypoints, 2, width))
        self.bias = nn.Parameter(torch.zeros(num_keypoints, 2))
        nn.init.trunc_normal_(self.queries, std=0.02)
        nn.init.trunc_normal_(self.weight, std=0.02)

    def forward(self, features: Tensor) -> Tensor:
        """Look and judge; float32 whatever the features are."""
        tokens = features.flatten(2)  # (B,D,N)
        looks = (self.queries @ tokens * self.scale).softmax(dim=-1)  # (B,K,N)
        found = looks.to(tokens.dtype) @ tokens.mT  # (B,K,D)
        return torch.einsum("bkd,kcd->bkc", found, self.weight.to(found.dtype)).float() + self.bias.float()
