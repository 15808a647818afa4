"""The pictures are there, of the right size, and no text of one lies on another's."""

import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autolabel.evaluate import summarise
from autolabel.evaluate_pair import compare_measured
from autolabel.evaluate_people import Measured, Truth, measure
from autolabel.poses import Poses, Sample
from autolabel.report import evaluation_plots
from autolabel.report.evaluation_plots import PLOTS, draw, keypoint_changes, keypoint_errors, pck_curves, taxonomy_bars
from autolabel.skeleton import Skeleton


def measured(skeleton: Skeleton, *levels: float, images: int = 6) -> list[Measured]:
    rng = np.random.default_rng(0)
    k = skeleton.num_keypoints
    truth = [
        Sample(
            f"{i}",
            "images",
            f"{i}.jpg",
            (640, 480),
            Poses.create(
                k, xy=rng.uniform(0, 300, (1, k, 2)), visibility=np.full((1, k), 2), box=[[0, 0, 300, 300]], area=[4e4]
            ),
        )
        for i in range(images)
    ]
    known = Truth(truth)
    return [
        measure(
            [s.with_poses(s.poses.replace(xy=s.poses.xy + rng.normal(0, level, s.poses.xy.shape))) for s in truth],
            known,
            skeleton,
        )
        for level in levels
    ]


def size(png: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        image.load()
        return image.size


def test_without_a_comparison_there_are_four() -> None:
    [one] = measured(Skeleton.load("lsp14"), 5.0)
    evaluation = summarise(one)
    pictures = draw(one, evaluation)
    assert list(pictures) == ["pck.png", "oks.png", "taxonomy.png", "errors.png"]
    assert size(pictures["pck.png"])[0] > 3 * size(pictures["pck.png"])[1]  # three panels: LSP has head and torso
    assert pictures["pck.png"] == pck_curves(one, evaluation)  # the same bytes


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that were drawn, kept for questions instead of saved."""
    kept: list[Any] = []

    def keep(figure: Any) -> bytes:
        figure.draw_without_rendering()  # texts know their places once they are laid out
        kept.append(figure)
        return b""

    monkeypatch.setattr(evaluation_plots, "_png", keep)
    return kept


def texts(figure: Any) -> Iterator[tuple[str, Any]]:
    """The texts that can be seen, and their boxes in pixels."""
    for axes in figure.axes:
        frame, along_x = axes.get_window_extent(), axes.get_xticklabels()
        for text in [*along_x, *axes.get_yticklabels(), axes.xaxis.label, axes.yaxis.label, axes.title]:
            box = text.get_window_extent()
            # Axes keep labels of ticks that lie beyond their ends, and draw none of them.
            beyond = text in along_x and not frame.x0 - 1 < (box.x0 + box.x1) / 2 < frame.x1 + 1
            if text.get_text() and not beyond:
                yield text.get_text(), box


def test_no_two_texts_overlap(figures: list[Any]) -> None:
    one, two = measured(Skeleton.load("coco17"), 4.0, 9.0)
    pictures = draw(one, summarise(one, bootstrap=10), two, compare_measured(one, two, bootstrap=10))
    assert tuple(pictures) == PLOTS
    assert_no_two_texts_overlap(figures, PLOTS)


@pytest.mark.slow
def test_no_two_texts_overlap_in_lists_of_133_keypoints(figures: list[Any]) -> None:
    """The other pictures do not depend on how many keypoints there are."""
    skeleton = Skeleton.load("wholebody133")
    one, two = measured(skeleton, 4.0, 9.0)
    evaluation = summarise(one)
    taxonomy_bars(evaluation, skeleton)
    keypoint_errors(one, evaluation)
    keypoint_changes(compare_measured(one, two, bootstrap=10), skeleton)
    assert_no_two_texts_overlap(figures, ["taxonomy.png", "errors.png", "changes.png"])


def assert_no_two_texts_overlap(figures: Sequence[Any], files: Sequence[str]) -> None:
    for figure, file in zip(figures, files, strict=True):
        assert figure.get_size_inches().max() < 22, file
        boxes = list(texts(figure))
        assert len(boxes) > 10
        edges = np.array([[b.x0, b.y0, b.x1, b.y1] for _, b in boxes])
        wide = np.minimum(edges[:, None, 2], edges[None, :, 2]) - np.maximum(edges[:, None, 0], edges[None, :, 0])
        high = np.minimum(edges[:, None, 3], edges[None, :, 3]) - np.maximum(edges[:, None, 1], edges[None, :, 1])
        # A pixel of common border is no overlap.
        over = np.argwhere(np.triu((wide > 1) & (high > 1), k=1))
        assert not len(over), [(file, boxes[i][0], boxes[j][0]) for i, j in over[:5]]


def test_poses_of_nobody_can_be_drawn() -> None:
    skeleton = Skeleton("stick", ("top", "end"), (), (0, 1), (0.05, 0.05), "stated by the test")
    empty = [Sample(f"{i}", "images", f"{i}.jpg", (64, 48), Poses.empty(2)) for i in range(3)]
    nobody = measure(empty, Truth(empty), skeleton)
    compared = compare_measured(nobody, nobody, bootstrap=5)
    assert tuple(draw(nobody, summarise(nobody, bootstrap=5), nobody, compared)) == PLOTS
