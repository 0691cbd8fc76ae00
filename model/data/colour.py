"""Changes colours of pictures, and blurs them. Shapes: B pictures, H x W pixels.

Pictures are (B, 3, H, W) floating point from 0 to 255: red, green, blue. The result for a picture does not depend on
the other pictures or on the number of threads.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

# The shares of red, green and blue in the brightness of a pixel: ITU-R BT.601, which Pillow uses too.
GREY = (0.299, 0.587, 0.114)


def per_picture(values: Tensor) -> Tensor:
    """(B,) -> (B, 1, 1, 1)."""
    return values[:, None, None, None]


def grey_of(pictures: Tensor) -> Tensor:
    """Returns the brightness of each pixel, (B, 1, H, W)."""
    red, green, blue = pictures.split(1, dim=1)
    return GREY[0] * red + GREY[1] * green + GREY[2] * blue


def brightness(pictures: Tensor, factors: Tensor) -> Tensor:
    """Multiplies all colours of a picture by its factor, up to 255. factors: (B,)."""
    return (pictures * per_picture(factors)).clamp(0, 255)


def contrast(pictures: Tensor, factors: Tensor) -> Tensor:
    """Multiplies the distance of all colours from the mean brightness of the picture by its factor. factors: (B,)."""
    # A sum of integers does not depend on the order of the addition.
    levels = grey_of(pictures).round().long()
    mean = per_picture((levels.flatten(1).sum(1).double() / levels[0].numel()).to(pictures))
    return (mean + (pictures - mean) * per_picture(factors)).clamp(0, 255)


def saturation(pictures: Tensor, factors: Tensor) -> Tensor:
    """Multiplies the distance of each colour from the grey of the same brightness by the picture's factor.
    factors: (B,).
    """
    grey = grey_of(pictures)
    return (grey + (pictures - grey) * per_picture(factors)).clamp(0, 255)


def hue(pictures: Tensor, turns: Tensor) -> Tensor:
    """Turns the hue of each pixel in the HSV model. turns: (B,) as shares of the circle of colours; 1/3 makes red
    green.
    """
    value, low = pictures.amax(1, keepdim=True), pictures.amin(1, keepdim=True)
    chroma = value - low
    red, green, blue = ((value - colour) / chroma.clamp_min(1e-6) for colour in pictures.split(1, dim=1))
    # The hue in sixths of the circle. Grey pixels have no hue: their chroma is 0, whatever the hue.
    sixths = torch.where(
        pictures[:, 0:1] == value,
        blue - green,
        torch.where(pictures[:, 1:2] == value, 2 + red - blue, 4 + green - red),
    )
    sixths = sixths + 6 * per_picture(turns)
    # A colour falls from `value` to `low` with the distance of the hue from its own.
    places = [(offset + sixths).remainder(6) for offset in (5, 3, 1)]
    return torch.cat([value - chroma * torch.minimum(place, 4 - place).clamp(0, 1) for place in places], dim=1)


def grey(pictures: Tensor, chosen: Tensor) -> Tensor:
    """Makes the pictures grey that the (B,) booleans choose."""
    return torch.where(per_picture(chosen), grey_of(pictures), pictures)


def tint(pictures: Tensor, factors: Tensor) -> Tensor:
    """Multiplies red, green and blue by factors of their own. factors: (B, 3) from 0 to 1."""
    return pictures * factors[:, :, None, None]


def blur(pictures: Tensor, sigmas: Tensor) -> Tensor:
    """Convolves each picture with a Gaussian; the outermost pixels continue it beyond its sides. sigmas: (B,) standard
    deviations in pixels, above 0. The Gaussian ends three times the largest standard deviation from its middle.
    """
    radius = math.ceil(3 * float(sigmas.max()))
    distances = torch.arange(-radius, radius + 1, dtype=torch.float64)
    weights = torch.exp(-0.5 * (distances / sigmas.double()[:, None]) ** 2)
    weights = (weights / weights.sum(1, keepdim=True)).to(pictures)
    for padding, axis in (((radius, radius, 0, 0), 3), ((0, 0, radius, radius), 2)):
        padded, length = F.pad(pictures, padding, mode="replicate"), pictures.shape[axis]
        # A sum of shifted pictures, because the order of addition of a library's convolution can depend on the batch.
        pictures = torch.zeros_like(pictures)
        for place in range(2 * radius + 1):
            pictures.addcmul_(padded.narrow(axis, place, length), per_picture(weights[:, place]))
    return pictures
