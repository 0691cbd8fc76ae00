"""The towers compute only the tokens and rows that a view reads: views and gradients are those of the whole computation
by transformers' own forward passes, `whole.py`.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from model.views.encoder import ViewEncoder
from model.views.encoder_decoder import EncoderDecoder
from model.views.packing import Packing
from model.views.recipes import CaptionView, Kind, ViewPlan, plan_views
from model.views.translator import NETWORKS, make_network
from tests.conftest import some_of_all
from tests.views.small import SIZES, TOKENS, make_batch
from tests.views.whole import whole_views

ALL_KINDS = ViewPlan(
    tuple(
        CaptionView(*view)
        for view in ((Kind.CAPTION, 0), (Kind.TRANSLATED, 1), (Kind.DECODED, 2), (Kind.DECODED, 0), (Kind.ENCODED, 2))
    )
)
PLANS = {"clip": plan_views("clip", 2), "v534dim": plan_views("v534dim", 3), "all kinds": ALL_KINDS}
BACKBONES = {
    "tiny": {"text_layers": 1},
    "vit": {"vision_layers": 3, "text_layers": 3, "translator_layers": 3, "activation": "quick_gelu"},
}
# Captions of different lengths, of one word, one that fills the context, one without an end token, and captions that
# are padded with the end token.
CAPTIONS = ("mixed", "one word", "whole context", "no end", "padded with end")


def encoder_of(plan: str, backbone: str, norm: str = "pre", **changes: object) -> ViewEncoder:
    """An encoder of small sizes, always with the same weights."""
    torch.manual_seed(0)
    selects = {key: changes.pop(key) for key in ("token_select", "eot_select") if key in changes}
    sizes = SimpleNamespace(**vars(SIZES) | BACKBONES[backbone] | {"translator_norm": norm} | changes)
    options = {"projection": "none", "token_select": "softmax", "eot_select": "argmax"} | selects
    return ViewEncoder(PLANS[plan], sizes, TOKENS, **options)


def batch_of(kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and captions with texts of unusual lengths."""
    images, tokens = make_batch(rows=3, captions=3, seed=1)
    if kind == "one word":
        tokens[..., 2], tokens[..., 3:] = TOKENS.end, TOKENS.pad
    elif kind == "whole context":
        tokens[1, :, 1:] = 9
        tokens[1, :, -1] = TOKENS.end
    elif kind == "no end":
        tokens[1, :, 1:] = 9
    elif kind == "padded with end":
        tokens[tokens == TOKENS.pad] = TOKENS.end
    return images, tokens


