"""A masked autoencoder computes what is said of it, patch by patch, and from the patches that are seen alone."""

import numpy as np
import pytest
import torch
from timm.layers import build_sincos2d_pos_embed
from torch.nn import functional as F

from model.config import ViTPoseConfig
from model.masked import MaskedAutoencoder, reconstruct, sine_positions, standardised, taken
from model.pretrain import Pretraining, build_autoencoder

SIZE, PATCH, GRID, N = (48, 32), 8, (6, 4), 24


def autoencoder(padding: int = 2, seed: int = 0, **changes: object) -> MaskedAutoencoder:
    """Every parameter random: what starts at 0 or 1 would hide mistakes."""
    config = ViTPoseConfig.model_validate(
        {"input_size": SIZE, "patch_size": PATCH, "patch_padding": padding, "width": 16, "depth": 2, "heads": 2}
    )
    how = {"decoder_width": 8, "decoder_depth": 1, "decoder_heads": 2, **changes}
    network = build_autoencoder(config, Pretraining.model_validate(how))
    torch.manual_seed(seed)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network.eval()


def example(count: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(7)
    return torch.randn(count, 3, *SIZE), torch.rand(count, N).argsort(dim=1)


def read_slowly(image: np.ndarray, patch: int, padding: int) -> np.ndarray:
    """What patch i of an image (3, H, W) reads: pixels [8i - padding, 8i + 8 - padding), 0 outside."""
    row, column = divmod(patch, GRID[1])
    found = np.zeros((3, PATCH, PATCH), image.dtype)
    for y in range(PATCH):
        for x in range(PATCH):
            at = (PATCH * row + y - padding, PATCH * column + x - padding)
            if min(at) >= 0:
                found[:, y, x] = image[:, at[0], at[1]]
    return found.reshape(-1)


# ---- patches


@pytest.mark.parametrize("padding", [0, 2, 3])
def test_a_patch_is_what_the_embedding_reads(padding: int) -> None:
    network, (images, _) = autoencoder(padding), example()
    patches = network.patches(images)
    expected = [[read_slowly(image, i, padding) for i in range(N)] for image in images.numpy()]
    np.testing.assert_array_equal(patches.numpy(), np.stack([np.stack(rows) for rows in expected]))
    proj = network.patch_embed.proj
    with torch.inference_mode():
        tokens = F.linear(patches, proj.weight.flatten(1), proj.bias)
        torch.testing.assert_close(tokens, network.patch_embed(images), rtol=1e-4, atol=1e-5)
    back = network.images(patches)
    end = (slice(None), slice(None), slice(0, SIZE[0] - padding), slice(0, SIZE[1] - padding))
    assert torch.equal(back[end], images[end])
    assert back.shape == images.shape and not back[:, :, SIZE[0] - padding :].any()


def test_positions_are_sines_and_cosines_of_column_and_row() -> None:
    """timm has the same numbers in another order: sines of row and column, then cosines."""
    sine_row, sine_column, cosine_row, cosine_column = build_sincos2d_pos_embed([6, 5], 16).split(4, dim=1)
    found = sine_positions(16, (6, 5))[0]
    assert not found[0].any()
    expected = torch.cat([sine_column, cosine_column, sine_row, cosine_row], dim=1)
    torch.testing.assert_close(found[1:], expected, rtol=0, atol=1e-6)


# ---- forward


@torch.inference_mode()
def slow_reference(network: MaskedAutoencoder, image: torch.Tensor, order: list[int]) -> torch.Tensor:
    """One image, patch by patch, with lists of tokens by place."""
    positions = network.pos_embed[0]
    embedded = network.patch_embed(image[None])[0]
    seen = order[: network.kept]
    tokens = torch.stack([embedded[i] + positions[1 + i] + positions[0] for i in seen])[None]
    for block in network.blocks:
        tokens = block(tokens)
    tokens = network.decoder_embed(network.last_norm(tokens))[0]
    places = [tokens[seen.index(i)] if i in seen else network.mask_token[0, 0] for i in range(N)]
    whole = (torch.stack(places) + network.decoder_positions)[None]
    for block in network.decoder_blocks:
        whole = block(whole)
    return network.decoder_pred(network.decoder_norm(whole))[0]


@pytest.mark.parametrize(("ratio", "kept"), [(0.75, 6), (0.5, 12), (0.99, 1), (0.01, 23)])
def test_forward_is_the_slow_reference(ratio: float, kept: int) -> None:
    network, (images, shuffle) = autoencoder(mask_ratio=ratio), example()
    assert network.kept == kept
    with torch.inference_mode():
        found = network(images, shuffle)
    expected = [slow_reference(network, image, row.tolist()) for image, row in zip(images, shuffle, strict=True)]
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-4, atol=1e-4)


