"""Small models and readers of results for the tests of this folder."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from model.views.towers import SpecialTokens, Towers, build_towers

SIZES = {
    "image_size": 16,
    "patch_size": 8,
    "context_length": 9,
    "vision_width": 8,
    "vision_layers": 2,
    "vision_heads": 2,
    "text_width": 8,
    "text_layers": 1,
    "text_heads": 2,
    "activation": "gelu",
}


def small_towers(tokens: SpecialTokens) -> Towers:
    """Two layers for images, one for text; always the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_towers(SimpleNamespace(**SIZES), tokens).eval()


def analysis_of(folder: Path) -> dict[str, Any]:
    """The content of analysis.json, which must be strict JSON."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in analysis.json")

    return json.loads((folder / "analysis.json").read_text(), parse_constant=refuse)


def numbers(value: object) -> list[float]:
    """Every number in nested lists and dictionaries; NaN for None."""
    if isinstance(value, dict):
        return [number for inner in value.values() for number in numbers(inner)]
    if isinstance(value, list):
        return [number for inner in value for number in numbers(inner)]
    return [] if isinstance(value, str) else [math.nan if value is None else float(value)]
