"""CLIP checkpoints in transformers' format: what is loaded, and which folders are refused."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel

from model.errors import ConfigError
from model.views.backbone_sizes import pretrained_sizes
from model.views.towers import SpecialTokens, build_towers, load_towers
from tests.views.small import SIZES, TOKENS


def test_weights_and_sizes_are_those_of_the_folder(tmp_path):
    clip = saved_clip(tmp_path, torch.float32)
    towers = load_towers(str(tmp_path), TOKENS)
    torch.testing.assert_close(towers.text.state_dict(), clip.text_model.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(towers.vision.state_dict(), clip.vision_model.state_dict(), rtol=0, atol=0)
    assert pretrained_sizes(str(tmp_path))["context_length"] == 12
    with pytest.raises(ConfigError, match=r"data\.tokenizer has 60 tokens"):
        load_towers(str(tmp_path), SpecialTokens(1, 3, 0, vocabulary=60))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_become_float32(tmp_path, dtype):
    clip = saved_clip(tmp_path, dtype)
    towers = load_towers(str(tmp_path), TOKENS)
    assert {tensor.dtype for tensor in towers.state_dict().values() if tensor.is_floating_point()} == {torch.float32}
    for name, weight in clip.text_model.state_dict().items():
        assert torch.equal(towers.text.state_dict()[name], weight.float()), name


@pytest.mark.parametrize(
    "damage",
    [
        *("weights_truncated", "weights_text", "weights_missing", "weight_missing", "pickled"),
        *("config_text", "config_other", "resized"),
    ],
)
def test_a_folder_without_a_clip_model_is_refused_in_one_line(tmp_path, damage):
    saved_clip(tmp_path, torch.float32)
    weights, config = tmp_path / "model.safetensors", tmp_path / "config.json"
    settings = json.loads(config.read_text())
    if damage == "weights_truncated":
        weights.write_bytes(weights.read_bytes()[:-1000])
    elif damage == "weights_text":
        weights.write_text("not a weight file")
    elif damage == "weights_missing":
        weights.unlink()
    elif damage == "weight_missing":
        tensors = load_file(weights)
        del tensors["text_projection.weight"], tensors["visual_projection.weight"]
        save_file(tensors, weights, metadata={"format": "pt"})
    elif damage == "pickled":
        weights.unlink()
        (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(Planted(tmp_path / "executed")))
    elif damage == "config_text":
        config.write_text("{")
    elif damage == "config_other":
        config.write_text(json.dumps({"model_type": "bert", "architectures": ["BertModel"], "hidden_size": 16}))
    else:
        for part in (settings, settings["text_config"], settings["vision_config"]):
            part["projection_dim"] = 24
        config.write_text(json.dumps(settings))
    with pytest.raises(
        ConfigError, match=r"backbone\.pretrained=.*; allowed: a hub id or folder of a CLIP model"
    ) as caught:
        load_towers(str(tmp_path), TOKENS)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "executed").exists()


class Planted:
    """Writes a file when it is unpickled."""

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


def test_the_error_names_a_missing_checkpoint(tmp_path):
    with pytest.raises(ConfigError, match=r"backbone\.pretrained=.*nowhere"):
        load_towers(str(tmp_path / "nowhere"), TOKENS)
