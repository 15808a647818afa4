"""One draw of a batch of people: their random crops, and what these teach each head."""

from dataclasses import dataclass

from torch import Tensor

from autolabel.skeleton import Skeleton
from model.augment import Augmentation, Augmented, augment
from model.config import Codec
from model.constant import constant
from model.data import PoseBatch
from model.draws import RandomNumbers
from model.targets import Targets, targets
from model.vitpose import ViTPose


@dataclass(frozen=True)
class Lesson:
    """B crops and what they teach.

    Attributes:
        crops: Normalised crops (B, 3, H, W) with their keypoints.
        targets: Heatmaps, presence, and the weights of both.
        dataset: (B,) the head that each teaches.
        keypoints: (B,) K of that head's skeleton; what is beyond it in the padded arrays does not exist.
        skeletons: Of the heads.
    """

    crops: Augmented
    targets: Targets
    dataset: Tensor
    keypoints: Tensor
    skeletons: tuple[Skeleton, ...]


def lesson(model: ViTPose, batch: PoseBatch, how: Augmentation, draws: RandomNumbers) -> Lesson:
    """Draw crops of a batch for a network, on the batch's device.

    Args:
        model: Tells sizes, skeletons and conventions.
        batch: People on canvases.
        how: How crops vary.
        draws: The batch's random numbers.
    """
    config = model.config
    codecs: tuple[Codec, ...] = tuple(config.codec_of(head) for head in range(len(model.skeletons)))
    crops = augment(
        batch,
        how,
        model.skeletons,
        input_size=model.input_size,
        padding=config.box_padding,
        codecs=codecs,
        draws=draws,
        whole_box=config.whole_box,
    )
    taught = targets(
        crops,
        input_size=model.input_size,
        heatmap_size=model.heatmap_size,
        codecs=codecs,
        sigma=config.heatmap_sigma,
    )
    counts = constant(tuple(skeleton.num_keypoints for skeleton in model.skeletons), batch.dataset)
    return Lesson(crops, taught, batch.dataset, counts[batch.dataset], model.skeletons)
