"""A run that continues with other settings lists those that it applies, and refuses the others before anything is
changed.
"""

from __future__ import annotations

import json
import logging
import shutil
import sys
from pathlib import Path

import pytest
import torch

from model.checkpoint.files import checkpoint_path
from model.checkpoint.past import read_past_run
from model.command import command_line
from model.config.changes import change_texts, check_changes
from model.config.compose import as_dict, known_keys
from model.config.decisions import APPLIED, CONDITIONAL, NOT_COMPARED, REFUSED, Change, PastRun
from model.errors import ConfigError
from model.run import run
from tests.conftest import SMALL, compose_run

FINISHED = ("trainer.checkpoint_every_n_steps=2", "evaluate=[val]")
PEAK = 2e-3
RATE = ("optimizer.lr=2e-3", "schedule.warmup=0")
# Choices that differ in more than their name.
LION = (
    "optimizer=lion (in the checkpoint: adamw; with it weight_decay=0.5 instead of 0.1, betas=[0.9,0.99] instead "
    "of [0.9,0.98])"
)
NORMS = "loss=norms (in the checkpoint: normsv5; with it eps=0.001 instead of 1e-08, scale_cap=null instead of 10.0)"


def files(folder: Path) -> dict[str, bytes]:
    """Everything in a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    """The folder of a run of two epochs, six steps. Tests work on copies."""
    folder = tmp_path_factory.mktemp("done") / "run"
    run(compose_run(*SMALL, *FINISHED, *RATE), folder)
    return folder


@pytest.fixture
def again(done, small, tmp_path):
    """`again("key=value", …)`: continues in a copy of that run's folder, and returns summary and folder."""
    folder = tmp_path / "run"
    shutil.copytree(done, folder)

    def continue_run(*overrides: str):
        return run(small(*FINISHED, *RATE, "ckpt_path=last", *overrides), folder), folder

    return continue_run


def past(made_with, **known) -> PastRun:
    """Of a run that has made three steps with the configuration `made_with`."""
    return PastRun(
        **{"config": as_dict(made_with), "steps": 3, "epochs": 1, "seconds": 0.0, "processes": 1, "best": None, **known}
    )


def test_every_key_is_decided_once():
    decided = [*APPLIED, *REFUSED, *CONDITIONAL, *NOT_COMPARED]
    assert sorted(decided) == known_keys()


CANNOT_BE_APPLIED = [
    (("optimizer.lr=1e-5",), ["optimizer.lr=1e-05 (in the checkpoint: 0.002)"]),
    (
        ("optimizer.weight_decay=0.5", "seed=3"),
        ["optimizer.weight_decay=0.5 (in the checkpoint: 0.1)", "seed=3 (in the checkpoint: 0)"],
    ),
    (("optimizer=lion",), [LION]),
    (("loss=norms", "loss.eps=1e-3"), [NORMS]),
    (("loss.scale_cap=50",), ["loss.scale_cap=50.0 (in the checkpoint: 10.0)"]),
    (("schedule.final=0.1",), ["schedule.final=0.1 (in the checkpoint: 0.0)"]),
    (("data.batch_size=12",), ["data.batch_size=12 (in the checkpoint: 8)"]),
    (("data.train_size=48",), ["data.train_size=48 (in the checkpoint: 24)"]),
    (("data.val_size=21",), ["data.val_size=21 (in the checkpoint: 20)"]),
    (("monitor=off",), ["monitor.enabled=false (in the checkpoint: true)"]),
    (("objective=val/swap_acc",), ["objective=val/swap_acc (in the checkpoint: val/recall@1)"]),
    (("trainer.precision=bf16-true",), ["trainer.precision=bf16-true (in the checkpoint: 32-true)"]),
    (("trainer.accumulate_grad_batches=3",), ["trainer.accumulate_grad_batches=3 (in the checkpoint: 1)"]),
]


@pytest.mark.parametrize(
    ("overrides", "lines"),
    [
        pytest.param(*case, marks=[pytest.mark.slow] if number % 2 else [])
        for number, case in enumerate(CANNOT_BE_APPLIED)
    ],
)
def test_what_cannot_be_applied_is_refused_by_name_and_nothing_is_changed(again, done, tmp_path, overrides, lines):
    with pytest.raises(ConfigError) as caught:
        again(*overrides, "trainer.max_epochs=3")
    head, *refused = str(caught.value).splitlines()
    assert head.startswith("ckpt_path=last was written with other settings; allowed: ")
    assert refused == lines
    assert files(tmp_path / "run") == files(done)


def test_the_command_line_refuses_with_exit_code_2(again, done, tmp_path, monkeypatch, capsys):
    quiet = ("hydra/job_logging=none", "hydra/hydra_logging=none", "hydra.output_subdir=null")
    folder = f"hydra.run.dir={tmp_path / 'run'}"
    monkeypatch.setattr(
        sys, "argv", ["train.py", *SMALL, "seed=7", "backbone.lr=1e-3", folder, "ckpt_path=last", *quiet]
    )
    assert command_line() == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition("=")[0] for line in lines[1:]] == ["backbone.lr", "optimizer.lr", "schedule.warmup", "seed"]
    assert files(tmp_path / "run") == files(done)


def test_a_checkpoint_of_another_folder_is_refused_too(done, small, tmp_path):
    with pytest.raises(ConfigError, match=r"\noptimizer\.lr=0\.01 \(in the checkpoint: 0\.002\)"):
        run(
            small(*FINISHED, "optimizer.lr=1e-2", "schedule.warmup=0", f"ckpt_path={checkpoint_path(done, 'best')}"),
            tmp_path / "new",
        )
    assert not (tmp_path / "new").exists()


