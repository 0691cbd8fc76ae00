"""What a run writes into analysis.json, examples/ and metrics.csv."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from model.analysis.parts import PARTS
from model.build import make_data
from model.checkpoint.files import checkpoint_path
from model.ending import analysis_settings
from model.run import run
from model.views.backbone_sizes import resolved_sizes
from tests.analysis.small import analysis_of, numbers


def test_the_settings_are_the_values_of_the_configuration(composed, tmp_path):
    values = {"samples": 11, "resamples": 12, "probe_samples": 13, "cka_samples": 14, "examples": 15}
    keys = [f"analysis.{name}={value}" for name, value in values.items()]
    config = composed(*keys, "analysis.cka=false", "analysis.tokens=false", "seed=16", "evaluate=[test,val]")
    settings = asdict(analysis_settings(config, tmp_path))
    parts, splits = ("retrieval", "zero_shot", "probes", "geometry"), ("test", "val")
    assert settings == values | {"parts": parts, "splits": splits, "seed": 16, "folder": tmp_path}


def test_a_run_writes_every_part(small, tmp_path):
    run(small("evaluate=[test,val]"), tmp_path)
    analysis = analysis_of(tmp_path)
    views = ["image", "caption 1", "decoded 2", "decoded 3", "encoded 2", "encoded 3"]
    assert list(analysis) == ["views", *PARTS]
    assert analysis["views"] == views
    assert np.isfinite(numbers(analysis)).all()
    retrieval = analysis["retrieval"]["test"]
    assert (retrieval["samples"], retrieval["captions"]) == (20, 5)
    assert [(row["view"], row["direction"]) for row in retrieval["pairs"]] == [
        (view, direction) for view in views[1:] for direction in ("text_to_image", "image_to_text")
    ]
    assert [row["view"] for row in retrieval["rest"]] == views
    for row in (*retrieval["pairs"], *retrieval["rest"], retrieval["any_caption"]):
        assert list(row["recall"]) == ["1", "5", "10"]
        assert all(interval["low"] <= interval["value"] <= interval["high"] for interval in row["recall"].values())
        assert 1 <= row["median_rank"] <= 100
    assert analysis["zero_shot"]["val"]["classes"] == 8
    assert {"top1", "top5", "majority"} < analysis["zero_shot"]["test"].keys()
    assert analysis["probes"]["text"]["scored_on"] == "test"
    assert analysis["probes"]["image"]["samples"] == [24, 20]
    assert analysis["geometry"].keys() == {"test", "val"}
    assert len(analysis["geometry"]["test"]["alignment"]) == 15
    assert len(analysis["tokens"]["central"]) == len(analysis["tokens"]["furthest"]) == 10
    assert analysis["cka"]["reference"] == "initial weights"
    assert (analysis["cka"]["samples"], analysis["cka"]["batch"]) == (20, 8)
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


def test_examples_have_the_images_that_the_captions_find(small, tmp_path):
    config = small("analysis.examples=3")
    run(config, tmp_path)
    body = json.loads((tmp_path / "examples" / "examples.json").read_text())
    data = make_data(config, resolved_sizes(config.backbone), tmp_path, checkpoint_path(tmp_path, "last"))
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
    """One column for every view and pair. The cosine to the previous validation exists from the second one on."""
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


@pytest.mark.slow
def test_off_writes_nothing(small, tmp_path):
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


@pytest.mark.slow
def test_evaluating_a_checkpoint_analyses_its_splits(small, tmp_path):
    run(small("seed=3"), tmp_path)
    before = analysis_of(tmp_path)
    matrices = np.load(tmp_path / "cka.npz")["image"]
    (tmp_path / "cka.npz").unlink()
    # The seed of the command line is that of the bootstrap; the initial weights are still those of the run.
    run(small("train=false", "ckpt_path=best", "evaluate=[val,test]"), tmp_path)
    after = analysis_of(tmp_path)
    assert list(after["retrieval"]) == ["val", "test"]
    assert after["geometry"]["test"] == before["geometry"]["test"]
    assert after["cka"]["reference"] == "initial weights"
    run(small("train=false", "ckpt_path=best", "evaluate=[test]"), tmp_path)
    np.testing.assert_array_equal(np.load(tmp_path / "cka.npz")["image"], matrices)


@pytest.mark.parametrize(
    "precision", ["bf16-mixed", *(pytest.param(name, marks=pytest.mark.slow) for name in ("bf16-true", "64-true"))]
)
@pytest.mark.parametrize("choice", ["loss=norms", pytest.param("loss=stock", marks=pytest.mark.slow)])
@pytest.mark.slow
def test_other_precisions_are_analysed_in_float32(small, tmp_path, precision, choice):
    run(small(f"trainer.precision={precision}", choice, "model=v5335dim", "trainer.max_epochs=1"), tmp_path)
    analysis = analysis_of(tmp_path)
    assert np.isfinite(numbers(analysis)).all()
    assert len(analysis["retrieval"]["test"]["rest"]) == (4 if choice == "loss=norms" else 2)
    assert analysis.keys() == {"views", *PARTS}


@pytest.mark.parametrize(
    ("limit", "samples"),
    [
        ("trainer.limit_test_batches=2", 16),
        pytest.param("trainer.limit_test_batches=0.4", 8, marks=pytest.mark.slow),
        pytest.param("analysis.samples=5", 5, marks=pytest.mark.slow),
    ],
)
@pytest.mark.slow
def test_limits_hold_for_every_part(small, tmp_path, limit, samples):
    run(small(limit), tmp_path)
    analysis = analysis_of(tmp_path)
    assert (
        analysis["retrieval"]["test"]["samples"]
        == analysis["cka"]["samples"]
        == analysis["zero_shot"]["test"]["samples"]
        == samples
    )
    assert analysis["probes"]["image"]["samples"] == [min(24, samples), samples]


@pytest.mark.slow
def test_probes_are_not_scored_on_the_split_of_training(small, tmp_path):
    run(small("evaluate=[train]"), tmp_path)
    analysis = analysis_of(tmp_path)
    assert list(analysis["retrieval"]) == list(analysis["geometry"]) == ["train"]
    assert (analysis["probes"]["text"]["fitted_on"], analysis["probes"]["text"]["scored_on"]) == ("train", "val")
    assert json.loads((tmp_path / "examples" / "examples.json").read_text())["split"] == "val"
