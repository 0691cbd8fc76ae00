"""The views of each model: which there are, what they depend on, and that every path trains."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel

from model.errors import ConfigError
from model.views import ViewEncoder, plan_views
from model.views.towers import SpecialTokens, build_towers, end_positions, load_towers, pretrained_sizes
from model.views.translate import END_CHOICES, TOKEN_CHOICES
from tests.conftest import some_of_all

TOKENS = SpecialTokens(
    begin=1, end=3, pad=0, vocabulary=50
)  # an end of 2 would make transformers pool by its oldest rule
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
    """Random pictures, and captions of different lengths: begin, words, end, padding."""
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
    reads=None,
):
    """Seeded."""
    torch.manual_seed(0)
    plan = plan_views(model, captions, reads)
    return ViewEncoder(plan, SIZES, TOKENS, projection=projection, token_select=token_select, eot_select=eot_select)


@pytest.mark.parametrize(
    ("model", "captions", "names"),
    [
        ("clip", 1, ("image", "caption_1")),
        ("clip", 2, ("image", "caption_1", "caption_2")),
        ("v5335dim", 3, ("image", "caption_1", "translated_2", "translated_3")),
        ("v534dim", 3, ("image", "caption_1", "decoded_2", "decoded_3", "encoded_2", "encoded_3")),
        ("v534dim", 1, ("image", "caption_1")),
    ],
)
def test_a_model_has_the_views_of_the_original_trainer(model, captions, names):
    assert plan_views(model, captions).names == names


def test_five_captions_give_ten_views():
    images, tokens = make_batch()
    assert make_encoder("v534dim", 5)(images, tokens).shape == (10, 4, 16)


@pytest.mark.parametrize("model", MODELS)
def test_views_that_are_not_read_are_neither_made_nor_built(model):
    images, tokens = make_batch()
    encoder = make_encoder(model, 3, reads=2)
    assert encoder(images, tokens).shape == (2, 4, 16)
    assert encoder.states is None
    assert encoder.translator is None


def test_the_image_and_caption_1_are_those_of_clip_itself():
    """Against transformers' own get_image_features and get_text_features, whose pooling finds the end token by
    itself.
    """
    from transformers import CLIPConfig

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
def test_padding_says_nothing(model):
    """Other tokens behind the end token change no view that reads its caption causally or by mask."""
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
    """Changing the words of caption k moves the views made from it, and no other."""
    images, tokens = make_batch()
    selects = {"token_select": "gumbel", "eot_select": "gumbel"} if choice == "gumbel" else {}
    encoder = make_encoder(model, 3, **selects).eval()
    with torch.no_grad():
        before = encoder(images, tokens)
        for caption in range(3):
            changed = tokens.clone()
            words = changed[:, caption, 1:3]
            changed[:, caption, 1:3] = torch.where(words == 49, 48, words + 1)
            moved = (encoder(images, changed) - before).abs().amax(dim=(1, 2)) > 1e-7
            expected = [name.endswith(f"_{caption + 1}") for name in encoder.plan.names]
            if choice == "first":
                assert moved.tolist() == expected
            else:
                assert not any(m and not e for m, e in zip(moved.tolist(), expected, strict=True))
        moved = (encoder(images + 1, tokens) - before).abs().amax(dim=(1, 2)) > 1e-7
        assert moved.tolist() == [name == "image" for name in encoder.plan.names]


@pytest.mark.parametrize(
    ("model", "projection", "token_select", "eot_select"),
    some_of_all(2, MODELS, ["identity", "none", "inv", "iinv"], sorted(TOKEN_CHOICES), sorted(END_CHOICES)),
)
def test_after_one_step_every_part_has_a_gradient(model, projection, token_select, eot_select):
    encoder = make_encoder(model, 3, projection=projection, token_select=token_select, eot_select=eot_select)
    views = encoder(*make_batch())
    (views * torch.randn(views.shape, generator=torch.Generator().manual_seed(1))).sum().backward()
    untouched = [
        name for name, p in encoder.named_parameters() if p.requires_grad and (p.grad is None or not bool(p.grad.any()))
    ]
    assert untouched == []


@pytest.mark.parametrize("model", ["v534dim", "v5335dim"])
def test_each_further_view_alone_reaches_the_translator_and_the_embeddings(model):
    """A hard choice must not cut the gradient: each translated, decoded or encoded view by itself moves the
    encoder-decoder.
    """
    for view in range(2, len(plan_views(model, 2).names)):
        encoder = make_encoder(model, 2, token_select="gumbel", eot_select="gumbel")
        encoder(*make_batch())[view].square().sum().backward()
        network = (encoder.states or encoder.translator).marian
        assert any(p.grad is not None and bool(p.grad.any()) for p in network.parameters()), encoder.plan.names[view]


@pytest.mark.parametrize("model", ["v534dim", "v5335dim"])
def test_gumbel_noise_is_drawn_while_training_only(model):
    images, tokens = make_batch()
    encoder = make_encoder(model, 3, token_select="gumbel", eot_select="gumbel")
    with torch.no_grad():
        assert not torch.equal(encoder(images, tokens), encoder(images, tokens))
        encoder.eval()
        assert torch.equal(encoder(images, tokens), encoder(images, tokens))


def test_projections_apply_p_where_they_say():
    """With P = 2 I: captions doubled, image doubled, image halved."""
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
    from model.views.projection import inverse_on_image, on_image

    matrix = torch.eye(6) + 0.3 * torch.randn(6, 6, generator=torch.Generator().manual_seed(2))
    views = torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(on_image(inverse_on_image(views, matrix), matrix), views)


def test_a_pretrained_folder_gives_its_weights_and_sizes(tmp_path):
    clip = saved_clip(tmp_path, torch.float32)
    loaded = load_towers(str(tmp_path), TOKENS)
    torch.testing.assert_close(loaded.text.state_dict(), clip.text_model.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(loaded.vision.state_dict(), clip.vision_model.state_dict(), rtol=0, atol=0)
    assert pretrained_sizes(str(tmp_path))["context_length"] == 12
    with pytest.raises(ConfigError, match=r"data\.tokenizer has 60 tokens"):
        load_towers(str(tmp_path), SpecialTokens(1, 3, 0, vocabulary=60))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_become_float32(tmp_path, dtype):
    clip = saved_clip(tmp_path, dtype)
    loaded = load_towers(str(tmp_path), TOKENS)
    assert {tensor.dtype for tensor in loaded.state_dict().values() if tensor.is_floating_point()} == {torch.float32}
    for name, weight in clip.text_model.state_dict().items():
        assert torch.equal(loaded.text.state_dict()[name], weight.float()), name


DAMAGE = [
    "weights_cut",
    "weights_text",
    "weights_missing",
    "weight_missing",
    "pickled",
    "config_text",
    "config_other",
    "resized",
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_no_clip_model_is_refused_in_one_line(tmp_path, damage):
    saved_clip(tmp_path, torch.float32)
    weights, config = tmp_path / "model.safetensors", tmp_path / "config.json"
    settings = json.loads(config.read_text())
    if damage == "weights_cut":
        weights.write_bytes(weights.read_bytes()[:-1000])
    elif damage == "weights_text":
        weights.write_text("no weights")
    elif damage == "weights_missing":
        weights.unlink()
    elif damage == "weight_missing":
        kept = load_file(weights)
        del kept["text_projection.weight"], kept["visual_projection.weight"]
        save_file(kept, weights, metadata={"format": "pt"})
    elif damage == "pickled":
        weights.unlink()
        (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(Planted(tmp_path / "executed")))
    elif damage == "config_text":
        config.write_text("{")
    elif damage == "config_other":
        config.write_text(json.dumps({"model_type": "bert", "architectures": ["BertModel"], "hidden_size": 16}))
    else:
        settings["projection_dim"] = settings["text_config"]["projection_dim"] = settings["vision_config"][
            "projection_dim"
        ] = 24
        config.write_text(json.dumps(settings))
    with pytest.raises(
        ConfigError, match=r"backbone\.pretrained=.*; allowed: a hub id or folder of a CLIP model"
    ) as caught:
        load_towers(str(tmp_path), TOKENS)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "executed").exists()


class Planted:
    """Writes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def saved_clip(folder: Path, dtype: torch.dtype) -> CLIPModel:
    """A small model of SIZES, saved in `folder`."""
    towers = build_towers(SIZES, TOKENS)
    clip = CLIPModel(
        CLIPConfig(
            text_config=towers.text.config.to_dict(), vision_config=towers.vision.config.to_dict(), projection_dim=16
        )
    ).to(dtype)
    clip.save_pretrained(folder)
    return clip


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"backbone\.pretrained=.*nowhere"):
        load_towers(str(tmp_path / "nowhere"), TOKENS)
