"""What a network says besides the places of keypoints: are they there and seen, how far a person goes, is it right."""

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

QUALITY_CHANNELS = 32
"""What is kept of each token."""

QUALITY_HIDDEN = 96
"""Width of the judgement."""

DROPOUT = 0.1

NUMBERS = 4
"""Numbers about a place, besides the features: x and y in the crop, the person's size in pixels and in the crop."""

_AROUND = 3  # a side of the patch of places, a token apart, at which a keypoint's features are read
_BEYOND = 1.5  # places farther from the middle than this many halves of the crop tell nothing more


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
        own = own_channels(width, LOOKS)
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
        own = own_channels(width, WHOLE_BOX_LOOKS)
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


class QualityHead(nn.Module):
    """Features (B,D,Hp,Wp) and V poses each -> logits of similarity (B,V,K), gross (B,V,K) and bad (B,V).

    Each token is reduced to ``QUALITY_CHANNELS`` numbers. A keypoint reads them at its place and a token around, a
    keypoint's own gain and offset say what they should be like, and what all keypoints of the pose found is weighed in.
    No gradient goes back to the features. What the head learns from, and its file, are in :mod:`model.quality`.

    Args:
        width: Channels of a token, D.
        num_keypoints: K.

    Attributes:
        mean: (D,) subtracted from each token, of the poses that it learns from.
        spread: (D,) divided by.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, width: int, num_keypoints: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("spread", torch.ones(width))
        self.read = nn.Linear(width, QUALITY_CHANNELS)
        self.patch = nn.Linear(_AROUND * _AROUND * QUALITY_CHANNELS, QUALITY_HIDDEN)
        self.whole = nn.Linear(QUALITY_CHANNELS, QUALITY_HIDDEN)
        self.numbers = nn.Linear(NUMBERS, QUALITY_HIDDEN)
        self.gain = nn.Parameter(torch.ones(num_keypoints, QUALITY_HIDDEN))
        self.offset = nn.Parameter(torch.empty(num_keypoints, QUALITY_HIDDEN))
        self.mix = nn.Linear(QUALITY_HIDDEN, QUALITY_HIDDEN)
        self.others = nn.Linear(QUALITY_HIDDEN, QUALITY_HIDDEN, bias=False)
        self.place = nn.Linear(QUALITY_HIDDEN, 2)
        self.pose = nn.Sequential(
            nn.Linear(3 * QUALITY_HIDDEN, QUALITY_HIDDEN), nn.GELU(), nn.Linear(QUALITY_HIDDEN, 1)
        )
        self.dropout = nn.Dropout(DROPOUT)
        nn.init.normal_(self.offset, std=0.5)

    @property
    def num_keypoints(self) -> int:
        """K."""
        return len(self.gain)

    def forward(self, features: Tensor, at: Tensor, size: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Judge, in float32 whatever autocast says.

        Args:
            features: (B, D, Hp, Wp) of the encoder, in any precision.
            at: (B, V, K, 2) x and y of each place as fractions of the crop; NaN where there is none.
            size: (B, 2) of :func:`model.quality.person_size`.

        Returns:
            Logits, without meaning where there is no place.
        """
        with torch.autocast(features.device.type, enabled=False):
            known = at.isfinite().all(dim=-1)
            middle = torch.where(known[..., None], 2 * at - 1, 0.0).float().clamp(-_BEYOND, _BEYOND)
            tokens = self.read((features.detach().float().permute(0, 2, 3, 1) - self.mean) / self.spread)  # (B,Hp,Wp,C)
            whole = F.gelu(self.whole(tokens.mean(dim=(1, 2))))[:, None]  # (B,1,H)
            numbers = torch.cat([middle, size[:, None, None].expand(*middle.shape[:-1], -1)], dim=-1)
            seen = self.patch(_around(tokens, middle)) * self.gain + self.offset
            found = F.gelu(seen + self.numbers(numbers) + whole[:, :, None])  # (B,V,K,H)
            count = known.sum(dim=-1, keepdim=True).clamp_min(1)
            mean = (found * known[..., None]).sum(dim=2) / count  # (B,V,H)
            judged = F.gelu(self.mix(self.dropout(found)) + self.others(mean)[:, :, None])
            similarity, gross = self.place(self.dropout(judged)).unbind(-1)
            average = (judged * known[..., None]).sum(dim=2) / count
            most = torch.where(known[..., None], judged, 0.0).amax(dim=2)
            pose = torch.cat([average, most, whole.expand_as(average)], dim=-1)
            return similarity, gross, self.pose(self.dropout(pose))[..., 0]


def _around(tokens: Tensor, middle: Tensor) -> Tensor:
    """(B,V,K,9C) of tokens (B,Hp,Wp,C) at places (B,V,K,2), -1..1 over the crop, and one token around; 0 beyond."""
    height, width = tokens.shape[1:3]
    steps = torch.arange(_AROUND, device=tokens.device) - _AROUND // 2
    y, x = torch.meshgrid(steps * 2 / height, steps * 2 / width, indexing="ij")
    places = middle.flatten(1, 2)[:, :, None] + torch.stack([x, y], dim=-1).flatten(0, 1)  # (B,VK,9,2)
    read = F.grid_sample(tokens.permute(0, 3, 1, 2), places, align_corners=False)  # (B,C,VK,9)
    return read.permute(0, 2, 3, 1).flatten(2).unflatten(1, middle.shape[1:3])


def own_channels(width: int, looks: int) -> int:
    """How many channels each of so many looks at tokens of ``width`` channels has."""
    return max(min(width, CHANNELS) // looks, 1)


def attended(features: Tensor, queries: Tensor, keys: nn.Linear, values: nn.Linear) -> Tensor:
    """What queries (L,Q,C/L) find among the tokens of features (B,D,Hp,Wp), L looks side by side: (B,Q,C).

    In the queries' precision, whatever autocast says.
    """
    # Autocast does not know the device on which costs are counted.
    with torch.autocast(_device_type(features), enabled=False):
        tokens = features.to(queries.dtype).flatten(2).transpose(1, 2)  # (B,N,D)
        split = (part(tokens).unflatten(2, (len(queries), -1)).transpose(1, 2) for part in (keys, values))
        found = F.scaled_dot_product_attention(queries.expand(tokens.shape[0], -1, -1, -1), *split)
        return found.transpose(1, 2).flatten(2)


def _device_type(features: Tensor) -> str:
    return "cpu" if features.is_meta else features.device.type
