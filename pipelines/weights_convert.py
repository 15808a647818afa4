"""``autolabel weights convert``: a network in another layout, split, merged, or for another input size."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from autolabel.errors import ConfigError
from autolabel.manifest import Existing
from autolabel.progress import SILENT, Progress
from autolabel.run import DONE, Run, RunState

if TYPE_CHECKING:
    from model.vitpose import ViTPose


class To(StrEnum):
    """A layout to write.

    Attributes:
        CHECKPOINT: Our checkpoint folder.
        HUGGINGFACE: A folder that transformers reads.
        OFFICIAL: ``vitpose.pth`` as the official repository has them (mmpose 0.x; easy_ViTPose).
        MMPOSE: ``vitpose.pth`` of mmpose 1.x.
    """

    CHECKPOINT = "checkpoint"
    HUGGINGFACE = "huggingface"
    OFFICIAL = "official"
    MMPOSE = "mmpose"


@dataclass(frozen=True)
class WeightsConverted:
    """What was written.

    Attributes:
        weights: What to give as ``--weights``: the folder, or the ``.pth`` in it.
        layout: Of it.
        datasets: Whose keypoints it predicts.
        keypoints: K of each.
        input_size: (H, W) in pixels.
        experts: Of a ViTPose++ that is whole, else 0.
        digest: ``model.checkpoint.model_digest`` of the network.
    """

    weights: Path
    layout: To
    datasets: tuple[str, ...]
    keypoints: tuple[int, ...]
    input_size: tuple[int, int]
    experts: int
    digest: str

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        return {
            "weights": self.weights,
            "layout": self.layout,
            "datasets": self.datasets,
            "keypoints": self.keypoints,
            "input_size": self.input_size,
            "experts": self.experts,
            "digest": self.digest,
        }


def weights_convert(
    weights: str | Path,
    *,
    out: str | Path,
    dataset: str | None = None,
    input_size: str | None = None,
    to: str = To.CHECKPOINT,
    merge: Sequence[str] | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> WeightsConverted:
    """Write a network in another layout, of one dataset alone, for another input size, or merged with others.

    The folder is a run: killed half-way it is not taken for a network, and the same call again finishes it.

    Args:
        weights: Anything ``model.checkpoint.load_model`` reads.
        out: The folder to write.
        dataset: Split a ViTPose++ for it, exactly; without it a ViTPose++ stays whole.
        input_size: ``HxW`` in pixels; the positions are resampled.
        to: ``checkpoint``, ``huggingface``, ``official`` or ``mmpose``.
        merge: Networks of other datasets, split from the same ViTPose++, to put together with this one, exactly; as
            ``NAME=W`` where a file does not tell which dataset it is for.
        overwrite: Replace another result in ``out``.
        progress: Where to report.

    Raises:
        CheckpointError: Weights that cannot be read, are ambiguous, do not share an encoder, or have what the layout
            cannot hold.
        ConfigError: An unknown layout or an impossible input size.
        ExistsError: ``out`` holds another result.
    """
    from model.checkpoint import model_digest

    layout = _layout(to)
    model = _loaded(str(weights), dataset, merge or (), parse_input_size(input_size))
    _require_expressible(model, layout, str(weights))
    digest = model_digest(model)
    existing = Existing.OVERWRITE if overwrite else Existing.RESUME
    with Run.open(
        out, "weights convert", config={"to": layout}, inputs={"weights": digest}, existing=existing, commit=DONE
    ) as run:
        if run.state is not RunState.DONE:
            progress.note(f"writing {sum(p.numel() for p in model.parameters()):,} parameters")
            _writer(layout)(model, run.path)
            run.finish({"digest": digest})
    return _converted(model, layout, Path(out), digest)


def parse_input_size(text: str | None) -> tuple[int, int] | None:
    """(H, W) of ``HxW``.

    >>> parse_input_size("384x288")
    (384, 288)

    Raises:
        ConfigError: It is not two numbers.
    """
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)[x×](\d+)", text.strip())
    if found is None:
        raise ConfigError(
            f"{text!r} is not a height and a width", subject="--input-size", remedy="Give HxW, such as 384x288."
        )
    return int(found[1]), int(found[2])


def _layout(to: str) -> To:
    try:
        return To(to)
    except ValueError:
        raise ConfigError(f"no layout {to!r}", subject="--to", remedy=f"Known: {', '.join(To)}.") from None


def _loaded(weights: str, dataset: str | None, merge: Sequence[str], input_size: tuple[int, int] | None) -> "ViTPose":
    from model.checkpoint import assemble, load_model
    from model.config import DATASETS
    from model.layouts import Weights
    from model.merge_experts import Part, merge_experts
    from model.positions import for_input_size

    if not merge:
        return load_model(weights, dataset=dataset, input_size=input_size)
    parts: list[Part] = []
    named = [(weights, dataset)]
    for given in merge:
        name, _, file = given.partition("=")
        named.append((file, name) if name in DATASETS and file else (given, None))
    for source, name in named:
        model = load_model(source, dataset=name)
        parts.append(Part(Weights(model.config, model.skeletons, model.state_dict()), source))
    merged = merge_experts(parts)
    if input_size is not None:
        merged = for_input_size(merged, input_size, weights)
    return assemble(merged, weights)


def _converted(model: "ViTPose", layout: To, out: Path, digest: str) -> WeightsConverted:
    from model.checkpoint import PTH

    return WeightsConverted(
        weights=out / PTH if layout in (To.OFFICIAL, To.MMPOSE) else out,
        layout=layout,
        datasets=model.config.datasets,
        keypoints=tuple(skeleton.num_keypoints for skeleton in model.skeletons),
        input_size=model.input_size,
        experts=model.num_experts,
        digest=digest,
    )


def _require_expressible(model: "ViTPose", layout: To, subject: str) -> None:
    """Refuse what the layout cannot hold before there is a folder."""
    from model.huggingface import write_huggingface
    from model.mmpose import names_to_mmpose

    if layout is To.HUGGINGFACE:
        write_huggingface(model)
    elif layout is To.MMPOSE:
        names_to_mmpose(model.state_dict(), subject)


def _writer(layout: To) -> "Callable[[ViTPose, Path], Path]":
    from model.checkpoint import save_huggingface, save_mmpose, save_model, save_official

    writers: dict[To, Callable[[ViTPose, Path], Path]] = {
        To.CHECKPOINT: save_model,
        To.HUGGINGFACE: save_huggingface,
        To.OFFICIAL: save_official,
        To.MMPOSE: save_mmpose,
    }
    return writers[layout]