def gradients(encoder: nn.Module, views: torch.Tensor) -> dict[str, torch.Tensor]:
    """The gradients of a sum of the views with random weights."""
    encoder.zero_grad()
    weights = torch.randn(views.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    (views * weights.to(views.dtype)).sum().backward()
    return {name: p.grad.clone() for name, p in encoder.named_parameters() if p.grad is not None}


@pytest.fixture
def no_float32(monkeypatch):
    """Lets the code that computes in float32 at least compute in float64, so that rounding hides no difference."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)


@pytest.mark.usefixtures("no_float32")
@pytest.mark.parametrize(
    ("plan", "backbone", "norm", "captions"),
    [
        ("all kinds", "vit", "post", "mixed"),
        ("all kinds", "vit", "pre", "whole context"),
        *some_of_all(6, PLANS, BACKBONES, NETWORKS, CAPTIONS),
    ],
)
def test_views_and_gradients_are_those_of_the_whole_computation(plan, backbone, norm, captions):
    encoder, (images, tokens) = encoder_of(plan, backbone, norm).double(), batch_of(captions)
    images = images.double()
    views, whole = encoder(images, tokens), whole_views(encoder, images, tokens)
    torch.testing.assert_close(views, whole, rtol=1e-9, atol=1e-11)
    ours, theirs = gradients(encoder, views), gradients(encoder, whole)
    assert set(ours) == set(theirs)
    for name, gradient in theirs.items():
        torch.testing.assert_close(
            ours[name], gradient, rtol=1e-9, atol=1e-10, msg=lambda text, name=name: f"{name}: {text}"
        )
    encoder.eval()
    with torch.no_grad():
        torch.testing.assert_close(encoder(images, tokens), whole, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_sampled_choices_draw_the_same_random_numbers_as_the_whole_computation(backbone):
    """Gumbel noise is drawn for the whole context, in the order of the views."""
    encoder = encoder_of("all kinds", backbone, token_select="gumbel", eot_select="gumbel")
    batch = batch_of("mixed")
    torch.manual_seed(5)
    views = encoder(*batch)
    torch.manual_seed(5)
    torch.testing.assert_close(views, whole_views(encoder, *batch), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", NETWORKS)
@pytest.mark.parametrize("towers_too", [False, True])
def test_dropout_draws_the_same_random_numbers_as_the_whole_computation(norm, towers_too):
    """Also dropout of attention in the CLIP towers, which a checkpoint may have."""
    encoder, batch = encoder_of("all kinds", "vit", norm, translator_dropout=0.3), batch_of("mixed")
    for tower in (encoder.towers.text, encoder.towers.vision) if towers_too else ():
        tower.config.attention_dropout = 0.3
        for layer in tower.encoder.layers:
            layer.self_attn.dropout = 0.3
    without = encoder.eval()(*batch)
    encoder.train()
    torch.manual_seed(5)
    views = encoder(*batch)
    torch.manual_seed(5)
    torch.testing.assert_close(views, whole_views(encoder, *batch), rtol=1e-4, atol=1e-5)
    changed = (views - without).abs().amax(dim=(1, 2)) > 1e-3
    assert changed.tolist() == [towers_too, towers_too, True, True, True, True]


@pytest.mark.parametrize("norm", NETWORKS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_has_the_values_of_the_whole_computation(norm, dtype):
    """Large weights make states of the encoder overflow in float16 where they are not normalised, and transformers
    limits them.
    """
    torch.manual_seed(0)
    network = make_network(NETWORKS[norm].states, SimpleNamespace(**vars(SIZES) | {"translator_norm": norm}), TOKENS)
    if norm == "pre":
        last = network.get_submodule("encoder").layers[-1].fc2
        nn.init.constant_(last.bias, 6.5e4)
        nn.init.normal_(last.weight, std=1e4)
    network = network.to(dtype).eval()
    tokens = batch_of("mixed")[1][:, 0]
    ends = (tokens == TOKENS.end).int().argmax(dim=1)
    text = torch.arange(tokens.shape[1]) <= ends[:, None]
    with torch.no_grad():
        whole = network(input_ids=tokens, attention_mask=text, decoder_input_ids=tokens)
        passes = EncoderDecoder(network, norm_first=NETWORKS[norm].norm_first)
        packing = Packing(ends)
        tokens = tokens[:, : packing.longest]
        encoded = passes.encode(tokens, packing)
        decoded = passes.decode_texts(tokens, encoded, packing)
    assert bool(encoded.isfinite().all())
    torch.testing.assert_close(encoded, whole.encoder_last_hidden_state[text], rtol=0.02, atol=0.02)
    torch.testing.assert_close(decoded, whole.last_hidden_state[text], rtol=0.05, atol=0.05)


def test_no_layer_computes_a_row_that_no_view_reads():
    """Counts the rows that pass through the last feed-forward layers: one for each sample, and for the evaluation of a
    decoded view no others; through the encoder only the positions up to the longest text.
    """
    encoder, (images, tokens) = encoder_of("v534dim", "vit").eval(), batch_of("one word")
    rows: dict[str, list[int]] = {}
    watched = {
        "image": encoder.towers.vision.encoder.layers[-1].mlp.fc1,
        "text": encoder.towers.text.encoder.layers[-1].mlp.fc1,
        "encoder": encoder.states.marian.encoder.layers[-1].fc1,
        "decoder's own attention": encoder.states.marian.decoder.layers[0].self_attn.q_proj,
    }
    for name, module in watched.items():
        module.register_forward_hook(
            lambda module, inputs, output, name=name: rows.setdefault(name, []).append(output[..., 0].numel())
        )
    with torch.no_grad():
        encoder(images, tokens)
    # 3 samples; captions 2 and 3 are decoded; 3 tokens of each text; 12 positions of the decoder, for all texts once
    assert rows == {"image": [3], "text": [3, 6], "encoder": [18], "decoder's own attention": [12]}


@pytest.mark.parametrize("norm", NETWORKS)
def test_every_module_of_the_whole_computation_is_called(norm):
    """The monitor of activations measures modules by their forward hooks."""
    encoder, batch = encoder_of("all kinds", "vit", norm), batch_of("mixed")
    called: dict[str, set[str]] = {}
    for name, module in encoder.named_modules():
        if not list(module.children()):
            module.register_forward_hook(lambda *_, name=name: called.setdefault(current, set()).add(name))
    current = "ours"
    encoder(*batch)
    current = "whole"
    whole_views(encoder, *batch)
    assert called["ours"] == called["whole"]


def test_large_packings_are_rounded_up_and_read_as_before():
    """2,100 tokens and more share few sizes; the rows behind the texts are read by nothing and get no gradient."""
    ends = torch.randint(3, 40, (120,), generator=torch.Generator().manual_seed(0))
    packing, tokens = Packing(ends), int(ends.sum()) + len(ends)
    padded = torch.randn(120, packing.longest, 2, requires_grad=True)
    packed = packing.pack(padded)
    assert len(packed) % 256 == 0
    assert tokens <= len(packed) < tokens + 256
    torch.testing.assert_close(packing.pad(packed), padded * packing.text.unsqueeze(2), rtol=0, atol=0)
    torch.testing.assert_close(packing.at_end(packed), padded[torch.arange(120), ends], rtol=0, atol=0)
    (grad,) = torch.autograd.grad(packing.pad(packed).sum(), padded)
    torch.testing.assert_close(grad, packing.text.unsqueeze(2).expand_as(grad).float(), rtol=0, atol=0)
