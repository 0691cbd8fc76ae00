"""Evaluations, with train=false: their metrics, and that they leave the run as it is."""

from __future__ import annotations

import json

import pytest
import torch

from model.checkpoint.files import checkpoint_path
from model.errors import ConfigError
from model.module import NWayClip
from model.run import run
from tests.run.test_run import read_csv, weights


def test_a_failed_evaluation_leaves_the_runs_summary_alone(small, tmp_path, monkeypatch):
    run(small("trainer.max_epochs=1"), tmp_path)
    before = (tmp_path / "summary.json").read_bytes()
    monkeypatch.setattr(NWayClip, "test_step", lambda self, *batch: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(small("trainer.max_epochs=1", "train=false", "ckpt_path=best"), tmp_path)
    assert (tmp_path / "summary.json").read_bytes() == before
    assert json.loads((tmp_path / "evaluation.json").read_text())["reason"] == "ZeroDivisionError: division by zero"


@pytest.mark.slow
def test_recall_falls_to_chance_when_captions_are_permuted(small, tmp_path):
    """After training on 64 scenes, recall is far above chance with their own captions, and at chance with others."""
    from model.analysis.validation import validation_figures
    from model.build import build_parts

    config = small(
        "model=clip",
        "loss=stock",
        "data.train_size=64",
        "data.batch_size=64",
        "trainer.max_epochs=80",
        "optimizer.lr=1e-2",
    )
    config.backbone.text_width = config.backbone.vision_width = 32
    config.trainer.check_val_every_n_epoch = config.trainer.log_every_n_steps = 80
    run(config, tmp_path)
    parts = build_parts(config, tmp_path, checkpoint_path(tmp_path, "last"))
    module = parts.module.eval()
    module.load_state_dict(weights(tmp_path))
    with torch.no_grad():
        views = torch.cat([module(batch) for batch in parts.data.eval_dataloader("train")], dim=1)
        own = validation_figures(module.loss, views, module.multiplier(), 64)
        views[1] = views[1].roll(1, dims=0)
        permuted = validation_figures(module.loss, views, module.multiplier(), 64)
    assert own["recall@10"] > 3 * 10 / 64
    assert permuted["recall@10"] < 2 * 10 / 64


@pytest.mark.slow
def test_train_false_evaluates_a_checkpoint_and_leaves_the_run_alone(small, tmp_path):
    run(small(), tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in ("metrics.csv", "summary.json")}
    summary = run(small("train=false", "ckpt_path=best", "evaluate=[val,test]"), tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    evaluated = json.loads((tmp_path / "evaluation.json").read_text())["metrics"]
    assert evaluated["val/recall@1"] == pytest.approx(
        max(float(row["val/recall@1"]) for row in read_csv(tmp_path) if row["val/recall@1"])
    )
    assert summary.steps["attempted"] == 0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("clip", "v534dim"),
        *(pytest.param(*pair, marks=pytest.mark.slow) for pair in (("v534dim", "clip"), ("v5335dim", "v534dim"))),
    ],
)
def test_a_checkpoint_of_another_model_is_refused(small, tmp_path, one, other):
    run(
        small(f"model={one}", "backbone.translator_norm=post", "analysis=off", "trainer.max_epochs=1"), tmp_path / "one"
    )
    checkpoint = checkpoint_path(tmp_path / "one", "last")
    with pytest.raises(ConfigError, match="belongs to another model"):
        run(small(f"model={other}", f"ckpt_path={checkpoint}", "train=false"), tmp_path / "other")
