"""Fitting what tells the whole person from a part (:mod:`model.whole_box`), on people whom we cut ourselves."""

import numpy as np
import torch
from numpy.typing import NDArray

from model.augment import cut_people
from model.crop import back_project, regions_from_boxes
from model.data import PoseCrops
from model.draws import Draws, hashed
from model.heatmap import decode
from model.lesson import lesson
from model.validate import STILL
from model.vitpose import ViTPose
from model.whole_box import Floats, answers, best_growth, touches, usual_aspect, weigh

PEOPLE = 1024
"""People that the regression is fitted on, at most."""

_CUTS = 0x77686F6C65  # which random numbers


@torch.inference_mode()
def fit_whole_box(model: ViTPose, crops: PoseCrops, *, batch_size: int, seed: int) -> tuple[float, ...]:
    """Learn to tell the whole from the part, of a network with one presence head.

    People whose own box reaches the image's edge are left out: nobody knows how large the whole of them is.

    Args:
        model: As it was trained; its mode stays what it is.
        crops: Whole people.
        batch_size: Crops at a time.
        seed: Of the cuts.

    Returns:
        ``ViTPoseConfig.whole_box``: the usual aspect, and weights for :func:`model.whole_box.told_growth`. Nothing
        where too few people could be cut for a regression.
    """
    training = model.training
    model.eval()
    try:
        # From all manifests, which follow one another.
        places = np.linspace(0, len(crops) - 1, min(PEOPLE, len(crops))).astype(int).tolist()
        looks = [
            _looked(model, crops, places[start : start + batch_size], seed)
            for start in range(0, len(places), batch_size)
        ]
    finally:
        model.train(training)
    seen, box, whole, sides = (np.concatenate(parts) for parts in zip(*looks, strict=True))
    if len(seen) < seen.shape[1]:
        return ()
    aspect = usual_aspect(whole)
    return (aspect, *weigh(seen, best_growth(box, whole, sides, aspect)))


def _looked(
    model: ViTPose, crops: PoseCrops, places: list[int], seed: int
) -> tuple[Floats, Floats, Floats, NDArray[np.bool_]]:
    """What a first look at some people, cut, says; their boxes, those of the whole people, and the sides cut."""
    device = next(model.parameters()).device
    whole = crops[places].to(device)
    draws = Draws(hashed(seed, _CUTS), places[0], len(places), slice(None), device)
    part = cut_people(whole, model.skeletons, draws)  # in tight boxes, as the first look of a prediction has them
    heatmaps, logits = model.forward_both(lesson(model, part, STILL, draws).crops.images, None)
    assert logits is not None
    config = model.config
    peaks = decode(heatmaps.float(), config.codec)
    regions = regions_from_boxes(part.box.double().cpu(), input_size=model.input_size, padding=config.box_padding)
    xy = back_project(peaks.xy.double().cpu(), regions, heatmap_size=model.heatmap_size, codec=config.codec)
    box, image, before, all_of_it = (
        edges.double().cpu().numpy() for edges in (part.box, part.image, whole.box, whole.image)
    )
    sides = touches(box, image)
    known = ~touches(before, all_of_it).any(axis=1) & sides.any(axis=1)
    presence = logits[..., 0].float().sigmoid().double().cpu().numpy()
    score = peaks.score.double().cpu().numpy()
    seen = answers(xy.numpy(), score, presence, box, sides)
    return seen[known], box[known], before[known], sides[known]
