"""Supervised training: heatmaps, and presence where the network has a head for it, on one dataset or several.

Fine-tuning is the same from a loaded network. With several datasets, all share the encoder, each has its decoder, its
skeleton and its convention, and a sample's keypoints are taught to its own decoder only (paper, section 3.3); with
experts (ViTPose++), its own expert learns from it too.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from timm.optim import param_groups_layer_decay  # pyright: ignore[reportPrivateImportUsage]  (it is public)
from torch import Tensor, nn

from autolabel.errors import ConfigError
from autolabel.manifest import Manifest
from autolabel.progress import SILENT, Progress
from model.augment import Augmentation
from model.batches import MixedBatches
from model.checkpoint import save_model
from model.data import CACHE_BYTES, PoseBatch, PoseCrops
from model.draws import Draws, RandomNumbers, hashed
from model.heads import Answers
from model.heatmap import decode
from model.lesson import Lesson, lesson
from model.losses import heatmap_mse, presence_loss, whole_box_loss
from model.objective import Drawn, Objective
from model.partial import merge_lora, plain_model, restrict
from model.recipe import Training
from model.targets import Targets
from model.train import CROPS, Data, train
from model.validate import CUT, Validation
from model.vitpose import DatasetIndex, ViTPose

PCK_SHARE = 0.05
"""``pck`` counts peaks within this share of the heatmap's height."""

WHOLE_BOX_WEIGHT = 0.01
"""Of the whole-box head's loss. Nothing else learns from it, and AdamW does not care for its size; but the clipping of
the gradient does, in which it shall not count for much."""

SHOWN = 24
"""Crops that a person is shown before a training."""


@dataclass(frozen=True)
class Source:
    """Poses to train on.

    Attributes:
        manifest: The poses.
        share: Relative share of every batch.
        dataset: Whose head they teach, of a network of several datasets; may be empty where there is one head.
    """

    manifest: Manifest
    share: float = 1.0
    dataset: str = ""


class AllHeads(nn.Module):
    """A ViTPose whose ``forward`` gives what all heads say, which is what several processes' wrapper calls."""

    def __init__(self, model: ViTPose) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, dataset: DatasetIndex) -> Answers:
        """See :meth:`model.vitpose.ViTPose.forward_all`."""
        return self.model.forward_all(images, dataset)

    def train(self, mode: bool = True) -> Self:
        """Training mode, but for batch norms that are frozen: their statistics are a part of what stays as it was."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d) and not any(one.requires_grad for one in module.parameters()):
                module.eval()
        return self


class Supervised:
    """Heatmaps against labels; see :class:`model.objective.Objective`.

    Args:
        model: Trained in place.
        how: The recipe: augmentation, presence weight, what is frozen.
    """

    def __init__(self, model: ViTPose, how: Training) -> None:
        self.network: nn.Module = AllHeads(model)
        self.model, self.how = model, how
        self._several = len(model.skeletons) > 1 or model.num_experts > 0

    def groups(self, weight_decay: float, layer_decay: float) -> list[dict[str, Any]]:
        """Layer-wise rates, and no decay of biases, norms and positions (``vitpose.md`` 4.2)."""
        return param_groups_layer_decay(
            self.model,
            weight_decay=weight_decay,
            no_weight_decay_list=tuple(self.model.no_weight_decay()),
            layer_decay=layer_decay,
        )

    def draw(self, batch: PoseBatch, draws: RandomNumbers) -> Drawn:
        """Random crops and what they teach."""
        drawn = lesson(self.model, batch, self.how.augmentation, draws)
        return Drawn((drawn.crops.images, drawn.dataset if self._several else None), drawn)

    def losses(self, outputs: Answers, drawn: Drawn) -> Mapping[str, Tensor]:
        """The heatmaps' squared error, and those of the other heads by their weights."""
        heatmaps, logits, whole_box = outputs
        taught: Targets = drawn.targets.targets
        loss = heatmap_mse(heatmaps.float(), taught.heatmaps, taught.weights, drawn.targets.keypoints)
        parts: dict[str, Tensor] = {}
        total = loss
        if logits is not None:
            presence = presence_loss(logits, taught.presence, taught.presence_weights, drawn.targets.keypoints)
            parts["presence_loss"], total = presence, total + self.how.presence_weight * presence
        if whole_box is not None:
            reach = whole_box_loss(whole_box, drawn.targets.crops.reach)
            parts["whole_box_loss"], total = reach, total + WHOLE_BOX_WEIGHT * reach
        return {"loss": total, "heatmap_loss": loss, **parts} if parts else {"loss": loss}

    @torch.no_grad()
    def metrics(self, outputs: Answers, drawn: Drawn) -> Mapping[str, Tensor]:
        """``pck``: share of the keypoints with a place whose highest cell is within ``PCK_SHARE``."""
        heatmaps, taught = outputs[0], drawn.targets.targets
        placed = (taught.weights > 0) & (taught.heatmaps.amax(dim=(2, 3)) > 0)
        error = (decode(heatmaps, "plain").xy - decode(taught.heatmaps, "plain").xy).norm(dim=-1)
        near = (error < PCK_SHARE * heatmaps.shape[2]) & placed
        return {"pck": near.sum() / placed.sum().clamp_min(1)}

    def save(self, network: nn.Module, folder: Path, metrics: Mapping[str, float]) -> None:
        """A checkpoint folder, of plain weights; thresholds that a validation found become the network's."""
        assert isinstance(network, AllHeads)
        model = plain_model(network.model)
        found: dict[str, Any] = {
            name: metrics[f"validation_{name}"]
            for name in ("presence_threshold", "visible_threshold")
            if f"validation_{name}" in metrics
        }
        trained = model.config
        model.config = trained.model_copy(update=found)
        try:
            save_model(model, folder, metrics)
        finally:
            model.config = trained


