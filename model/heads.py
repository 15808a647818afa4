"""What a network says besides the places of keypoints: whether they are there and seen, and how far the person goes."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LOOKS = 4
"""Places at which each keypoint looks at once: itself, its neighbours on the body, the end of the image."""

WHOLE_BOX_LOOKS = 16
"""Places that tell how far the person goes."""

CHANNELS = 128
"""Of what is found at all places, at most; narrower networks have fewer."""

INSIDE = 0.95
VISIBLE = 0.8
"""What an untaught head says of every keypoint: of labelled people, most are whole and most of each is seen."""


class Answers(NamedTuple):
    """What the heads of a network say of B crops.

    Attributes:
        heatmaps: (B,K,h,w), as :meth:`model.vitpose.ViTPose.forward` gives them.
        presence: (B,K,2) float32 logits of :class:`PresenceHead`, 0 beyond a sample's own keypoints; None
            for a network without presence heads.
        whole_box: (B,4) float32, see :class:`WholeBoxHead`; None for a network without it.
    """

    heatmaps: Tensor
    presence: Tensor | None
    whole_box: Tensor | None


class PresenceHead(nn.Module):
    """Features (B,D,Hp,Wp) -> logits (B,K,2): inside the image, and visible given that it is inside.

    With p and v their sigmoids, P(absent) = 1 - p, P(hidden) = p (1 - v), P(visible) = p v.

    Whether a joint was cut away cannot be read off where it is, because it is nowhere: it shows where the body meets
    the end of the image, which is black beyond. So each keypoint has learnt queries of its own that attend to all
    tokens, as an object query does (DETR, Carion et al., ECCV 2020); one hidden layer weighs what they found against
    each other, and two linear functions of it, also the keypoint's own, are the logits. For 17 keypoints it costs less
    than 3 % of the smallest networks' multiplications, and 0.3 % of ViTPose-S's.

    Args:
        width: Channels of a token, D.
        num_keypoints: K.
    """

    def __init__(self, width: int, num_keypoints: int) -> None:
        super().__init__()
        own = max(min(width, CHANNELS) // LOOKS, 1)
        channels = LOOKS * own
        self.queries = nn.Parameter(torch.empty(LOOKS, num_keypoints, own))
        self.keys = nn.Linear(width, channels)
        self.values = nn.Linear(width, channels)
        self.mix = nn.Linear(channels, channels)
        self.weight = nn.Parameter(torch.empty(num_keypoints, 2, channels))
        # Flat, because weight decay spares vectors, and would pull every prior to one half.
        self.bias = nn.Parameter(torch.empty(2 * num_keypoints))
        self._initialise()

    def forward(self, features: Tensor) -> Tensor:
        """Look and judge, in the parameters' precision whatever autocast says; logits are float32."""
        found = attended(features, self.queries, self.keys, self.values)
        with torch.autocast(_device_type(features), enabled=False):
            judged = F.gelu(self.mix(found))  # (B,K,C)
            logits = torch.einsum("bkc,kac->bka", judged, self.weight) + self.bias.view(-1, 2)
            return logits.float()

    def _initialise(self) -> None:
        """The answer does not depend on the image at first, so that a new head disturbs no encoder."""
        nn.init.normal_(self.queries)
        for layer in (self.keys, self.values, self.mix):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.weight)
        for answer, prior in enumerate((INSIDE, VISIBLE)):
            nn.init.constant_(self.bias[answer::2], math.log(prior / (1 - prior)))


class WholeBoxHead(nn.Module):
    """Features (B,D,Hp,Wp) -> (B,4): how far the whole person reaches from the middle of the crop.

    To the left, top, right and bottom, as the logarithm of the distance in half heights of the crop, whatever the image
    shows of the person (amodal completion: Kar et al., ICCV 2015). It is a reader of the encoder's features and
    does not teach it: no gradient goes back, so that on the same crops a network has the same keypoints with this head
    as without.

    ``WHOLE_BOX_LOOKS`` learnt queries attend to all tokens; one hidden layer judges what they found.

    Args:
        width: Channels of a token, D.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        own = max(min(width, CHANNELS) // WHOLE_BOX_LOOKS, 1)
        channels = WHOLE_BOX_LOOKS * own
        self.queries = nn.Parameter(torch.empty(WHOLE_BOX_LOOKS, 1, own))
        self.keys = nn.Linear(width, channels)
        self.values = nn.Linear(width, channels)
        self.mix = nn.Linear(channels, CHANNELS)
        self.judge = nn.Linear(CHANNELS, 4)
        nn.init.normal_(self.queries)

    def forward(self, features: Tensor) -> Tensor:
        """Look and judge, in the parameters' precision whatever autocast says; float32."""
        found = attended(features.detach(), self.queries, self.keys, self.values)  # (B,1,C)
        with torch.autocast(_device_type(features), enabled=False):
            return self.judge(F.gelu(self.mix(found[:, 0]))).float()


def attended(features: Tensor, queries: Tensor, keys: nn.Linear, values: nn.Linear) -> Tensor:
    """What queries (L,Q,C/L) find among the tokens of features (B,D,Hp,Wp), L looks side by side: (B,Q,C).

    In the queries' precision, whatever autocast says.
    """
    # Autocast does not know the device on which costs are counted.
    with torch.autocast(_device_type(features), enabled=False):
        tokens = features.to(queries.dtype).flatten(2).mT  # (B,N,D)
        split = (part(tokens).unflatten(2, (len(queries), -1)).transpose(1, 2) for part in (keys, values))
        found = F.scaled_dot_product_attention(queries.expand(len(tokens), -1, -1, -1), *split)
        return found.transpose(1, 2).flatten(2)


def _device_type(features: Tensor) -> str:
    return "cpu" if features.is_meta else features.device.type
