"""Checks the values of conf/data/transforms and the order of captions. Every function raises ConfigError or returns
None.
"""

from __future__ import annotations

from model.config.schema import DataConfig, TransformsConfig
from model.errors import one_of, require, within

CAPTION_ORDERS = ("fixed", "sampled")
FILLS = ("mirror", "white")
GROUP = "data.transforms"
# The largest value of each key. The smallest is 0.
LARGEST = {
    "flip": 1.0,
    "shift": 1.0,
    "rotate": 180.0,
    "zoom": 0.9,
    "brightness": 1.0,
    "contrast": 1.0,
    "saturation": 1.0,
    "hue": 0.5,
    "grey": 1.0,
    "tint": 1.0,
    "blur": 1.0,
}
# Key -> the range of both of its numbers.
RANGES = {"crop_scale": (0.01, 1.0), "crop_ratio": (0.1, 10.0), "blur_sigma": (0.01, 100.0)}


def check_variation(data: DataConfig) -> None:
    """Raises ConfigError for a value of `data.transforms` or `data.caption_order` that is out of range."""
    one_of("data.caption_order", data.caption_order, CAPTION_ORDERS)
    for key, most in LARGEST.items():
        within(f"{GROUP}.{key}", getattr(data.transforms, key), 0, most)
    one_of(f"{GROUP}.fill", data.transforms.fill, FILLS)
    for key in RANGES:
        check_range(data.transforms, key)


def check_range(transforms: TransformsConfig, key: str) -> None:
    """Raises ConfigError unless the key has two numbers, the smaller one first, in their range."""
    values, (least, most) = getattr(transforms, key), RANGES[key]
    if values is None:
        return
    shown = f"[{','.join(map(str, values))}]"
    allowed = f"[least,most], two numbers from {least:g} to {most:g}"
    fits = len(values) == 2 and least <= values[0] <= values[1] <= most
    require(fits, f"{GROUP}.{key}", shown, "is not a range", allowed)