def train_supervised(
    model: ViTPose,
    sources: Sequence[Source],
    how: Training,
    out: Path,
    *,
    validation: Sequence[Source] = (),
    show: Callable[[Lesson], None] | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Train a network in place and save it; see :func:`model.train.train`.

    Args:
        model: From scratch, or loaded for fine-tuning.
        sources: Labelled poses; their skeletons must be those of the heads they teach.
        how: The recipe.
        out: The checkpoint folder. A ``state.pt`` in it is gone on from.
        validation: Labelled poses to measure on: the best network by their PCK is kept, and the thresholds of a
            presence head are chosen on them.
        show: Takes crops of the first step, up to :data:`SHOWN`, before it is taken.
        progress: Where to report.

    Returns:
        The last line of metrics; with validation also the best one's, each name with ``best_`` before it.

    Raises:
        SkeletonError: A source has another skeleton than its head.
        ConfigError: A source names no head of the network; or as :func:`model.train.train`.
        InputError: There is nothing to train on.
        CheckpointError: As :func:`model.train.train`.
        WorkError: As :func:`model.train.train`.
    """
    crops = pose_crops(model, sources, how.augmentation, batch_size=how.batch_size, workers=how.workers)
    if crops.note:
        progress.note(crops.note)
    data = Data(crops, [source.share for source in sources])
    if show is not None:
        people, draws = first_batch(data, how)
        show(lesson(model, people, how.augmentation, draws))
    return train_on_people(
        model,
        lambda: Supervised(model, how),
        data,
        how,
        out,
        taught=heads_of(model, sources),
        validation=validation,
        progress=progress,
    )


def train_on_people(
    model: ViTPose,
    objective: Callable[[], Objective],
    data: Data,
    how: Training,
    out: Path,
    *,
    taught: Sequence[int],
    identity: Mapping[str, Any] | None = None,
    validation: Sequence[Source] = (),
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """What all trainings of a pose network share: what is frozen, and validation.

    Args:
        model: Trained in place.
        objective: Makes what is trained, after what is frozen was frozen.
        data: What to train on.
        how: The recipe.
        out: The checkpoint folder.
        taught: Heads that learn; the others stay as they are.
        identity: Of the run, besides the network.
        validation: As :func:`train_supervised`.
        progress: Where to report.

    Raises:
        ConfigError: As :func:`train_supervised`, whose other errors come from here as well.
    """
    described = {**model.config.described(), "skeletons": [skeleton.fingerprint for skeleton in model.skeletons]}
    validate = None
    if validation:
        held = pose_crops(model, validation, CUT, batch_size=how.batch_size)
        validate = Validation(held, model, batch_size=how.batch_size // how.accumulate, seed=how.seed)
    restrict(model, how.partial, seed=how.seed)
    _spare(model, set(taught))
    model.checkpoint_activations = how.checkpoint_activations
    try:
        return train(
            objective(),
            data,
            how,
            out,
            identity={"network": described, **(identity or {})},
            validate=validate,
            progress=progress,
        )
    finally:
        model.checkpoint_activations = False
        merge_lora(model)


def _spare(model: ViTPose, taught: set[int]) -> None:
    """Leave alone what belongs to datasets that are not in the data: weight decay alone would wear it away."""
    for head in set(range(len(model.skeletons))) - taught:
        parts: list[nn.Module] = [heads[head] for heads in (model.keypoint_heads, model.presence_heads) if len(heads)]
        if model.num_experts:
            parts += [block.get_submodule(f"mlp.experts.{head}") for block in model.blocks]
        for part in parts:
            part.requires_grad_(False)


def first_batch(data: Data, how: Training) -> tuple[Any, Draws]:
    """Up to :data:`SHOWN` examples of the first step, and their random numbers, as the network will see them."""
    sampler = MixedBatches(data.examples.sizes, data.shares, batch_size=how.batch_size, start=0, stop=1, seed=how.seed)
    batch: Any = data.examples[next(iter(sampler))]
    few = slice(None, None, -(-how.batch_size // SHOWN))
    return batch.rows(few), Draws(hashed(how.seed, CROPS), 0, how.batch_size, few)


def heads_of(model: ViTPose, sources: Sequence[Source]) -> list[int]:
    """Which head each source teaches.

    Raises:
        ConfigError: A source names no head of the network, or does not say which of several.
        SkeletonError: Its skeleton is another than the head's.
    """
    names = model.config.datasets[: len(model.skeletons)]
    heads: list[int] = []
    for source in sources:
        subject = str(source.manifest.path)
        if source.dataset and names and source.dataset not in names:
            raise ConfigError(
                f"no head for a dataset {source.dataset!r}", subject=subject, remedy=f"Known: {', '.join(names)}."
            )
        if not source.dataset and len(model.skeletons) > 1:
            raise ConfigError(
                "the network has several heads, and its data does not say which it teaches",
                subject=subject,
                remedy=f'Add dataset = "..." to its [[data]]: {", ".join(names)}.',
            )
        head = names.index(source.dataset) if source.dataset in names else 0
        model.skeletons[head].require_same(source.manifest.skeleton, subject)
        heads.append(head)
    return heads


def pose_crops(
    model: ViTPose,
    sources: Sequence[Source],
    how: Augmentation,
    *,
    batch_size: int,
    workers: int = 0,
    unlabelled: Sequence[Source] = (),
    input_size: tuple[int, int] | None = None,
) -> PoseCrops:
    """The sources' poses, on canvases large enough for every crop that can be drawn.

    Args:
        model: Tells sizes and heads.
        sources: Labelled poses.
        how: How crops vary.
        batch_size: Crops of a whole step, which bounds how large the canvases may be.
        workers: Processes that read images, each with a cache of its own.
        unlabelled: Poses of which only the box counts; they come after the others.
        input_size: (H, W) that the canvases are to be good for; the network's where left out.

    Raises:
        ConfigError: As :func:`heads_of`.
        SkeletonError: As :func:`heads_of`.
        InputError: There is nothing to train on in one of them.
    """
    every, size = [*sources, *unlabelled], input_size or model.input_size
    return PoseCrops(
        [source.manifest for source in every],
        datasets=heads_of(model, every),
        unlabelled=range(len(sources), len(every)),
        input_size=size,
        padding=model.config.box_padding,
        canvas_size=how.canvas_size(size),
        detail=how.detail,
        batch_size=batch_size,
        cache_bytes=CACHE_BYTES // max(workers, 1),
    )
