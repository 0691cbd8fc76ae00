"""The encoder-decoder at the start of a run: its views differ from sample to sample, at every width and depth."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from model.views.backbone_sizes import resolved_sizes
from model.views.encoder import ViewEncoder
from model.views.recipes import plan_views
from model.views.towers import SpecialTokens

TOKENS = SpecialTokens(begin=1, end=3, pad=0, vocabulary=1000)
SAMPLES, LENGTH = 64, 14


def captions_of_one_length(context_length: int) -> torch.Tensor:
    """(SAMPLES, 2, T): a different caption of LENGTH tokens for each sample, each caption twice."""
    tokens = torch.randint(4, TOKENS.vocabulary, (SAMPLES, context_length), generator=torch.Generator().manual_seed(7))
    tokens[:, 0], tokens[:, LENGTH - 1], tokens[:, LENGTH:] = TOKENS.begin, TOKENS.end, TOKENS.pad
    assert len(tokens.unique(dim=0)) == SAMPLES
    return tokens[:, None].expand(-1, 2, -1)


def similarities(composed, model: str, backbone: str, seed: int, *overrides: str) -> dict[str, float]:
    """View -> mean cosine between two different samples, at the start of a run. The image tower is small, because its
    view is not measured.
    """
    small_images = ("backbone.vision_layers=1", "backbone.image_size=32", "backbone.patch_size=16")
    sizes = resolved_sizes(composed(f"model={model}", f"backbone={backbone}", *small_images, *overrides).backbone)
    torch.manual_seed(seed)
    plan = plan_views(model, 2)
    encoder = ViewEncoder(plan, sizes, TOKENS, projection="none", token_select="softmax", eot_select="argmax").eval()
    with torch.no_grad():
        rows = F.normalize(
            encoder(torch.zeros(SAMPLES, 3, 32, 32), captions_of_one_length(sizes.context_length)).double(), dim=-1
        )
    cosines = rows @ rows.transpose(1, 2)
    means = (cosines.sum(dim=(1, 2)) - cosines.diagonal(dim1=1, dim2=2).sum(dim=1)) / (SAMPLES * (SAMPLES - 1))
    return dict(zip(plan.names, means.tolist(), strict=True))


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_different_captions_give_different_views(composed, seed, norm):
    cosines = similarities(composed, "v534dim", "tiny", seed, f"backbone.translator_norm={norm}")
    assert cosines["decoded_2"] <= 0.96
    assert cosines["encoded_2"] <= 0.96
    assert similarities(composed, "v5335dim", "tiny", seed, f"backbone.translator_norm={norm}")["translated_2"] <= 0.995


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_at_the_original_size_they_differ_as_much_as_caption_1(composed, seed):
    for model, views in (("v534dim", ("decoded_2", "encoded_2")), ("v5335dim", ("translated_2",))):
        cosines = similarities(composed, model, "vit_b_32", seed)
        for view in views:
            assert cosines[view] <= cosines["caption_1"] + 0.05, (view, cosines)


@pytest.mark.parametrize(
    "changes",
    [
        ("backbone.translator_layers=3",),
        ("backbone.text_width=192", "backbone.translator_ffn=768"),
        ("backbone.text_width=48",),
    ],
)
def test_views_differ_at_other_widths_and_depths(composed, changes):
    cosines = similarities(composed, "v534dim", "tiny", 0, *changes)
    assert max(cosines["decoded_2"], cosines["encoded_2"]) <= 0.96


def test_marians_own_weights_give_equal_views(composed):
    """The initial weights that `fan_in` replaces."""
    cosines = similarities(
        composed, "v534dim", "tiny", 0, "backbone.translator_norm=post", "backbone.translator_init=marian"
    )
    assert min(cosines["decoded_2"], cosines["encoded_2"]) > 0.99
