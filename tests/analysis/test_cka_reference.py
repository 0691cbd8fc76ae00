"""The reference of CKA in whole runs: the initial weights, or a pretrained checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPConfig, CLIPModel

from model import build
from model.checkpoint.files import checkpoint_path, initial_seed
from model.data.tokenizer import train_tokenizer
from model.errors import ConfigError
from model.run import run
from tests.analysis.small import analysis_of


def test_the_reference_is_bit_identical_to_the_initial_weights(small, tmp_path, monkeypatch):
    """This also holds for a resumed run, and with noise that uses the random generators."""
    initial = {}

    def remember(*arguments):
        module = make(*arguments)
        if not initial:  # the analysis builds a second module
            initial.update({name: tensor.clone() for name, tensor in module.encoder.towers.state_dict().items()})
        return module

    make = build.make_module
    monkeypatch.setattr(build, "make_module", remember)
    noisy = ("seed=5", "model.eot_select=gumbel", "backbone.translator_dropout=0.1", "monitor.noise_std=0.01")
    run(small(*noisy, "trainer.max_epochs=1"), tmp_path)
    monkeypatch.undo()
    config = small(*noisy, "ckpt_path=last")
    run(config, tmp_path)
    last = checkpoint_path(tmp_path, "last")
    parts = build.build_parts(config, tmp_path, last)
    torch.manual_seed(77)
    torch.rand(5)
    state = torch.get_rng_state()
    towers, description = build.reference_towers(config, parts, initial_seed(last, 0))
    assert description == "initial weights"
    assert [name for name, tensor in towers.state_dict().items() if not torch.equal(tensor, initial[name])] == []
    assert torch.equal(torch.get_rng_state(), state)
    trained = torch.load(last, weights_only=True)["state_dict"]["encoder.towers.text_projection.weight"]
    assert not torch.equal(trained, initial["text_projection.weight"])


@pytest.mark.slow
def test_cka_with_a_pretrained_folder(small, tmp_path):
    """A model with nearly unchanged weights has a similarity of 1 to its initial weights."""
    folder = pretrained(tmp_path / "clip")
    (tmp_path / "run").mkdir()
    arguments = (
        f"backbone.pretrained={folder}",
        f"analysis.cka_reference={folder}",
        f"data.tokenizer={folder}",
        "model=clip",
        "data.test_size=40",
    )
    run(small(*arguments, "optimizer.lr=1e-12", "trainer.max_epochs=1"), tmp_path / "run")
    assert analysis_of(tmp_path / "run")["cka"]["reference"] == str(folder)
    layers = CLIPModel.from_pretrained(folder).config
    with np.load(tmp_path / "run" / "cka.npz") as matrices:
        assert matrices["image"].shape == (layers.vision_config.num_hidden_layers + 2,) * 2
        np.testing.assert_allclose(np.diagonal(matrices["image"]), 1, atol=1e-5)
        np.testing.assert_allclose(np.diagonal(matrices["text"]), 1, atol=1e-5)


def test_a_reference_with_another_image_size_is_refused_before_training(small, tmp_path):
    folder = pretrained(tmp_path / "clip")
    with pytest.raises(ConfigError, match=r"analysis\.cka_reference=.* has image_size 32; allowed: .* 48"):
        run(small(f"analysis.cka_reference={folder}"), tmp_path / "run")
    with pytest.raises(ConfigError, match=r"analysis\.cka_reference=.*nowhere cannot be read"):
        run(small(f"analysis.cka_reference={tmp_path}/nowhere"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def pretrained(folder: Path) -> Path:
    """A small CLIP in transformers' format, with a tokeniser."""
    tokenizer = train_tokenizer(["red circle at the top left", "a small square"], 300)
    tokenizer.save_pretrained(folder)
    shared = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    ids = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    text = {**shared, **ids, "vocab_size": len(tokenizer), "max_position_embeddings": 24, "projection_dim": 16}
    vision = {**shared, "image_size": 32, "patch_size": 16, "projection_dim": 16}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)).save_pretrained(folder)
    return folder