def test_with_everything_seen_the_encoder_is_vitposes() -> None:
    """In whatever order: positions go with their patches."""
    network, (images, shuffle) = autoencoder(), example()
    with torch.inference_mode():
        tokens = network.encode(images, shuffle)
        plain = network.patch_embed(images) + network.pos_embed[:, 1:] + network.pos_embed[:, :1]
        for block in network.blocks:
            plain = block(plain)
        expected = network.last_norm(plain)
    torch.testing.assert_close(taken(tokens, shuffle.argsort(dim=1)), expected, rtol=1e-4, atol=1e-4)


def test_hidden_pixels_have_no_say() -> None:
    """And each patch that is seen has."""
    network, (images, shuffle) = autoencoder(), example(1)
    with torch.inference_mode():
        expected = network(images, shuffle)
        for place, patch in enumerate(shuffle[0].tolist()):
            pixels = network.patches(images)
            pixels[0, patch] += 1
            changed = network(network.images(pixels), shuffle)
            assert torch.equal(changed, expected) == (place >= network.kept), place


def test_the_encoder_computes_no_hidden_patch() -> None:
    network, (images, shuffle) = autoencoder(), example()
    lengths: list[int] = []
    for block in network.blocks:
        block.register_forward_hook(lambda _block, inputs, _output: lengths.append(inputs[0].shape[1]))
    network(images, shuffle)
    assert lengths == [6, 6]


def test_every_parameter_but_the_positions_learns() -> None:
    network, (images, shuffle) = autoencoder(), example()
    for recompute in (False, True):
        network.zero_grad()
        network.checkpoint_activations = recompute
        network(images, shuffle).square().mean().backward()
        found = {name: parameter.grad for name, parameter in network.named_parameters() if name != "pos_embed"}
        assert all(gradient is not None and gradient.any() for gradient in found.values())
        expected = found if not recompute else expected  # noqa: F821 (of the turn before)
        torch.testing.assert_close(found, expected)
    assert network.pos_embed.grad is None


# ---- targets and pictures


def test_standardised() -> None:
    patches = torch.randn(2, 5, 48) * 3 + 1
    found, mean, deviation = standardised(patches)
    torch.testing.assert_close(found.mean(dim=2), torch.zeros(2, 5), rtol=0, atol=1e-5)
    torch.testing.assert_close(found.var(dim=2), torch.ones(2, 5), rtol=0, atol=1e-4)
    torch.testing.assert_close(found * deviation + mean, patches)
    assert not standardised(torch.full((1, 1, 48), 3.0))[0].any(), "black or one colour: nothing to predict"


def test_a_reconstruction_shows_what_was_seen_and_fills_in_the_rest() -> None:
    """With a decoder that knows the answer, the reconstruction is the original."""
    network, (images, shuffle) = autoencoder(padding=0), example(2)
    images = images / 4
    network.forward = lambda crops, _: standardised(network.patches(crops))[0]
    made = reconstruct(network, images, shuffle)
    assert made.original.shape == (2, *SIZE, 3)
    np.testing.assert_allclose(made.reconstructed.astype(int), made.original.astype(int), atol=1)
    hidden = torch.zeros(2, N, 3 * PATCH**2)
    for i, row in enumerate(shuffle.tolist()):
        hidden[i, row[network.kept :]] = 1
    hidden = network.images(hidden).bool().permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(made.masked[~hidden], made.original[~hidden])
    assert np.unique(made.masked[hidden]).tolist() == [104, 116, 124], "ImageNet's mean"


def test_what_a_network_starts_from() -> None:
    network = autoencoder()
    names = network.encoder_tensors()
    expected = {"pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias", "last_norm.weight", "last_norm.bias"}
    assert {name for name in names if not name.startswith("blocks.")} == expected
    assert len(names) == 5 + 2 * 12
