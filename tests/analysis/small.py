"""Small models for the tests of this folder."""

from __future__ import annotations

from types import SimpleNamespace

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
    """Two layers for pictures, one for text; always the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_towers(SimpleNamespace(**SIZES), tokens).eval()
