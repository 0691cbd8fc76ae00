"""Runs that start from weights: pairs first, then six views."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPConfig, CLIPModel

from model import build
from model.build import build_parts, reference_towers
from model.checkpoint.files import checkpoint_path
from model.errors import ConfigError
from model.run import run
from tests.analysis.test_cka_reference import pretrained
from tests.conftest import SMALL, compose_run
from tests.run.test_run import assert_same_run

PAIRS = ("loss=stock", "model=clip")
TOWERS = "encoder.towers."


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> Path:
    """The folder of a run of plain CLIP. Its tokeniser is that of its captions."""
    folder = tmp_path_factory.mktemp("pairs") / "run"
    run(compose_run(*SMALL, *PAIRS, "data.captions=2", "trainer.max_epochs=1"), folder)
    return folder


@pytest.fixture
def list_of(caplog):
    """`list_of(config, folder)` builds the parts of a run and returns its module and the lines of the list."""

    def call(config, folder: Path):
        caplog.clear()
        with caplog.at_level(logging.INFO, logger="model.initial.start"):
            module = build_parts(config, folder, None).module
        messages = [record.getMessage() for record in caplog.records if "first weights" in record.getMessage()]
        lines = [line.strip() for message in messages for line in message.splitlines()[1:]]
        return module, dict(line.split(": ", 1) for line in lines)

    return call


def test_a_run_with_six_views_starts_from_the_towers_of_pairs(small, pairs, tmp_path, list_of):
    """They are equal to those of the file; the encoder-decoder is that of the seed."""
    torch.manual_seed(0)
    module, lines = list_of(small(f"init_from={pairs}"), tmp_path / "two")
    torch.manual_seed(0)
    theirs = torch.load(checkpoint_path(pairs, "best"), weights_only=True)["state_dict"]
    ours, of_seed = module.state_dict(), build_parts(small(f"data.tokenizer={pairs}/tokenizer"), tmp_path / "x", None)
    for name, weight in ours.items():
        expected = theirs[name] if name.startswith(TOWERS) else of_seed.module.state_dict()[name]
        assert torch.equal(weight, expected), name
    assert list(lines) == ["image", "text", "translator", "projection", "logit_scale"]
    assert [text.startswith("loaded") for text in lines.values()] == [True, True, False, False, False]
    assert lines["logit_scale"] == "not loaded: it multiplied the scores of loss=stock, not those of loss=normsv5"
    files = {path.name: path.read_bytes() for path in (tmp_path / "two" / "tokenizer").iterdir()}
    assert files["tokenizer.json"] == (pairs / "tokenizer" / "tokenizer.json").read_bytes()


@pytest.mark.slow
def test_the_training_equals_one_whose_weights_were_loaded_by_hand(small, pairs, tmp_path, monkeypatch):
    run(small(f"init_from={pairs}"), tmp_path / "two")
    theirs = torch.load(checkpoint_path(pairs, "best"), weights_only=True)["state_dict"]
    make = build.make_module

    def by_hand(*arguments):
        module = make(*arguments)
        module.load_state_dict({**module.state_dict(), **{k: v for k, v in theirs.items() if k.startswith(TOWERS)}})
        return module

    monkeypatch.setattr(build, "make_module", by_hand)
    run(small(f"data.tokenizer={pairs}/tokenizer"), tmp_path / "hand")
    assert_same_run(tmp_path / "two", tmp_path / "hand")


@pytest.mark.slow
def test_the_scale_comes_with_the_weights_of_the_same_loss(small, pairs, tmp_path, list_of):
    """At most as large as its cap, and not where the first batch chooses it."""
    copied = copy_with(pairs, tmp_path, lambda state: state["logit_scale"].fill_(3.0))
    module, lines = list_of(small(*PAIRS, f"init_from={copied}"), tmp_path / "x")
    assert lines["logit_scale"] == "loaded (1 weight)"
    assert module.logit_scale.item() == 3.0
    module, _ = list_of(small(*PAIRS, f"init_from={copied}", "loss.scale_cap=10"), tmp_path / "y")
    assert module.multiplier().item() == pytest.approx(10)
    module, lines = list_of(small(*PAIRS, f"init_from={copied}", "loss.scale_init=auto"), tmp_path / "z")
    assert lines["logit_scale"] == "not loaded: loss.scale_init=auto chooses it from the first batch"
    assert module.scale_due


def test_another_tokeniser_leaves_out_the_towers_that_read_tokens(small, pairs, tmp_path, list_of):
    other = pretrained(tmp_path / "clip")
    _, lines = list_of(small(f"init_from={pairs}", f"data.tokenizer={other}"), tmp_path / "x")
    assert lines["image"].startswith("loaded")
    assert lines["text"].startswith(f"not loaded: its tokeniser ({pairs}/tokenizer) has other tokens than {other}")
    same = tmp_path / "same"
    shutil.copytree(pairs / "tokenizer", same)
    _, lines = list_of(small(f"init_from={pairs}", f"data.tokenizer={same}"), tmp_path / "y")
    assert lines["text"].startswith("loaded")


@pytest.mark.slow
def test_a_checkpoint_without_its_folder_needs_a_named_tokeniser(small, pairs, tmp_path, list_of):
    alone = shutil.copy(checkpoint_path(pairs, "last"), tmp_path / "alone.ckpt")
    _, lines = list_of(small(f"init_from={alone}"), tmp_path / "x")
    assert lines["text"] == "not loaded: its tokeniser is not known (data.tokenizer=<folder> names it)"
    _, lines = list_of(small(f"init_from={alone}", f"data.tokenizer={pairs}/tokenizer"), tmp_path / "y")
    assert lines["text"].startswith("loaded")


@pytest.mark.slow
def test_a_folder_of_transformers_gives_its_weights_and_its_tokeniser(small, pairs, tmp_path, list_of):
    """Weights in half precision become float32, and weights that the folder lacks are not made up."""
    folder = saved_clip(build_parts(small(*PAIRS, f"init_from={pairs}"), tmp_path / "x", None).module, tmp_path)
    shutil.copytree(pairs / "tokenizer", folder, dirs_exist_ok=True)
    module, lines = list_of(small(*PAIRS, f"init_from={folder}"), tmp_path / "y")
    assert [text.startswith("loaded") for text in lines.values()] == [True, True, True]
    saved = load_file(folder / "model.safetensors")
    theirs = saved["text_model.embeddings.token_embedding.weight"]
    assert theirs.dtype == torch.bfloat16
    assert torch.equal(module.encoder.towers.token_embedding, theirs.float())
    assert module.encoder.towers.token_embedding.dtype == torch.float32
    assert module.multiplier().item() == pytest.approx(1 / 0.07, rel=1e-2), "that of CLIPConfig, rounded"
    lacking = {name: weight for name, weight in saved.items() if name != "visual_projection.weight"}
    save_file(lacking, folder / "model.safetensors", metadata={"format": "pt"})
    _, lines = list_of(small(*PAIRS, f"init_from={folder}"), tmp_path / "z")
    assert lines["image"] == "not loaded: encoder.towers.visual_projection.weight is missing there"


def test_what_cannot_be_read_is_refused(small, pairs, tmp_path):
    cut = tmp_path / "cut.ckpt"
    cut.write_bytes(checkpoint_path(pairs, "best").read_bytes()[:2000])
    (tmp_path / "empty").mkdir()
    for named, problem in (
        (tmp_path / "nowhere", "does not exist"),
        (tmp_path / "empty", "holds no checkpoint and no CLIP model"),
        (cut, "is not a checkpoint of this program"),
    ):
        with pytest.raises(ConfigError, match=rf"^init_from={named} {problem}.*; allowed: the folder of a run"):
            run(small(f"init_from={named}"), tmp_path / "run")
    with pytest.raises(ConfigError, match=r"has no tower for this run; allowed: .*\nimage: encoder.* is .* there and"):
        run(small(f"init_from={pairs}", "backbone.vision_width=32", "backbone.text_width=32"), tmp_path / "run")


def test_a_run_that_continues_does_not_read_the_source_again(small, pairs, tmp_path):
    """It may be gone. The initial weights of the analysis are those that the run began with."""
    gone = tmp_path / "gone"
    shutil.copytree(pairs, gone)
    started = (f"init_from={gone}", "backbone.freeze=[translator]")
    run(small(*started, "trainer.max_epochs=1"), tmp_path / "two")
    shutil.rmtree(gone)
    config = small(*started, "ckpt_path=last", "analysis=standard", "evaluate=[test]")
    summary = run(config, tmp_path / "two")
    assert summary.steps["attempted"] == 6
    assert json.loads((tmp_path / "two" / "analysis.json").read_text())["cka"]["reference"] == (
        f"initial weights, from init_from={gone}"
    )
    last = checkpoint_path(tmp_path / "two", "last")
    towers, _ = reference_towers(config, build_parts(config, tmp_path / "two", last), 0, tmp_path / "two")
    theirs = torch.load(checkpoint_path(pairs, "best"), weights_only=True)["state_dict"]
    assert all(torch.equal(weight, theirs[TOWERS + name]) for name, weight in towers.state_dict().items())
    with pytest.raises(ConfigError, match=r"\ninit_from=null \(in the checkpoint: .*gone\)"):
        run(small(started[1], "ckpt_path=last", "trainer.max_epochs=3"), tmp_path / "two")


def saved_clip(module, tmp_path: Path) -> Path:
    """A CLIP model of transformers in bfloat16, with the sizes of the module."""
    text, vision = (tower.config.to_dict() for tower in (module.encoder.towers.text, module.encoder.towers.vision))
    clip = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=text["hidden_size"]))
    clip.to(torch.bfloat16).save_pretrained(tmp_path / "clip")
    return tmp_path / "clip"


def copy_with(folder: Path, tmp_path: Path, change) -> Path:
    """A copy of a run whose best.ckpt has other weights."""
    copied = tmp_path / "copied"
    shutil.copytree(folder, copied)
    loaded: dict[str, dict[str, Tensor]] = torch.load(checkpoint_path(copied, "best"), weights_only=True)
    change(loaded["state_dict"])
    torch.save(loaded, checkpoint_path(copied, "best"))
    return copied
