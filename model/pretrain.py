"""Pre-training without labels: what a masked autoencoder (:mod:`model.masked`) is trained on, and by which recipe.

The paper pre-trains on the very images that it then labels, and loses little against ImageNet (its section 4.3); the
recipe is MAE's. The loop is the one of all training, :mod:`model.train`; the result is an encoder's folder, from which
a supervised training starts.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, model_validator
from timm.optim import param_groups_layer_decay  # pyright: ignore[reportPrivateImportUsage]  (it is public)
from torch import Tensor, nn

from autolabel.errors import ConfigError
from autolabel.settings import Settings
from autolabel.skeleton import Skeleton
from model.config import ViTPoseConfig
from model.draws import Draws, RandomNumbers
from model.encoder_folder import save_encoder
from model.encoders import Encoder, start_from_encoder
from model.image_crops import ImageBatch, random_crops
from model.masked import (
    MaskedAutoencoder,
    Reconstructions,
    initialise,
    reconstruct,
    sine_positions,
    standardised,
    taken,
)
from model.objective import Drawn
from model.recipe import Training
from model.vitpose import build_vitpose


class Pretraining(Settings):
    """What is hidden, what predicts it, and how crops vary.

    Attributes:
        mask_ratio: Share of the patches that is hidden.
        decoder_width: Channels of the decoder's tokens. MAE's decoder is 512 wide and 8 deep; where the encoder is
            fine-tuned, as here, its Table 1 finds next to no difference between decoders of 1 to 8 blocks.
        decoder_depth: Blocks of the decoder.
        decoder_heads: Their attention heads; they divide the width.
        area: Smallest and largest share of the frame (a person's padded box, or the image) that a crop shows.
        aspect: Largest factor by which a crop is squeezed or stretched.
        flip: Share of mirrored crops.
    """

    mask_ratio: float = Field(default=0.75, gt=0, lt=1)
    decoder_width: int = Field(default=256, ge=4, le=16_384, multiple_of=4)
    decoder_depth: int = Field(default=4, ge=1, le=256)
    decoder_heads: int = Field(default=8, ge=1, le=1024)
    area: tuple[float, float] = (0.2, 1.0)
    aspect: float = Field(default=4 / 3, ge=1, le=16)
    flip: float = Field(default=0.5, ge=0, le=1)

    @model_validator(mode="after")
    def _consistent(self) -> "Pretraining":
        if self.decoder_width % self.decoder_heads:
            raise ValueError(
                f"decoder_width {self.decoder_width} must be a multiple of decoder_heads {self.decoder_heads}"
            )
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise ValueError(f"area {self.area} must rise between 0 and 1")
        return self


_USELESS = ("augmentation", "partial", "presence_weight", "validate_every", "patience")


def recipe(fields: Mapping[str, Any], subject: str) -> Training:
    """The recipe of a pre-training: what is given, and MAE's defaults for the rest.

    AdamW with betas 0.9 and 0.95, weight decay 0.05, a learning rate of 1.5e-4 for a batch of 256 and in proportion to
    the batch, 5 % of the steps as warm-up (its 40 of 800 epochs), half a cosine.

    Args:
        fields: Those of :class:`model.recipe.Training`.
        subject: What errors call them.

    Raises:
        ConfigError: One is unknown, impossible, or without effect here.
    """
    if useless := [name for name in _USELESS if name in fields]:
        raise ConfigError(
            f"{useless[0]} has no effect in pre-training",
            subject=subject,
            remedy="Remove it; crops vary by [pretraining].",
        )
    given = Training.parse(fields, subject=subject)
    defaults = {
        "learning_rate": 1.5e-4 * given.batch_size / 256,
        "weight_decay": 0.05,
        "betas": (0.9, 0.95),
        "warmup_steps": given.steps // 20,
    }
    return Training.parse({**defaults, **fields}, subject=subject)


def build_autoencoder(config: ViTPoseConfig, how: Pretraining, encoder: Encoder | None = None) -> MaskedAutoencoder:
    """A fresh masked autoencoder; draws from torch's global random numbers.

    Args:
        config: The network to pre-train. Its stochastic depth is left out, as in MAE.
        how: Masking and decoder.
        encoder: To go on from. Its positions are kept, fixed, if it has any.

    Raises:
        ConfigError: As :func:`require_maskable`.
        CheckpointError: The encoder does not fit.
    """
    require_maskable(config)
    changes = {"drop_path": 0.0, "decoder": "simple", "datasets": (), "codecs": ()}
    model = build_vitpose(config.model_copy(update=changes), Skeleton.load("coco17"))
    if encoder is not None:
        start_from_encoder(model, encoder)
    else:
        for part in (model.patch_embed, model.blocks):
            initialise(part)
    if encoder is None or not encoder.tensors["pos_embed"].any():
        with torch.no_grad():
            model.pos_embed.copy_(sine_positions(config.width, config.grid_size))
    return MaskedAutoencoder(
        model,
        mask_ratio=how.mask_ratio,
        decoder_width=how.decoder_width,
        decoder_depth=how.decoder_depth,
        decoder_heads=how.decoder_heads,
    )


def require_maskable(config: ViTPoseConfig, subject: str = "model") -> None:
    """Refuse a network whose encoder cannot leave patches out.

    Raises:
        ConfigError: Patches overlap, so that seen ones would show parts of hidden ones; attention is not full; it has
            experts; there are fewer than two patches, or the width has no place for sines and cosines of two axes.
    """
    rows, columns = config.grid_size
    faults = (
        (config.ratio != 1, "ratio", 1, "a patch that is seen would show parts of hidden ones"),
        (
            config.attention != "full",
            "attention",
            "full",
            "windows need the whole grid of tokens, of which most is hidden",
        ),
        (config.relative_position, "relative_position", False, "its biases need the whole grid of tokens"),
        (config.experts > 0, "experts", 0, "experts need labels that say whose sample it is"),
        (config.knowledge, "knowledge", False, "its token is taught by a teacher"),
    )
    for wrong, field, plain, reason in faults:
        if wrong:
            raise ConfigError(
                f"{field} {getattr(config, field)} cannot be pre-trained: {reason}",
                subject=subject,
                remedy=f"Pre-train with {field} {plain}: a network with any {field} can start from that encoder.",
            )
    if rows * columns < 2 or config.width % 4:
        raise ConfigError(
            f"{rows}x{columns} patches of width {config.width}: at least 2 and a multiple of 4 are needed",
            subject=subject,
        )


class MaskedImages:
    """Hidden patches against their pixels; see :class:`model.objective.Objective`.

    Args:
        network: From :func:`build_autoencoder`; trained in place.
        config: What it describes, for the encoder's folder.
        how: How crops vary.
        refuse: Told each image that could not be read, with the reason, once.
        show: Given the folder and the reconstructions of ``shown`` whenever the encoder is saved.
        shown: What to show.
    """

    def __init__(
        self,
        network: MaskedAutoencoder,
        config: ViTPoseConfig,
        how: Pretraining,
        *,
        refuse: Callable[[str, str], None],
        show: Callable[[Path, Reconstructions], None] | None = None,
        shown: ImageBatch | None = None,
    ) -> None:
        self.network: nn.Module = network
        self.config, self.how = config, how
        self._autoencoder = network
        self._refuse, self._show, self._shown = refuse, show, shown
        self._refused: set[str] = set()

    def groups(self, weight_decay: float, layer_decay: float) -> list[dict[str, Any]]:
        """No decay of biases and norms, as in MAE."""
        return param_groups_layer_decay(self._autoencoder, weight_decay=weight_decay, layer_decay=layer_decay)

    def draw(self, batch: ImageBatch, draws: RandomNumbers) -> Drawn:
        """Random crops, each with its patches in a random order."""
        for image, reason in batch.refused.items():
            if image not in self._refused:
                self._refused.add(image)
                self._refuse(image, reason)
        crops = random_crops(
            batch,
            area=self.how.area,
            aspect=self.how.aspect,
            flip=self.how.flip,
            input_size=self.config.input_size,
            draws=draws,
        )
        patches = self.config.grid_size[0] * self.config.grid_size[1]
        shuffle = draws.uniform(patches).argsort(dim=1, stable=True)
        return Drawn((crops, shuffle), None)

    def losses(self, outputs: Tensor, drawn: Drawn) -> Mapping[str, Tensor]:
        """``loss``: mean squared error over the hidden patches, each patch's pixels brought to mean 0, variance 1.

        A network that predicts every patch as grey has a loss of nearly 1.
        """
        crops, shuffle = drawn.inputs
        hidden = shuffle[:, self._autoencoder.kept :]
        wanted, _, _ = standardised(taken(self._autoencoder.patches(crops), hidden))
        return {"loss": (taken(outputs.float(), hidden) - wanted).square().mean()}

    def metrics(self, outputs: Tensor, drawn: Drawn) -> Mapping[str, Tensor]:
        """None: the loss says all."""
        return {}

    def save(self, network: nn.Module, folder: Path, metrics: Mapping[str, float]) -> None:
        """The encoder's folder (:mod:`model.encoder_folder`), and a look at what it has learnt."""
        assert isinstance(network, MaskedAutoencoder)
        save_encoder(self.config, network.encoder_tensors(), folder, metrics)
        if self._show is not None and self._shown is not None:
            device = next(network.parameters()).device
            draws = Draws(0, 0, len(self._shown), slice(None), device)
            self._show(folder, reconstruct(network, *self.draw(self._shown.to(device), draws).inputs))
