"""What whole runs leave in analysis.json, cka.npz, examples/ and metrics.csv."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model import build, ending
from model.analysis.parts import PARTS
from model.checkpoint.files import checkpoint_path, initial_seed
from model.errors import ConfigError
from model.run import run
from model.views.backbone_sizes import resolved_sizes


@pytest.fixture
def small(small):
    """The smallest run, with its analysis."""
    return lambda *overrides: small(*([] if "analysis=off" in overrides else ["analysis=standard"]), *overrides)


def analysis_of(folder: Path) -> dict:
    """analysis.json, which must be strict JSON."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in analysis.json")

    return json.loads((folder / "analysis.json").read_text(), parse_constant=refuse)


def numbers(value: object) -> list[float]:
    """Every number in nested lists and dictionaries; None counts as one that is missing."""
    if isinstance(value, dict):
        return [number for inner in value.values() for number in numbers(inner)]
    if isinstance(value, list):
        return [number for inner in value for number in numbers(inner)]
    return [] if isinstance(value, str) else [math.nan if value is None else float(value)]


def test_a_run_leaves_every_part(small, tmp_path):
    run(small("evaluate=[test,val]"), tmp_path)
    found = analysis_of(tmp_path)
    views = ["image", "caption 1", "decoded 2", "decoded 3", "encoded 2", "encoded 3"]
    assert list(found) == ["views", *PARTS]
    assert found["views"] == views
    assert np.isfinite(numbers(found)).all()
    retrieval = found["retrieval"]["test"]
    assert (retrieval["samples"], retrieval["captions"]) == (20, 5)
    assert [(row["view"], row["direction"]) for row in retrieval["pairs"]] == [
        (view, direction) for view in views[1:] for direction in ("text_to_image", "image_to_text")
    ]
    assert [row["view"] for row in retrieval["rest"]] == views
    for row in (*retrieval["pairs"], *retrieval["rest"], retrieval["any_caption"]):
        assert list(row["recall"]) == ["1", "5", "10"]
        assert all(interval["low"] <= interval["value"] <= interval["high"] for interval in row["recall"].values())
        assert 1 <= row["median_rank"] <= 100
    assert found["zero_shot"]["val"]["classes"] == 8
    assert {"top1", "top5", "majority"} < found["zero_shot"]["test"].keys()
    assert found["probes"]["text"]["scored_on"] == "test"
    assert found["probes"]["image"]["samples"] == [24, 20]
    assert found["geometry"].keys() == {"test", "val"}
    assert len(found["geometry"]["test"]["alignment"]) == 15
    assert len(found["tokens"]["central"]) == len(found["tokens"]["furthest"]) == 10
    assert found["cka"]["reference"] == "initial weights"
    assert (found["cka"]["samples"], found["cka"]["batch"]) == (20, 8)
    with np.load(tmp_path / "cka.npz") as matrices:
        assert {name: (matrices[name].shape, matrices[name].dtype) for name in matrices} == {
            "image": ((3, 3), np.float32),
            "text": ((3, 3), np.float32),
        }


def test_recall_between_image_and_caption_1_is_that_of_the_evaluation(small, tmp_path):
    summary = run(small(), tmp_path)
    for row in analysis_of(tmp_path)["retrieval"]["test"]["pairs"][:2]:
        for k, interval in row["recall"].items():
            assert interval["value"] == pytest.approx(summary.metrics[f"test/{row['direction']}_recall@{k}"]), (
                row["direction"],
                k,
            )


def test_examples_show_what_the_captions_find(small, tmp_path):
    config = small("analysis.examples=3")
    run(config, tmp_path)
    body = json.loads((tmp_path / "examples" / "examples.json").read_text())
    data = build.make_data(config, resolved_sizes(config.backbone), tmp_path, checkpoint_path(tmp_path, "last"))
    assert (body["split"], body["view"]) == ("test", "caption 1")
    assert len(body["queries"]) == 3
    for query in body["queries"]:
        assert query["caption"] == data.source.texts("test", [query["index"]])[0][0]
        assert len(query["hits"]) == 5
        assert [hit["score"] for hit in query["hits"]] == sorted((hit["score"] for hit in query["hits"]), reverse=True)
        for hit in query["hits"]:
            assert hit["match"] == (hit["index"] == query["index"])
            assert hit["picture"] == f"{hit['index']}.png"
            with Image.open(tmp_path / "examples" / hit["picture"]) as picture:
                assert (picture.size, picture.mode) == ((96, 96), "RGB")
                middle = np.asarray(picture.resize((48, 48), Image.Resampling.BOX)).astype(float)
            truth = data.source.images("test", [hit["index"]])[0].permute(1, 2, 0).double().numpy()
            assert np.abs(middle - truth).mean() < 5


