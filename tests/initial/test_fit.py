"""Which towers start from given weights, and what the list says about the others."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from model.errors import ConfigError
from model.initial.fit import compare_towers, require_towers
from model.initial.source import InitialWeights, sizes_of

IMAGE, PICTURE = "encoder.towers.vision.weight", "encoder.towers.visual_projection.weight"
TEXT, TRANSLATOR, SCALE = "encoder.towers.text.weight", "encoder.states.marian.weight", "logit_scale"
SIZES = {"vision_heads": 4, "text_heads": 4, "activation": "gelu", "translator_norm": "pre", "translator_heads": 2}
WANTED = {
    IMAGE: torch.zeros(2, 3),
    PICTURE: torch.zeros(3),
    TEXT: torch.zeros(4),
    TRANSLATOR: torch.zeros(5),
    SCALE: torch.zeros(()),
    "loss.bias": torch.zeros(()),
}


def found(weights: dict[str, Tensor], *, sizes: dict = SIZES, refused: dict | None = None) -> dict[str, str]:
    """Tower -> what the list says."""
    initial = InitialWeights("there", Path("there"), weights, sizes)
    return {report.tower: report.text for report in compare_towers(initial, WANTED, SIZES, refused or {})}


def test_every_tower_that_fits_is_loaded():
    assert found(WANTED) == {
        "image": "loaded (2 weights)",
        "text": "loaded (1 weight)",
        "translator": "loaded (1 weight)",
        "logit_scale": "loaded (1 weight)",
    }


def test_missing_weights_and_other_shapes_are_named():
    there = {IMAGE: torch.zeros(2, 4), PICTURE: torch.zeros(3), TEXT: torch.zeros(4), SCALE: torch.zeros(())}
    texts = found(there)
    assert texts["image"] == f"not loaded: {IMAGE} is (2, 4) there and (2, 3) here"
    assert texts["translator"] == "not loaded: its weights are missing there"
    assert texts["text"] == "loaded (1 weight)"
    del there[IMAGE]
    assert found(there)["image"] == f"not loaded: {IMAGE} is missing there"


def test_a_tower_that_computes_something_else_is_not_loaded():
    """Its weights have the same shapes."""
    assert found(WANTED, sizes={**SIZES, "text_heads": 8})["text"] == (
        "not loaded: backbone.text_heads is 8 there and 4 here"
    )
    texts = found(WANTED, sizes={**SIZES, "activation": "quick_gelu", "translator_norm": "post"})
    assert [text.startswith("not loaded: backbone.") for text in texts.values()] == [True, True, True, False]


def test_a_tower_that_the_run_lacks_is_listed():
    assert found({**WANTED, "encoder.projection.matrix": torch.eye(2)})["projection"] == (
        "not loaded: this run has no such tower"
    )


def test_the_sizes_of_a_pretrained_backbone_are_not_those_of_its_configuration():
    backbone = {"text_heads": 4, "translator_heads": 2, "pretrained": "somewhere"}
    assert sizes_of(backbone, {}) == {"translator_heads": 2, "translator_norm": "post"}
    assert sizes_of({**backbone, "pretrained": None}, {"translator_norm": "pre"}) == {
        "text_heads": 4,
        "translator_heads": 2,
        "translator_norm": "pre",
    }


def test_weights_without_any_tower_are_refused():
    """A scale or a projection alone is not enough."""
    initial = InitialWeights("there", Path("there"), {SCALE: torch.zeros(()), IMAGE: torch.zeros(1)}, SIZES)
    with pytest.raises(ConfigError) as caught:
        require_towers(initial, compare_towers(initial, WANTED, SIZES, {"text": "of another tokeniser"}))
    message = str(caught.value)
    assert message.startswith("init_from=there has no tower for this run; allowed: ")
    assert len(message.splitlines()) == 2
    assert "is missing there" in message
