"""The views of each model: what they depend on, and that every path trains."""

from __future__ import annotations

import pytest
import torch
from transformers import CLIPConfig, CLIPModel

from model.views.positions import end_positions
from model.views.projection import inverse_on_image, on_image
from model.views.recipes import plan_views
from model.views.towers import build_towers
from model.views.translate import END_CHOICES, TOKEN_CHOICES
from tests.conftest import some_of_all
from tests.views.small import MODELS, SIZES, TOKENS, make_batch, make_encoder


def test_five_captions_give_ten_views():
    images, tokens = make_batch()
    assert make_encoder("v534dim", 5)(images, tokens).shape == (10, 4, 16)


@pytest.mark.parametrize("model", MODELS)
def test_views_that_are_not_read_are_not_computed_and_their_networks_not_built(model):
    images, tokens = make_batch()
    encoder = make_encoder(model, 3, reads=2)
    assert encoder(images, tokens).shape == (2, 4, 16)
    assert encoder.states is None
    assert encoder.translator is None


def test_the_image_and_caption_1_are_those_of_clip_itself():
    """Compares with transformers' get_image_features and get_text_features, which find the end token themselves."""
    towers = build_towers(SIZES, TOKENS).eval()
    config = CLIPConfig(
        text_config=towers.text.config.to_dict(), vision_config=towers.vision.config.to_dict(), projection_dim=16
    )
    clip = CLIPModel(config).eval()
    for ours, theirs in ((towers.vision, clip.vision_model), (towers.text, clip.text_model)):
        theirs.load_state_dict(ours.state_dict())
    clip.visual_projection.load_state_dict(towers.visual_projection.state_dict())
    clip.text_projection.load_state_dict(towers.text_projection.state_dict())
    images, tokens = make_batch()
    with torch.no_grad():
        torch.testing.assert_close(towers.image(images), clip.get_image_features(pixel_values=images).pooler_output)
        caption = towers.caption(tokens[:, 0], end_positions(tokens[:, 0], TOKENS.end))
        torch.testing.assert_close(
            caption, clip.get_text_features(input_ids=tokens[:, 0]).pooler_output, rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("model", MODELS)
def test_padding_does_not_change_a_view(model):
    """Other tokens after the end token change no view that reads its caption causally or with a mask."""
    images, tokens = make_batch()
    behind = (tokens == TOKENS.end).int().cumsum(dim=-1).bool() & (tokens != TOKENS.end)
    assert bool((tokens[behind] == TOKENS.pad).all())
    encoder = make_encoder(model, 3).eval()
    longer = tokens.clone()
    longer[:, 0][behind[:, 0]] = 7
    with torch.no_grad():
        torch.testing.assert_close(encoder(images, longer)[1], encoder(images, tokens)[1])


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("choice", ["first", "gumbel"])
def test_every_view_depends_on_its_own_input_alone(model, choice):
    """Other words in caption k change the views that are computed from it, and no others."""
    images, tokens = make_batch()
    selects = {"token_select": "gumbel", "eot_select": "gumbel"} if choice == "gumbel" else {}
    encoder = make_encoder(model, 3, **selects).eval()
    with torch.no_grad():
        before = encoder(images, tokens)
        for caption in range(3):
            other = tokens.clone()
            words = other[:, caption, 1:3]
            other[:, caption, 1:3] = torch.where(words == 49, 48, words + 1)
            changed_views = (encoder(images, other) - before).abs().amax(dim=(1, 2)) > 1e-7
            expected = [name.endswith(f"_{caption + 1}") for name in encoder.plan.names]
            if choice == "first":
                assert changed_views.tolist() == expected
            else:
                assert not any(m and not e for m, e in zip(changed_views.tolist(), expected, strict=True))
        changed_views = (encoder(images + 1, tokens) - before).abs().amax(dim=(1, 2)) > 1e-7
        assert changed_views.tolist() == [name == "image" for name in encoder.plan.names]


@pytest.mark.parametrize(
    ("model", "projection", "token_select", "eot_select"),
    some_of_all(2, MODELS, ["identity", "none", "inv", "iinv"], sorted(TOKEN_CHOICES), sorted(END_CHOICES)),
)
def test_every_parameter_has_a_gradient(model, projection, token_select, eot_select):
    encoder = make_encoder(model, 3, projection=projection, token_select=token_select, eot_select=eot_select)
    views = encoder(*make_batch())
    (views * torch.randn(views.shape, generator=torch.Generator().manual_seed(1))).sum().backward()
    untouched = [
        name for name, p in encoder.named_parameters() if p.requires_grad and (p.grad is None or not bool(p.grad.any()))
    ]
    assert untouched == []


@pytest.mark.parametrize("model", ["v534dim", "v5335dim"])
def test_each_further_view_alone_reaches_the_translator_and_the_embeddings(model):
    """A hard choice must not stop the gradient: each translated, decoded or encoded view alone gives the
    encoder-decoder a gradient.
    """
    for view in range(2, len(plan_views(model, 2).names)):
        encoder = make_encoder(model, 2, token_select="gumbel", eot_select="gumbel")
        encoder(*make_batch())[view].square().sum().backward()
        network = (encoder.states or encoder.translator).marian
        assert any(p.grad is not None and bool(p.grad.any()) for p in network.parameters()), encoder.plan.names[view]


@pytest.mark.parametrize("model", ["v534dim", "v5335dim"])
def test_gumbel_noise_is_drawn_in_training_only(model):
    images, tokens = make_batch()
    encoder = make_encoder(model, 3, token_select="gumbel", eot_select="gumbel")
    with torch.no_grad():
        assert not torch.equal(encoder(images, tokens), encoder(images, tokens))
        encoder.eval()
        assert torch.equal(encoder(images, tokens), encoder(images, tokens))


def test_each_projection_multiplies_the_views_that_it_names():
    """With P = 2 I: `none` doubles the captions, `inv` doubles the image, `iinv` halves the image."""
    images, tokens = make_batch()
    with torch.no_grad():
        plain = make_encoder("clip", 2, projection="identity")(images, tokens)
        for name, image, captions in (("none", 1, 2), ("inv", 2, 1), ("iinv", 0.5, 1)):
            encoder = make_encoder("clip", 2, projection=name)
            encoder.projection.matrix.mul_(2)
            factor = torch.tensor([image, captions, captions])[:, None, None]
            torch.testing.assert_close(encoder(images, tokens), plain * factor)


def test_the_inverse_projection_is_the_right_side_inverse():
    """(x P^-1) P = x for a P that is not symmetric."""
    matrix = torch.eye(6) + 0.3 * torch.randn(6, 6, generator=torch.Generator().manual_seed(2))
    views = torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(on_image(inverse_on_image(views, matrix), matrix), views)
