"""Random crops: areas, ratios and places by closed forms, and the pixels that files and drawn pictures give."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from model.data.crops import Crop, crop_squares
from model.data.pictures import decode_reduced
from model.data.pixels import Extent
from model.data.squares import file_at, read_squares
from model.data.transforms import Transforms
from tests.conftest import compose_run

ROWS = np.arange(4000)
WHOLE = Crop(1.0, 1.0, 0.1, 10.0, 0.5, 0.5)


def drawn(*overrides: str) -> list[Crop]:
    """Returns the crops of many rows."""
    config = compose_run("data/transforms=standard", *overrides).data.transforms
    return Transforms(config, 0).crops(3, ROWS)


@pytest.mark.parametrize(("width", "height"), [(64, 48), (30, 30), (40, 90)])
def test_areas_are_uniform_and_ratios_in_their_range(width, height):
    """A crop of at most half the area and of 3:4 to 4:3 fits into each of these pictures."""
    boxes = [crop.box(Extent(0, 0, width, height)) for crop in drawn("data.transforms.crop_scale=[0.1,0.3]")]
    sides = np.array([box.sides for box in boxes])
    shares = sides.prod(1) / (width * height)
    # Kolmogorov-Smirnov: the distance to the uniform distribution on [0.1, 0.3], 1 % critical value.
    steps = (np.arange(len(shares)) + 0.5) / len(shares)
    assert np.abs((np.sort(shares) - 0.1) / 0.2 - steps).max() < 1.63 / np.sqrt(len(shares))
    ratios = sides[:, 0] / sides[:, 1]
    assert 0.75 - 1e-9 < ratios.min() < 0.76
    assert 1.32 < ratios.max() < 1.3333 + 1e-9
    places = (np.sort(np.log(ratios)) - np.log(0.75)) / np.log(1.3333 / 0.75)
    assert np.abs(places - steps).max() < 1.63 / np.sqrt(len(shares))
    # The free room to the left of a crop is uniform too, and no crop leaves the picture.
    left = np.array([box.left for box in boxes]) / (width - sides[:, 0])
    assert np.abs(np.sort(left) - steps).max() < 1.63 / np.sqrt(len(shares))
    assert all(0 <= box.left <= box.right <= width and 0 <= box.top <= box.bottom <= height for box in boxes)


@pytest.mark.parametrize(
    ("crop", "size", "expected"),
    [
        (Crop(0.25, 1.0, 0.75, 1.3333, 0.0, 1.0), (40, 40), (0, 20, 20, 40)),
        (Crop(1.0, 0.8, 0.75, 1.3333, 0.5, 0.5), (40, 40), (0, 0, 40, 40)),  # only a square has the whole area
        (Crop(0.9, 1.0, 0.5, 2.0, 0.0, 0.0), (40, 20), (0, 0, 36, 20)),  # 18:10 is the nearest ratio that fits
        (Crop(0.9, 1.0, 1.0, 1.0, 0.5, 0.5), (40, 20), (10, 0, 30, 20)),  # squares only: the largest one
    ],
)
def test_a_crop_that_does_not_fit_is_changed(crop, size, expected):
    assert crop.box(Extent(0, 0, *size)) == pytest.approx(expected)


def gradient(width: int, height: int) -> Image.Image:
    """Returns a picture whose red is the place from left to right and whose green that from top to bottom, 0 to 255."""
    x, y = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
    return Image.fromarray((255 * np.stack([x, y, x * 0], -1)).round().astype(np.uint8))


def test_a_crop_of_a_file_shows_its_part(tmp_path):
    gradient(300, 200).save(tmp_path / "a.png")
    crop = Crop(0.25, 1.5, 0.5, 2.0, 1.0, 0.0)  # the right half of the upper half: 150 x 100
    square = read_squares([file_at(str(tmp_path / "a.png"))], 50, [crop])[0].float()
    middle = (torch.arange(50) + 0.5) / 50
    assert (square[0] / 255 - (0.5 + 0.5 * middle)[None, :]).abs().max() < 0.012
    assert (square[1] / 255 - (0.5 * middle)[:, None]).abs().max() < 0.012


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_jpeg_is_reduced_by_the_pixels_of_the_crop(tmp_path, orientation):
    """The crop, not the whole picture, must keep as many pixels as the square."""
    stored, exif = gradient(320, 640), Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "a.jpg", exif=exif, quality=95)
    file = file_at(str(tmp_path / "a.jpg"))
    part_of_it = Crop(0.125, 1.0, 0.5, 2.0, 1.0, 1.0)
    whole, part = (decode_reduced(file.open, 40, crop) for crop in (None, part_of_it))
    assert min(whole.extent.sides) == 40
    # The crop has 160 x 160 pixels of 320 x 640: a quarter of its size is enough.
    assert min(part.extent.sides) == 80
    # The largest part that is twice as wide as high has 320 x 160 of the 320 x 640 pixels, or all of 640 x 320 pixels.
    wide = decode_reduced(file.open, 40, Crop(1.0, 2.0, 2.0, 2.0, 0.5, 0.5))
    assert min(wide.extent.sides) == (80 if orientation == 1 else 40)
    red, green, _ = read_squares([file], 40, [part_of_it])[0].float().mean((1, 2)).tolist()
    # Upright, the part is at the lower right, which orientation 6 stores at the upper right.
    expected = (0.75, 0.875) if orientation == 1 else (0.75, 0.125)
    assert (red / 255, green / 255) == pytest.approx(expected, abs=0.02)


def test_drawn_pictures_are_cropped_like_files():
    pictures = torch.from_numpy(np.stack([np.array(gradient(32, 32))] * 2)).permute(0, 3, 1, 2)
    same, corner = crop_squares(pictures, [WHOLE, Crop(0.25, 1.0, 0.5, 2.0, 0.0, 1.0)]).float()
    assert torch.equal(same, pictures[0].float())
    middle = (torch.arange(32) + 0.5) / 64
    # Bicubic scaling deviates at the sides, beyond which there are no pixels.
    assert (corner[0] / 255 - middle[None, :]).abs()[:, 2:].max() < 0.01
    assert (corner[1] / 255 - (0.5 + middle)[:, None]).abs()[:-2].max() < 0.01
    assert crop_squares(pictures, None) is pictures
