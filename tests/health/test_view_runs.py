"""Advice on the views of whole runs: none for healthy views, each fault by name, and the same after a resume."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from model.health import view_callback
from model.report.page_header import problems
from model.report.run_files import read_run
from model.run import run
from model.views.encoder import ViewEncoder
from tests.conftest import SMALL
from tests.data.helpers import needs_font
from tests.health.interrupted import run_until_error

ROOT = Path(__file__).resolve().parents[2]
# No evaluation and analysis after the last step.
FAST = ("analysis=off", "evaluate=[]")
# The widths of backbone=tiny, whose initial views differ between texts; three steps and a validation.
WIDE = (
    "trainer=cpu",
    "report=false",
    *FAST,
    "trainer.enable_progress_bar=false",
    "trainer.max_epochs=1",
    "data.batch_size=32",
    "data.train_size=96",
    "data.val_size=64",
    "data.test_size=64",
)


@pytest.fixture
def plant(monkeypatch):
    """Returns `plant`: after `plant(change)`, encoders return `change(encoder, views)`."""
    good = ViewEncoder.forward

    def make(change) -> None:
        monkeypatch.setattr(ViewEncoder, "forward", lambda self, *inputs: change(self, good(self, *inputs)))

    return make


def advice(folder: Path) -> list[dict]:
    """Returns the advice in the run's summary."""
    return json.loads((folder / "summary.json").read_text())["advice"]


def findings(folder: Path) -> list[tuple[str, int, list[str]]]:
    """Returns the advice without figures and text."""
    return [(entry["kind"], entry["step"], entry["views"]) for entry in advice(folder)]


def constant(encoder, views):
    """Makes the third view the same for all samples."""
    return torch.cat([views[:2], 0 * views[2:3] + 1, views[3:]])


def doubled(encoder, views):
    """Makes the fourth view twice the third."""
    return torch.cat([views[:3], 2 * views[2:3], views[4:]])


HEALTHY = [
    ("model=clip", "loss=stock"),
    ("model=v534dim",),
    pytest.param(("model=v5335dim",), marks=pytest.mark.slow),
    pytest.param(("model=v534dim", "loss=einsum", "loss.scale_init=auto"), marks=pytest.mark.slow),
    pytest.param(("data=emoji",), marks=[*needs_font, pytest.mark.slow]),
]


@pytest.mark.parametrize("chosen", HEALTHY, ids=" ".join)
def test_a_healthy_run_gets_no_advice_on_views(composed, tmp_path, caplog, chosen):
    run(composed(*WIDE, *chosen), tmp_path)
    assert advice(tmp_path) == []
    assert "view" not in caplog.text.lower()


@pytest.mark.slow
def test_a_run_that_learns_gets_no_advice_after_the_first_steps(composed, tmp_path, monkeypatch):
    """This run has learned enough after half of the usual first steps."""
    monkeypatch.setattr(view_callback, "FIRST_STEPS", 100)
    run(composed(*WIDE, "model=v5335dim", "data.train_size=3200"), tmp_path)
    assert advice(tmp_path) == []


@pytest.mark.parametrize(
    "extra",
    [
        ("trainer.precision=bf16-mixed",),
        *(pytest.param(extra, marks=pytest.mark.slow) for extra in ((), ("trainer.accumulate_grad_batches=3",))),
    ],
    ids=" ".join,
)
def test_a_constant_view_gives_advice_at_the_start_and_at_validation(small, tmp_path, caplog, plant, extra):
    plant(constant)
    run(small(*FAST, f"report={str(not extra).lower()}", *extra), tmp_path)
    validated = 1 if "trainer.accumulate_grad_batches=3" in extra else 3
    assert findings(tmp_path) == [("blind_view", 1, ["decoded_2"]), ("collapsed_view", validated, ["decoded_2"])]
    messages = [
        record.message for record in caplog.records if "⚠️ Blind" in record.message or "⚠️ Collapsed" in record.message
    ]
    assert [message.partition(":")[0] for message in messages] == ["step 1", f"step {validated}"], (
        "not at the second validation"
    )
    for message, entry in zip(messages, advice(tmp_path), strict=True):
        assert message == f"step {entry['step']}: {entry['text']}"
        assert "1.0000 of decoded_2" in message
        assert "Consider: (1)" in message
    assert problems(read_run(tmp_path)) == [
        f"Step {entry['step']}: {' '.join(entry['text'].split())}" for entry in advice(tmp_path)
    ]
    assert extra or "1.0000 of decoded_2" in (tmp_path / "report" / "index.html").read_text()


