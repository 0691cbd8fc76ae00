"""A run's folder made by hand: every file has the form in which runs write it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from model.record.metrics_csv import MetricsFile

VIEWS = ["image", "caption 1", "decoded 2"]
OVERRIDES = ["loss=normsv5", "model.captions=2", "data.languages=[en,es]"]
CONFIG = """
loss: {name: normsv5}
model: {name: v534dim}
backbone: {name: tiny, lr: 0.004}
data: {name: scenes, val_size: 100, test_size: 200}
optimizer: {name: adamw, lr: "${backbone.lr}"}
seed: 7
"""


def recall(*values: float) -> dict[str, dict[str, float]]:
    """Returns recall@1, @5 and @10 with intervals of ±0.02."""
    return {
        str(k): {"value": value, "low": value - 0.02, "high": value + 0.02}
        for k, value in zip((1, 5, 10), values, strict=True)
    }


ANALYSIS = {
    "views": VIEWS,
    "retrieval": {
        "test": {
            "samples": 200,
            "captions": 2,
            "pairs": [
                {
                    "view": "caption 1",
                    "direction": "text_to_image",
                    "recall": recall(0.31, 0.62, 0.81),
                    "median_rank": 3.0,
                },
                {
                    "view": "caption 1",
                    "direction": "image_to_text",
                    "recall": recall(0.32, 0.63, 0.82),
                    "median_rank": 3.0,
                },
                {
                    "view": "decoded 2",
                    "direction": "text_to_image",
                    "recall": recall(0.11, 0.22, 0.33),
                    "median_rank": 21.5,
                },
                {
                    "view": "decoded 2",
                    "direction": "image_to_text",
                    "recall": recall(0.12, 0.23, 0.34),
                    "median_rank": 20.0,
                },
            ],
            "any_caption": {"recall": recall(0.4, 0.7, 0.9), "median_rank": 2.0},
            "rest": [{"view": view, "recall": recall(0.5, 0.75, 0.95), "median_rank": 1.0} for view in VIEWS],
        }
    },
    "zero_shot": {
        "test": {"classes": 4, "samples": 200, "top1": {"value": 0.71, "low": 0.65, "high": 0.77}, "majority": 0.26}
    },
    "probes": {
        "image": {"fitted_on": "train", "scored_on": "test", "samples": [512, 200], "accuracy": 0.83, "majority": 0.26}
    },
    "geometry": {
        "test": {
            "alignment": [
                {"views": ["image", "caption 1"], "value": 0.9},
                {"views": ["image", "decoded 2"], "value": 1.4},
            ],
            "uniformity": {"image": -2.5, "caption 1": -2.25, "decoded 2": -1.5},
            "effective_rank": {"image": 40.5, "caption 1": 35.25, "decoded 2": 12.0},
            "modality_gap": {"caption 1": 0.75, "decoded 2": 0.5},
        }
    },
    "tokens": {
        "norm": {"mean": 0.4, "std": 0.1, "min": 0.2, "max": 0.9},
        "central": [["Ġthe", 0.61], ["<b>", 0.6]],
        "furthest": [["\n", -0.3], ["red|blue", -0.2]],
    },
    "cka": {"reference": "initial weights", "samples": 200, "batch": 64},
}


def figures(base: float) -> dict[str, float]:
    """Returns the figures of one split."""
    return {
        "recall@1": base,
        "recall@5": 2 * base,
        "recall@10": 0.8,
        "joint_recall@1": 0.9,
        "swap_acc": 0.75,
        "loss": 1.25,
    }


SUMMARY = {
    "status": "complete",
    "metrics": {
        f"{split}/{name}": value
        for split, base in (("val", 0.3), ("test", 0.315))
        for name, value in figures(base).items()
    },
    "config_hash": "0123456789ab",
    "steps": {"attempted": 40, "applied": 39},
    "seconds": 205.4,
    "step_seconds": 0.248,
    "peak_memory_mib": 742.6,
    "views": ["image", "caption_1", "decoded_2"],
    "parameters": 739905,
    "batch_size": 128,
    "ceiling": {split: {"recall@1": 0.997, "recall@5": 1.0, "recall@10": 1.0} for split in ("val", "test")},
    "versions": {"python": "3.11.7", "torch": "2.13.0"},
}


def write_run(folder: Path) -> Path:
    """Writes every file of a run."""
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "config.yaml").write_text(CONFIG)
    (folder / ".hydra" / "overrides.yaml").write_text("".join(f"- {override}\n" for override in OVERRIDES))
    (folder / "summary.json").write_text(json.dumps(SUMMARY))
    (folder / "analysis.json").write_text(json.dumps(ANALYSIS))
    write_metrics(folder)
    write_examples(folder / "examples")
    layers = np.linspace(1, 0.5, 9, dtype=np.float32).reshape(3, 3)
    np.savez(folder / "cka.npz", image=layers, text=layers[:2, :2])
    counts = {"clipped": 1, "skipped": 1, "scaler_skips": 0, "clip": 1.0, "vanishing": 1e-7, "exploding": 100.0}
    rows = [{"step": step, "norm": 1.0, "action": "step", **counts, "layers": {"a": 1.0}} for step in (10, 20)]
    (folder / "health.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def write_metrics(folder: Path) -> None:
    """Writes four rows of training, one of them of a skipped step, and two validations."""
    metrics = MetricsFile(folder / "metrics.csv")
    for step in (10, 20, 30, 40):
        lost = step == 30
        train = {
            "train/loss": float("nan") if lost else 4.0 - step / 20,
            "train/logit_scale": 14.0 + step / 10,
            "train/lr": 0.004 - step / 1e4,
        }
        metrics.append({"epoch": step // 21, "step": step, "grad/skipped": float(lost), **train})
        if step % 20 == 0:
            share = step / 400
            figures = {
                "val/loss": 3.5 - step / 20,
                "val/recall@1": share,
                "val/recall@5": 2 * share,
                "val/recall@10": 4 * share,
            }
            metrics.append({"epoch": step // 21, "step": step, **figures, **feature_columns(step)})


def feature_columns(step: int) -> dict[str, float]:
    """Returns drift/* and geometry/* of a validation. The first validation has no comparison with a previous one."""
    columns = {}
    for place, view in enumerate(view.replace(" ", "_") for view in VIEWS):
        moved = {f"drift/{view}/cosine_to_previous": 0.8 + place / 10} if step > 20 else {}
        columns |= {f"drift/{view}/norm": 5.0 + place, **moved, f"drift/{view}/mean_similarity": 0.3 - place / 10}
        columns |= {f"geometry/uniformity/{view}": -step / 20 - place, f"geometry/effective_rank/{view}": step + place}
        if view != "image":
            columns |= {
                f"geometry/modality_gap/{view}": 0.5 + place,
                f"geometry/alignment/image~{view}": 1.5 - step / 100 + place / 10,
            }
    return {**columns, "geometry/alignment/caption_1~decoded_2": 1.7}


def write_examples(folder: Path) -> None:
    """Writes two queries: one with special characters of HTML and of matplotlib's mathematics, one in another
    script.
    """
    folder.mkdir()
    for index in range(6):
        Image.new("RGB", (96, 96), (40 * index, 90, 200 - 30 * index)).save(folder / f"{index}.png")
    queries = [
        {
            "caption": caption,
            "index": index,
            "hits": [
                {"index": hit, "score": 0.9 - hit / 10, "match": hit == index, "picture": f"{hit}.png"}
                for hit in range(5)
            ],
        }
        for index, caption in ((0, "<script>alert('x')</script> costs $5 & $6"), (5, "一个红色的圆"))
    ]
    (folder / "examples.json").write_text(json.dumps({"split": "test", "view": "caption 1", "queries": queries}))