def test_what_is_applied_is_listed_in_one_message(again, caplog):
    with caplog.at_level(logging.INFO, logger="model.checkpoint.past"):
        again(
            "trainer.max_epochs=3",
            "monitor=guard",
            "data.num_workers=1",
            "evaluate=[val,test]",
            "trainer.early_stopping_patience=5",
        )
    (message,) = [record.getMessage() for record in caplog.records if record.name == "model.checkpoint.past"]
    start, _, settings = message.partition(": ")
    assert start == "resuming from step 6 with changed settings"
    assert "monitor=guard (was watch; with it clip=1.0 instead of null)" in settings
    for text in (
        "trainer.max_epochs=3 (was 2)",
        "data.num_workers=1 (was 0)",
        "evaluate=[val,test] (was [val])",
        "patience=5 (was null)",
    ):
        assert text in settings


def test_the_same_settings_give_no_message(again, caplog):
    with caplog.at_level(logging.INFO):
        summary, _ = again()
    assert "settings" not in caplog.text
    assert summary.steps["attempted"] == 6


def test_an_evaluation_may_change_everything_but_the_weights(again, small, tmp_path):
    summary, folder = again("train=false", "seed=4", "optimizer.lr=1", "data.batch_size=4", "objective=val/swap_acc")
    assert summary.metrics["val/recall@1"] >= 0
    with pytest.raises(ConfigError, match="belongs to another model"):
        run(small("model=clip", "ckpt_path=last", "train=false"), folder)


def test_precision_may_change_where_the_weights_keep_their_type(small):
    config = small("trainer.precision=bf16-mixed")
    assert check_changes(config, past(small()), 1) == [Change("trainer.precision", "32-true", "bf16-mixed")]


def test_the_objective_may_change_until_a_best_checkpoint_is_chosen(small):
    config = small("objective=val/swap_acc")
    assert [change.key for change in check_changes(config, past(small()), 1)] == ["objective"]
    with pytest.raises(ConfigError, match="objective=val/swap_acc"):
        check_changes(config, past(small(), best=0.5), 1)


def test_a_key_that_the_checkpoint_lacks_has_its_old_value(small):
    config = small()
    earlier = as_dict(config)
    del earlier["backbone"]["translator_norm"], earlier["objective"], earlier["trainer"]["matmul_precision"]
    with pytest.raises(ConfigError) as caught:
        check_changes(config, past(config, config=earlier), 1)
    assert str(caught.value).splitlines()[1:] == ["backbone.translator_norm=pre (in the checkpoint: post)"]
    clip = small("model=clip")
    del (earlier := as_dict(clip))["backbone"]["translator_norm"]
    assert check_changes(clip, past(clip, config=earlier), 1) == [], "model=clip has no encoder-decoder"


@pytest.mark.slow
def test_a_checkpoint_without_a_configuration_continues_with_a_warning(again, caplog, tmp_path):
    path = checkpoint_path(tmp_path / "run", "last")
    loaded = torch.load(path, weights_only=True)
    del loaded["callbacks"]["RunCheckpoints"]["config"], loaded["rate"]
    torch.save(loaded, path)
    summary, _ = again("trainer.max_epochs=3", "optimizer.lr=1e-5")
    assert "another configuration" in caplog.text
    assert summary.steps["attempted"] == 9


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "trainer.max_epochs=1",
            "trainer.max_epochs=1 is below the 2 epochs of the checkpoint; allowed: 2 or more",
        ),
        ("trainer.max_steps=5", "trainer.max_steps=5 is below the 6 steps of the checkpoint; allowed: 6 or more"),
    ],
)
def test_a_run_cannot_end_before_its_checkpoint(again, done, tmp_path, override, message):
    with pytest.raises(ConfigError) as caught:
        again(override)
    assert str(caught.value) == message
    assert files(tmp_path / "run") == files(done)


def test_a_time_limit_that_has_passed_is_refused(small):
    config = small("trainer.max_time=00:00:01:00")
    with pytest.raises(
        ConfigError,
        match=r"^trainer\.max_time=00:00:01:00 has passed: the run has already trained for 61 s; allowed: a longer "
        r"time$",
    ):
        check_changes(config, past(small(), seconds=61.0), 1)
    # With its own limit the run has ended, and is only evaluated.
    assert check_changes(config, past(config, seconds=61.0), 1) == []


def test_the_checkpoint_has_the_settings_of_its_run(done):
    found = read_past_run(checkpoint_path(done, "last"))
    assert (found.steps, found.epochs, found.processes) == (6, 2, 1)
    assert (found.config["optimizer"]["lr"], found.config["schedule"]["warmup"]) == (PEAK, 0.0)
    assert found.best == pytest.approx(
        max(json.loads((done / "summary.json").read_text())["metrics"]["val/recall@1"], found.best)
    )


def test_values_are_written_as_they_are_typed():
    changes = [
        Change("data.languages", ["en"], ["en", "de"]),
        Change("report", True, False),
        Change("trainer.max_time", None, "00:00:01:00"),
    ]
    assert change_texts(changes, "was ") == [
        "data.languages=[en,de] (was [en])",
        "report=false (was true)",
        "trainer.max_time=00:00:01:00 (was null)",
    ]