def test_two_equal_views_are_named_together(small, tmp_path, plant):
    plant(doubled)
    run(small(*FAST, "trainer.max_epochs=1"), tmp_path)
    assert findings(tmp_path) == [("equal_views", 1, ["decoded_2~decoded_3"])]


def test_the_small_initial_weights_of_marian_make_blind_views(composed, tmp_path):
    run(composed(*WIDE, "model=v534dim", "backbone.translator_init=marian", "backbone.translator_norm=post"), tmp_path)
    blind = next(entry for entry in advice(tmp_path) if entry["kind"] == "blind_view")
    assert blind["step"] == 1
    assert {"decoded_2", "decoded_3"} <= set(blind["views"])
    assert "(1) backbone.translator_init=fan_in" in blind["text"]


@pytest.mark.parametrize(
    ("chosen", "names"),
    [
        ("loss=normsv5", ["caption_1"]),
        pytest.param("loss=stock", ["direction 1", "direction 2"], marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("shuffled", [False, True], ids=["matching", "shuffled"])
def test_a_line_whose_matches_are_shuffled_is_at_chance(small, tmp_path, plant, monkeypatch, chosen, names, shuffled):
    def known(encoder, views):
        """In validation, makes all views of a sample alike; with `shuffled`, caption 1 has the views of other
        samples.
        """
        if encoder.training:
            return views
        alike = torch.randn(views.shape[1:], generator=torch.Generator().manual_seed(0)).expand_as(views).clone()
        alike += 0.1 * torch.randn(views.shape, generator=torch.Generator().manual_seed(1))
        alike[1] = alike[1].roll(3, dims=0) if shuffled else alike[1]
        return alike

    monkeypatch.setattr(view_callback, "FIRST_STEPS", 3)
    plant(known)
    run(
        small(*FAST, chosen, "trainer.max_epochs=1", "data.val_size=128", "data.batch_size=32", "data.train_size=96"),
        tmp_path,
    )
    lines = [view for entry in advice(tmp_path) if entry["kind"] == "line_at_chance" for view in entry["views"]]
    assert (set(names) <= set(lines)) == shuffled
    assert bool(lines) == shuffled


@pytest.mark.slow
def test_a_resumed_run_has_the_advice_of_an_uninterrupted_one(small, tmp_path, plant, caplog):
    plant(constant)
    shared = (*FAST, "trainer.checkpoint_every_n_steps=2")
    run(small(*shared), tmp_path / "uninterrupted")
    run_until_error(small(*shared), tmp_path / "resumed", step=5)
    caplog.clear()
    run(small(*shared, "ckpt_path=last"), tmp_path / "resumed")
    assert len(advice(tmp_path / "uninterrupted")) == 2
    assert advice(tmp_path / "resumed") == advice(tmp_path / "uninterrupted")
    assert "step 1:" not in caplog.text, "a resumed run has had its first batch"
    assert "Collapsed view" not in caplog.text, "the advice was given before the interruption"


def test_monitor_off_gives_no_advice(small, tmp_path, caplog, plant):
    plant(constant)
    run(small(*FAST, "monitor=off"), tmp_path)
    assert advice(tmp_path) == []
    assert "⚠️" not in caplog.text


def test_an_evaluation_keeps_the_advice_of_the_run(small, tmp_path, plant):
    plant(constant)
    run(small(*FAST, "trainer.max_epochs=1"), tmp_path)
    before = advice(tmp_path)
    run(small("analysis=off", "trainer.max_epochs=1", "train=false", "ckpt_path=last"), tmp_path)
    assert advice(tmp_path) == before
    assert "advice" not in json.loads((tmp_path / "evaluation.json").read_text())


@pytest.mark.slow
def test_only_the_first_of_two_processes_gives_advice(tmp_path):
    overrides = (
        "backbone.translator_init=marian",
        "backbone.translator_norm=post",
        "trainer.strategy=ddp",
        "trainer.devices=2",
    )
    command = [
        sys.executable,
        str(ROOT / "train.py"),
        *SMALL,
        *FAST,
        "data.train_size=48",
        *overrides,
        f"hydra.run.dir={tmp_path}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ("blind_view", 1) in [(entry["kind"], entry["step"]) for entry in advice(tmp_path)]
    assert (done.stdout + done.stderr).count("Blind view") == 1