def test_validation_rows_have_geometry_and_drift(small, tmp_path):
    """One column for every view and pair; the cosine to the validation before from the second on."""
    run(small("model=clip", "model.captions=2"), tmp_path)
    with open(tmp_path / "metrics.csv", newline="") as file:
        first, second = [row for row in csv.DictReader(file) if row["val/loss"]]
    views = ("image", "caption_1", "caption_2")
    for view in views:
        assert first[f"drift/{view}/cosine_to_previous"] == ""
        assert -1 <= float(second[f"drift/{view}/cosine_to_previous"]) < 1
        for name in (
            f"drift/{view}/norm",
            f"drift/{view}/mean_similarity",
            f"geometry/uniformity/{view}",
            f"geometry/effective_rank/{view}",
        ):
            assert math.isfinite(float(first[name])), name
    pairs = [name for name in first if name.startswith("geometry/alignment/")]
    assert pairs == [f"geometry/alignment/{a}~{b}" for i, a in enumerate(views) for b in views[i + 1 :]]


def test_off_leaves_nothing(small, tmp_path):
    run(small("analysis=off"), tmp_path)
    assert list(analysis_of(tmp_path)) == ["views"]
    assert not (tmp_path / "cka.npz").exists()
    assert not (tmp_path / "examples").exists()
    assert not any(
        name.startswith(("geometry/", "drift/"))
        for name in (tmp_path / "metrics.csv").read_text().splitlines()[0].split(",")
    )


@pytest.mark.parametrize("change", ["evaluate=[]", "trainer.fast_dev_run=true"])
def test_no_evaluation_no_analysis(small, tmp_path, change):
    run(small(change), tmp_path)
    assert not (tmp_path / "analysis.json").exists()


def test_evaluating_a_checkpoint_analyses_its_splits(small, tmp_path):
    run(small("seed=3"), tmp_path)
    before = analysis_of(tmp_path)
    matrices = np.load(tmp_path / "cka.npz")["image"]
    (tmp_path / "cka.npz").unlink()
    # The seed of the command line draws the bootstrap; the initial weights are still those that the run began with.
    run(small("train=false", "ckpt_path=best", "evaluate=[val,test]"), tmp_path)
    after = analysis_of(tmp_path)
    assert list(after["retrieval"]) == ["val", "test"]
    assert after["geometry"]["test"] == before["geometry"]["test"]
    assert after["cka"]["reference"] == "initial weights"
    run(small("train=false", "ckpt_path=best", "evaluate=[test]"), tmp_path)
    np.testing.assert_array_equal(np.load(tmp_path / "cka.npz")["image"], matrices)


def test_the_reference_is_bit_for_bit_what_training_began_with(small, tmp_path, monkeypatch):
    """Also after a run that was continued, and with noise that draws from the generators."""
    began = {}

    def remember(*arguments):
        module = make(*arguments)
        if not began:  # the analysis builds a second module
            began.update({name: tensor.clone() for name, tensor in module.encoder.towers.state_dict().items()})
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
    towers, what = build.reference_towers(config, parts, initial_seed(last, 0))
    assert what == "initial weights"
    assert [name for name, tensor in towers.state_dict().items() if not torch.equal(tensor, began[name])] == []
    assert torch.equal(torch.get_rng_state(), state)
    trained = torch.load(last, weights_only=True)["state_dict"]["encoder.towers.text_projection.weight"]
    assert not torch.equal(trained, began["text_projection.weight"])


def test_cka_with_a_pretrained_folder(small, tmp_path):
    """A model that has barely moved is at 1 to itself."""
    from transformers import CLIPModel

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


