"""The type of conf/data/transforms: random changes of training pictures."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING


@dataclass
class TransformsConfig:
    """conf/data/transforms: how training pictures differ from epoch to epoch."""

    crop_scale: list[float] | None = MISSING
    crop_ratio: list[float] = MISSING
    flip: float = MISSING
    shift: float = MISSING
    rotate: float = MISSING
    zoom: float = MISSING
    fill: str = MISSING
    brightness: float = MISSING
    contrast: float = MISSING
    saturation: float = MISSING
    hue: float = MISSING
    grey: float = MISSING
    tint: float = MISSING
    blur: float = MISSING
    blur_sigma: list[float] = MISSING
