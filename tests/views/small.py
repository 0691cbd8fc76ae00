"""Small encoders and batches for the tests of this folder."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from model.views.encoder import ViewEncoder
from model.views.recipes import ViewPlan, plan_views
from model.views.towers import SpecialTokens

# With 2 as the end token, transformers would pool by its oldest rule.
TOKENS = SpecialTokens(begin=1, end=3, pad=0, vocabulary=50)
SIZES = SimpleNamespace(
    pretrained=None,
    image_size=16,
    patch_size=8,
    context_length=12,
    vision_width=24,
    vision_layers=2,
    vision_heads=2,
    text_width=16,
    text_layers=2,
    text_heads=2,
    activation="gelu",
    translator_layers=1,
    translator_heads=2,
    translator_ffn=32,
    translator_activation="gelu",
    translator_dropout=0.0,
    translator_norm="pre",
    translator_init="fan_in",
)
MODELS = ("clip", "v534dim", "v5335dim")


def make_batch(rows: int = 4, captions: int = 5, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Random images, and captions of different lengths: begin, words, end, padding."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(rows, 3, 16, 16, generator=generator)
    tokens = torch.randint(4, 50, (rows, captions, 12), generator=generator)
    tokens[..., 0] = TOKENS.begin
    ends = torch.randint(4, 11, (rows, captions), generator=generator)
    position = torch.arange(12)
    tokens[position == ends[..., None]] = TOKENS.end
    tokens[position > ends[..., None]] = TOKENS.pad
    return images, tokens


def make_encoder(
    model: str,
    captions: int,
    *,
    projection: str = "none",
    token_select: str = "softmax",
    eot_select: str = "argmax",
    reads: int | None = None,
) -> ViewEncoder:
    """An encoder of the recipe `model`, always with the same weights."""
    return planned_encoder(
        plan_views(model, captions, reads), projection=projection, token_select=token_select, eot_select=eot_select
    )


def planned_encoder(
    plan: ViewPlan, *, projection: str = "none", token_select: str = "softmax", eot_select: str = "argmax"
) -> ViewEncoder:
    """An encoder of any plan, always with the same weights."""
    torch.manual_seed(0)
    return ViewEncoder(plan, SIZES, TOKENS, projection=projection, token_select=token_select, eot_select=eot_select)
