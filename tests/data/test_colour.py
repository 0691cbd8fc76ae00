"""Changes of colours, compared with Pillow, colorsys, scipy and formulas in float64."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from scipy import ndimage

from model.data import colour
from model.data.movement import flip, move

FACTORS = (0.4, 1.0, 1.7)


def noise(count: int = 3, size: int = 12) -> torch.Tensor:
    """Returns smooth random pictures, (B, 3, H, W) float32 from 0 to 255 in whole numbers."""
    rough = torch.rand(count, 3, size // 3, size // 3, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(rough, size=(size, size), mode="bilinear").mul(255).round()


def as_pillow(picture: torch.Tensor) -> Image.Image:
    """Returns one picture for Pillow."""
    return Image.fromarray(picture.permute(1, 2, 0).to(torch.uint8).numpy())


@pytest.mark.parametrize(
    ("change", "enhancer"),
    [
        (colour.brightness, ImageEnhance.Brightness),
        (colour.contrast, ImageEnhance.Contrast),
        (colour.saturation, ImageEnhance.Color),
    ],
)
def test_a_factor_changes_a_picture_as_in_pillow(change, enhancer):
    pictures = noise()
    changed = change(pictures, torch.tensor(FACTORS))
    for picture, result, factor in zip(pictures, changed, FACTORS, strict=True):
        expected = np.asarray(enhancer(as_pillow(picture)).enhance(factor)).astype(float)
        # Pillow rounds the grey or the mean first, and truncates the result.
        assert np.abs(result.permute(1, 2, 0).numpy() - expected).max() < 2.5
    assert changed.min() >= 0
    assert changed.max() <= 255


def test_grey_has_the_weights_of_bt_601():
    pure = 255 * torch.eye(3).reshape(3, 3, 1, 1)
    assert colour.grey_of(pure).flatten().tolist() == pytest.approx([0.299 * 255, 0.587 * 255, 0.114 * 255])
    kept, grey = colour.grey(pure[:2], torch.tensor([False, True]))
    assert torch.equal(kept, pure[0])
    assert grey.flatten().tolist() == pytest.approx([0.587 * 255] * 3)


def test_hue_turns_as_in_colorsys():
    corners = torch.tensor([[r, g, b] for r in (0, 128, 255) for g in (0, 128, 255) for b in (0, 128, 255)])
    colours = torch.cat([corners, noise().movedim(1, -1).flatten(0, 2)[:37]]).float()
    for turn in (-0.5, -0.1, 0.0, 1 / 3, 0.45):
        turned = colour.hue(colours.T.reshape(1, 3, -1, 1), torch.tensor([turn]))[0, :, :, 0].T
        for before, after in zip(colours.tolist(), turned.tolist(), strict=True):
            h, s, v = colorsys.rgb_to_hsv(*(value / 255 for value in before))
            expected = [255 * value for value in colorsys.hsv_to_rgb((h + turn) % 1, s, v)]
            assert after == pytest.approx(expected, abs=1e-2)


def test_blur_is_a_gaussian_of_each_picture():
    pictures, sigmas = noise(size=15), (0.4, 1.0, 2.1)
    blurred = colour.blur(pictures, torch.tensor(sigmas))
    for picture, result, sigma in zip(pictures, blurred, sigmas, strict=True):
        expected = ndimage.gaussian_filter(
            picture.double().numpy(), (0, sigma, sigma), mode="nearest", radius=(0, 7, 7)
        )
        assert np.abs(result.numpy() - expected).max() < 1e-2


def test_tint_has_a_factor_for_each_colour():
    tinted = colour.tint(torch.full((1, 3, 2, 2), 200.0), torch.tensor([[1.0, 0.5, 0.75]]))
    assert tinted[0, :, 0, 0].tolist() == [200, 100, 150]


def test_flip_exchanges_left_and_right_of_the_chosen():
    pictures = noise(2)
    same, mirrored = flip(pictures, torch.tensor([False, True]))
    assert torch.equal(same, pictures[0])
    assert np.array_equal(mirrored.numpy(), pictures[1].numpy()[..., ::-1])


def blob(x: float, y: float, size: int = 65) -> torch.Tensor:
    """Returns a bright spot at a place that is given as shares of the size from the middle, (1, 3, H, W)."""
    places = (torch.arange(size) + 0.5) / size - 0.5
    distance = (places[None, :] - x) ** 2 + (places[:, None] - y) ** 2
    return (255 * torch.exp(-distance / 0.002)).expand(1, 3, size, size)


@pytest.mark.parametrize(("white", "beyond"), [(True, 255), (False, 40)])
def test_what_continues_a_picture(white, beyond):
    """A picture that is dark at its left and bright at its right, shifted to the right by a quarter."""
    picture = torch.full((1, 3, 8, 8), 40.0)
    picture[..., 4:] = 160
    moved = move(picture, torch.tensor([[0.25, 0.0]]), torch.zeros(1), torch.ones(1), white=white)[0, 0, 0]
    assert moved.tolist() == pytest.approx([beyond] * 2 + [40] * 4 + [160] * 2, abs=1e-3)


@pytest.mark.parametrize("degrees", [0, 90, -30])
@pytest.mark.parametrize(("shift", "zoom"), [((0.0, 0.0), 1.0), ((0.1, -0.05), 1.0), ((0.1, 0.05), 0.8)])
def test_a_spot_moves_where_geometry_says(degrees, shift, zoom):
    """Rotation (clockwise, with y downwards), then scaling, then the shift."""
    x, y = 0.15, -0.1
    angle = np.radians(degrees)
    moved = move(blob(x, y), torch.tensor([shift]), torch.tensor([angle]), torch.tensor([zoom]))[0, 0].double()
    places = (torch.arange(65) + 0.5) / 65 - 0.5
    found = [(moved.sum(axis) * places).sum() / moved.sum() for axis in (0, 1)]
    expected = [
        zoom * (np.cos(angle) * x - np.sin(angle) * y) + shift[0],
        zoom * (np.sin(angle) * x + np.cos(angle) * y) + shift[1],
    ]
    assert found == pytest.approx(expected, abs=3e-3)
