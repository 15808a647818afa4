"""Every known release of ViTPose weights: what it is, what was reported of it, where it lies.

Only published figures stand here; what nobody published is None. Sources: the README and configs of the official
repository (ViTAE-Transformer/ViTPose), mmpose 1.x's model pages, JunkyByte/easy_ViTPose, the Hugging Face hub, and
the ViTPose paper (arXiv 2204.12484, tables 11 to 13). The figures of the "+CrowdPose" networks are flattered:
at least 181 of CrowdPose's images are COCO validation images. OCHuman's are disputed between the two papers.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from model.config import PLUS_DATASETS, SIZES, Decoder, ViTPoseConfig

Layout = Literal["official", "mmpose", "easy_vitpose", "huggingface", "mae"]
LAYOUTS: tuple[Layout, ...] = ("official", "mmpose", "easy_vitpose", "huggingface", "mae")

CODE_LICENCE = "Apache-2.0 (code)"
"""Of repositories that license their code and say nothing apart of the weights."""


@dataclass(frozen=True)
class Figure:
    """A reported result.

    Attributes:
        dataset: Whose head gave it, as ``--dataset`` names it.
        benchmark: What was measured, on which images and boxes.
        value: In percent.
    """

    dataset: str
    benchmark: str
    value: float


@dataclass(frozen=True)
class Golden:
    """The published nose of the second person in COCO's 000000000139.jpg: pixels, and the heatmap's peak."""

    x: float
    y: float
    score: float


@dataclass(frozen=True)
class Release:
    """One file or hub repository.

    Attributes:
        id: A hub id, or our name for a file, ``layout/name``.
        layout: How its tensors are named.
        size: ``s``, ``b``, ``l`` or ``h``.
        datasets: Whose keypoints it predicts; none for an encoder.
        trained_on: What it was trained on, in words.
        decoder: Classic or simple; None for an encoder.
        licence: As stated.
        where: Where it is to be had.
        figures: What was reported of it.
        file: Its file's name, or the part of it that tells it from others, or "".
        golden: Published keypoints, for ``weights verify``.
        plus: Whether it is a ViTPose++.
        input_size: (H, W) in pixels, where stated.
    """

    id: str
    layout: Layout
    size: str
    datasets: tuple[str, ...]
    trained_on: str
    decoder: Decoder | None
    licence: str
    where: str
    figures: tuple[Figure, ...] = ()
    file: str = ""
    golden: Golden | None = None
    plus: bool = False
    input_size: tuple[int, int] | None = (256, 192)


_COCO_VAL = "COCO val AP, 56.4 AP boxes, flip test"
_MPII = "MPII val PCKh, true boxes"
_AIC = "AIC val AP, true boxes"
_OCHUMAN = "OCHuman test AP, true boxes (disputed)"
_OCHUMAN_VAL = "OCHuman val AP, true boxes (disputed)"
_HUMAN_ART = "Human-Art val AP, true boxes"
_HUMAN_ART_DETECTED = "Human-Art val AP, 56.2 AP boxes"
_OFFICIAL_WHERE = "github.com/ViTAE-Transformer/ViTPose, README"
_SIZE_NAMES = {"s": "small", "b": "base", "l": "large", "h": "huge"}


def _official() -> Iterator[Release]:
    alone: tuple[tuple[Decoder, tuple[float, ...]], ...] = (
        ("classic", (73.8, 75.8, 78.3, 79.1)),
        ("simple", (73.5, 75.5, 78.2, 78.9)),
    )
    for decoder, aps in alone:
        for size, ap in zip("sblh", aps, strict=True):
            middle = "-simple" if decoder == "simple" else ""
            yield _official_row(
                f"vitpose-{size}{middle}-coco", size, ("coco",), "COCO", (Figure("coco", _COCO_VAL, ap),), decoder
            )
    yield from _official_shared()
    yield from _official_plus()


def _official_shared() -> Iterator[Release]:
    """Several heads on one encoder, without experts."""
    shared = {
        "b": (77.1, 88.0, 87.3, 32.0, 93.3),
        "l": (78.7, 90.9, 90.1, 34.5, 94.0),
        "h": (79.5, 90.9, 90.3, 35.4, 94.1),
    }
    for size, (coco, occluded_val, occluded, aic, mpii) in shared.items():
        figures = (
            Figure("coco", _COCO_VAL, coco),
            Figure("coco", _OCHUMAN_VAL, occluded_val),
            Figure("coco", _OCHUMAN, occluded),
            Figure("aic", _AIC, aic),
            Figure("mpii", _MPII, mpii),
        )
        yield _official_row(f"vitpose-{size}-coco-aic-mpii", size, ("coco", "aic", "mpii"), "COCO+AIC+MPII", figures)
    leaky = {
        "b": (77.5, 88.2, 31.9, 93.4, 74.7),
        "l": (79.1, 91.5, 34.6, 93.9, 76.6),
        "h": (79.8, 91.6, 35.3, 94.1, 76.3),
    }
    for size, (coco, occluded, aic, mpii, crowd) in leaky.items():
        figures = (
            Figure("coco", f"{_COCO_VAL} (trained on some of its images)", coco),
            Figure("coco", _OCHUMAN, occluded),
            Figure("aic", _AIC, aic),
            Figure("mpii", _MPII, mpii),
            Figure("crowdpose", "CrowdPose test AP, YOLOv3 boxes", crowd),
        )
        datasets = ("coco", "aic", "mpii", "crowdpose")
        yield _official_row(
            f"vitpose-{size}-coco-aic-mpii-crowdpose", size, datasets, "COCO+AIC+MPII+CrowdPose", figures
        )


def _official_plus() -> Iterator[Release]:
    benchmarks = (
        ("coco", _COCO_VAL, (75.8, 77.0, 78.6, 79.4)),
        ("coco", _OCHUMAN, (78.4, 82.6, 85.7, 85.7)),
        ("aic", _AIC, (29.7, 31.8, 34.3, 34.8)),
        ("mpii", _MPII, (92.7, 92.8, 94.0, 94.2)),
        ("ap10k", "AP-10K test AP, true boxes", (71.4, 74.5, 80.4, 82.4)),
        ("apt36k", "APT-36K val AP, true boxes", (74.2, 75.9, 80.8, 82.3)),
        ("wholebody", "COCO-WholeBody AP", (54.4, 57.4, 60.6, 61.2)),
    )
    for index, size in enumerate("sblh"):
        figures = tuple(Figure(dataset, benchmark, values[index]) for dataset, benchmark, values in benchmarks)
        trained_on = "COCO+AIC+MPII+AP-10K+APT-36K+WholeBody"
        yield _official_row(f"vitpose++-{size}", size, PLUS_DATASETS, trained_on, figures, plus=True)


def _official_row(
    name: str,
    size: str,
    datasets: tuple[str, ...],
    trained_on: str,
    figures: tuple[Figure, ...],
    decoder: Decoder = "classic",
    plus: bool = False,
) -> Release:
    return Release(
        f"official/{name}",
        "official",
        size,
        datasets,
        trained_on,
        decoder,
        CODE_LICENCE,
        _OFFICIAL_WHERE,
        figures,
        plus=plus,
    )


def _mmpose() -> Iterator[Release]:
    coco: tuple[tuple[Decoder, str, tuple[str, ...], tuple[float, ...]], ...] = (
        ("classic", "", ("62d7a712", "216eae50", "53609f55", "e32adcd4"), (73.9, 75.7, 78.2, 78.8)),
        ("simple", "-simple", ("4c101a76", "0b8234ea", "3a7ee9e1", "ffd48c05"), (73.6, 75.6, 78.0, 78.9)),
    )
    plain_on_art = {
        size: (Figure("coco", _HUMAN_ART, true), Figure("coco", _HUMAN_ART_DETECTED, detected))
        for size, true, detected in (("s", 50.7, 22.8), ("b", 55.5, 27.0), ("l", 63.7, 34.2), ("h", 66.5, 37.7))
    }
    for decoder, name, marks, aps in coco:
        for size, mark, ap in zip("sblh", marks, aps, strict=True):
            figures = (Figure("coco", _COCO_VAL, ap), *(plain_on_art[size] if decoder == "classic" else ()))
            yield _mmpose_row(f"{_SIZE_NAMES[size]}{name}", size, mark, decoder, "COCO", figures)
    third = (Figure("coco", _COCO_VAL, 79.0),)
    yield _mmpose_row("huge_3rdparty", "h", "5b738c8e", "classic", "COCO (the official H, converted)", third)
    art = (
        ("s", "5cbe2bfc", 73.8, 38.1, 73.7),
        ("b", "b417f546", 75.9, 41.0, 75.8),
        ("l", "9aba9345", 78.9, 45.9, 78.2),
        ("h", "603bb573", 80.0, 46.8, 78.8),
    )
    for size, mark, true, detected, ap in art:
        figures = (
            Figure("coco", _HUMAN_ART, true),
            Figure("coco", _HUMAN_ART_DETECTED, detected),
            Figure("coco", _COCO_VAL, ap),
        )
        name = f"human_art-{_SIZE_NAMES[size]}"
        yield _mmpose_row(name, size, mark, "classic", "COCO+Human-Art", figures, folder="human_art")


def _mmpose_row(
    name: str,
    size: str,
    mark: str,
    decoder: Decoder,
    trained_on: str,
    figures: tuple[Figure, ...],
    folder: str = "coco",
) -> Release:
    where = f"download.openmmlab.com/mmpose/v1/body_2d_keypoint/topdown_heatmap/{folder}/"
    return Release(
        f"mmpose/{name}-{mark}",
        "mmpose",
        size,
        ("coco",),
        trained_on,
        decoder,
        CODE_LICENCE,
        where,
        figures,
        file=f"*{mark}*.pth",
    )


def _easy() -> Iterator[Release]:
    for size in "sblh":
        for dataset in ("coco", "coco_25", "wholebody", "mpii", "aic", "ap10k", "apt36k"):
            name = f"vitpose-{size}-{dataset}"
            yield Release(
                f"easy_vitpose/{name}",
                "easy_vitpose",
                size,
                (dataset,),
                "-",
                "classic",
                CODE_LICENCE,
                "huggingface.co/JunkyByte/easy_ViTPose, torch/",
                file=f"{name}.pth",
            )


def _huggingface() -> Iterator[Release]:
    rows: tuple[tuple[str, str, tuple[str, ...], str, Decoder, Golden | None], ...] = (
        ("base", "b", ("coco",), "COCO", "classic", Golden(398.0791, 181.8281, 0.88235)),
        ("base-simple", "b", ("coco",), "COCO", "simple", Golden(398.1805, 181.8084, 0.86664)),
        ("base-coco-aic-mpii", "b", ("coco",), "COCO+AIC+MPII", "classic", Golden(398.3055, 181.7416, 0.86997)),
        ("plus-small", "s", ("coco",), _PLUS, "classic", Golden(398.1597, 181.6902, 0.9051)),
        ("plus-base", "b", ("coco",), _PLUS, "classic", Golden(398.2013, 181.7283, 0.87505)),
        ("plus-large", "l", ("coco",), _PLUS, "classic", Golden(398.1409, 181.7412, 0.8746)),
        ("plus-huge", "h", ("coco",), _PLUS, "classic", None),
    )
    for name, size, datasets, trained_on, decoder, golden in rows:
        hub = f"usyd-community/vitpose-{name}"
        yield Release(
            hub,
            "huggingface",
            size,
            datasets,
            trained_on,
            decoder,
            "apache-2.0",
            f"huggingface.co/{hub}",
            golden=golden,
            plus=name.startswith("plus-"),
        )


_PLUS = "as ViTPose++; COCO's head only"


def _encoders() -> Iterator[Release]:
    """Encoders to start a training from: they have no keypoints."""
    theirs = ("ImageNet-1k, masked images, 1600 epochs", "-", "github.com/facebookresearch/mae")
    for size, (trained_on, licence, where) in {
        "s": ("masked images", CODE_LICENCE, _OFFICIAL_WHERE),
        **dict.fromkeys("blh", theirs),
    }.items():
        yield Release(
            f"mae/{_SIZE_NAMES[size]}",
            "mae",
            size,
            (),
            trained_on,
            None,
            licence,
            where,
            input_size=(224, 224) if where == theirs[2] else None,
        )
    for name in _SIZE_NAMES.values():
        yield Release(
            f"mmpose/mae-{name}",
            "mae",
            name[0],
            (),
            "-",
            None,
            CODE_LICENCE,
            "download.openmmlab.com/mmpose/v1/pretrained_models/",
            file=f"mae_pretrain_vit_{name}_20230913.pth",
            input_size=None,
        )


RELEASES: tuple[Release, ...] = (*_official(), *_mmpose(), *_easy(), *_huggingface(), *_encoders())
"""All of them."""


def find_release(source: str) -> Release | None:
    """The release that a hub id, folder or file name is of; None where the name tells none or several.

    >>> find_release("downloads/td-hm_ViTPose-small_8xb64-210e_coco-256x192-62d7a712_20230314.pth").id
    'mmpose/small-62d7a712'
    """
    name = PurePath(source).name
    found = [
        release
        for release in RELEASES
        if source == release.id
        or (release.layout == "huggingface" and name == PurePath(release.id).name)
        or (release.file and re.fullmatch(re.escape(release.file).replace(r"\*", ".*"), name))
    ]
    return found[0] if len(found) == 1 else None


def golden_by_shape(config: ViTPoseConfig) -> Release | None:
    """The only release with published keypoints that has a network's shape, or None."""
    size = next((name for name, row in SIZES.items() if (row.width, row.depth) == (config.width, config.depth)), None)
    shape = (size, config.decoder, bool(config.experts))
    found = [release for release in with_golden() if (release.size, release.decoder, release.plus) == shape]
    return found[0] if len(found) == 1 else None


def differs_from(release: Release, config: ViTPoseConfig) -> str:
    """What a network has that a release has not, in words, or "". A ViTPose++ may have been split: then it is plain."""
    size = next((name for name, row in SIZES.items() if (row.width, row.depth) == (config.width, config.depth)), None)
    if size != release.size:
        return f"{config.width} wide and {config.depth} deep, not of size {release.size}"
    if config.decoder != release.decoder:
        return f"a network with the {config.decoder} decoder, not the {release.decoder} one"
    return "a ViTPose++, not a plain ViTPose" if config.experts and not release.plus else ""


def with_golden() -> Sequence[Release]:
    """Those with published keypoints."""
    return [release for release in RELEASES if release.golden is not None]
