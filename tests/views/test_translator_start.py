"""The encoder-decoder at the start of a run: its views differ from sample to sample, at every width and depth."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from model.views import ViewEncoder, plan_views
from model.views.backbone_sizes import resolved_sizes
from model.views.towers import SpecialTokens

TOKENS = SpecialTokens(begin=1, end=3, pad=0, vocabulary=1000)
SAMPLES, LENGTH = 64, 14


def captions_of_one_length(context_length: int) -> torch.Tensor:
    """(SAMPLES, 2, T): different captions of LENGTH tokens, the same one twice."""
    tokens = torch.randint(4, TOKENS.vocabulary, (SAMPLES, context_length), generator=torch.Generator().manual_seed(7))
    tokens[:, 0], tokens[:, LENGTH - 1], tokens[:, LENGTH:] = TOKENS.begin, TOKENS.end, TOKENS.pad
    assert len(tokens.unique(dim=0)) == SAMPLES
    return tokens[:, None].expand(-1, 2, -1)


def similarities(composed, model: str, backbone: str, seed: int, *overrides: str) -> dict[str, float]:
    """View -> mean cosine between two different samples, at the start of a run. The image tower, which is not meant, is
    kept small.
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
    found = similarities(composed, "v534dim", "tiny", seed, f"backbone.translator_norm={norm}")
    assert found["decoded_2"] <= 0.96
    assert found["encoded_2"] <= 0.96
    assert similarities(composed, "v5335dim", "tiny", seed, f"backbone.translator_norm={norm}")["translated_2"] <= 0.995


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_at_the_original_size_they_differ_as_caption_1_does(composed, seed):
    for model, views in (("v534dim", ("decoded_2", "encoded_2")), ("v5335dim", ("translated_2",))):
        found = similarities(composed, model, "vit_b_32", seed)
        for view in views:
            assert found[view] <= found["caption_1"] + 0.05, (view, found)


@pytest.mark.parametrize(
    "changes",
    [
        ("backbone.translator_layers=3",),
        ("backbone.text_width=192", "backbone.translator_ffn=768"),
        ("backbone.text_width=48",),
    ],
)
def test_other_widths_and_depths_too(composed, changes):
    found = similarities(composed, "v534dim", "tiny", 0, *changes)
    assert max(found["decoded_2"], found["encoded_2"]) <= 0.96


def test_marians_own_weights_give_equal_views(composed):
    """What the rule is for."""
    found = similarities(
        composed, "v534dim", "tiny", 0, "backbone.translator_norm=post", "backbone.translator_init=marian"
    )
    assert min(found["decoded_2"], found["encoded_2"]) > 0.99