def test_a_reference_that_cannot_read_the_pictures_is_refused_before_training(small, tmp_path):
    folder = pretrained(tmp_path / "clip")
    with pytest.raises(ConfigError, match=r"analysis\.cka_reference=.* has image_size 32; allowed: .* 48"):
        run(small(f"analysis.cka_reference={folder}"), tmp_path / "run")
    with pytest.raises(ConfigError, match=r"analysis\.cka_reference=.*nowhere cannot be read"):
        run(small(f"analysis.cka_reference={tmp_path}/nowhere"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def pretrained(folder: Path) -> Path:
    """A small CLIP in transformers' format, with a tokeniser."""
    from transformers import CLIPConfig, CLIPModel

    from model.data.tokenizer import train_tokenizer

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


def test_a_part_that_fails_is_noted_and_loses_nothing(small, tmp_path, monkeypatch):
    def fails(material, settings):
        raise MemoryError("too many captions")

    monkeypatch.setitem(PARTS, "retrieval", fails)
    with pytest.warns(RuntimeWarning, match=r"analysis\.retrieval failed .* MemoryError: too many captions"):
        summary = run(small(), tmp_path)
    found = analysis_of(tmp_path)
    assert found["notes"] == {"retrieval": "MemoryError: too many captions"}
    assert "geometry" in found
    assert summary.status == json.loads((tmp_path / "summary.json").read_text())["status"] == "complete"


def test_a_failure_before_the_parts_loses_nothing(small, tmp_path, monkeypatch):
    def fails(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(ending, "analyse", fails)
    with pytest.warns(RuntimeWarning, match="the run has no analysis: KeyboardInterrupt"):
        run(small(), tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text())["status"] == "complete"


def test_two_samples_and_few_classes_are_no_failure(small, tmp_path):
    """Fewer samples than neighbours, classes, or the estimator of CKA asks for: finite or absent."""
    run(small("data.val_size=2", "data.test_size=2"), tmp_path)
    found = analysis_of(tmp_path)
    assert "notes" not in found
    assert "cka" not in found
    assert np.isfinite(numbers(found)).all()
    assert found["retrieval"]["test"]["pairs"][0]["recall"]["5"]["value"] == 1


@pytest.mark.parametrize(
    "precision", ["bf16-mixed", *(pytest.param(name, marks=pytest.mark.slow) for name in ("bf16-true", "64-true"))]
)
@pytest.mark.parametrize("choice", ["loss=norms", pytest.param("loss=stock", marks=pytest.mark.slow)])
def test_other_precisions_are_analysed_in_float32(small, tmp_path, precision, choice):
    run(small(f"trainer.precision={precision}", choice, "model=v5335dim", "trainer.max_epochs=1"), tmp_path)
    found = analysis_of(tmp_path)
    assert np.isfinite(numbers(found)).all()
    assert len(found["retrieval"]["test"]["rest"]) == (4 if choice == "loss=norms" else 2)
    assert found.keys() == {"views", *PARTS}


@pytest.mark.parametrize(
    ("limit", "samples"),
    [
        ("trainer.limit_test_batches=2", 16),
        pytest.param("trainer.limit_test_batches=0.4", 8, marks=pytest.mark.slow),
        pytest.param("analysis.samples=5", 5, marks=pytest.mark.slow),
    ],
)
def test_limits_hold_for_every_part(small, tmp_path, limit, samples):
    run(small(limit), tmp_path)
    found = analysis_of(tmp_path)
    assert (
        found["retrieval"]["test"]["samples"]
        == found["cka"]["samples"]
        == found["zero_shot"]["test"]["samples"]
        == samples
    )
    assert found["probes"]["image"]["samples"] == [min(24, samples), samples]


def test_a_split_that_was_trained_on_is_not_what_probes_are_scored_on(small, tmp_path):
    run(small("evaluate=[train]"), tmp_path)
    found = analysis_of(tmp_path)
    assert list(found["retrieval"]) == list(found["geometry"]) == ["train"]
    assert (found["probes"]["text"]["fitted_on"], found["probes"]["text"]["scored_on"]) == ("train", "val")
    assert json.loads((tmp_path / "examples" / "examples.json").read_text())["split"] == "val"
