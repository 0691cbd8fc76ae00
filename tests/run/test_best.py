"""What "best" means: for best.ckpt, for early stopping, and for sweeps."""

from __future__ import annotations

import itertools
import json

import pytest
import torch

from model import module as module_file
from model.checkpoint.files import checkpoint_path
from model.config.best import Best, best_metric, best_of
from model.config.changes import check_changes
from model.config.compose import as_dict, config_hash, groups, loss_family
from model.errors import ConfigError
from model.report.page_header import facts
from model.report.run_files import read_run
from model.run import run
from tests.conftest import some
from tests.run.test_changed_settings import past

# The losses that score whole tuples: docs/losses.md and docs/results.md.
# A function of the user (own) may be one of them.
OF_TUPLES = {"einsum", "stable_einsum", "symile", "gram", "own"}


@pytest.fixture
def figures_of(monkeypatch):
    """`figures_of("swap_acc", [0.1, …])`: the validations of a run measure these values."""
    measure = module_file.validation_figures

    def call(name: str, values: list[float]) -> None:
        following = itertools.chain(values, itertools.repeat(values[-1]))
        monkeypatch.setattr(
            module_file, "validation_figures", lambda *arguments: {**measure(*arguments), name: next(following)}
        )

    return call


def test_the_default_is_what_the_loss_trains():
    for loss in groups()["loss"]:
        expected = "val/swap_acc" if loss in OF_TUPLES else "val/recall@1"
        assert best_metric("auto", "val/recall@1", loss_family(loss)) == expected, loss


@pytest.mark.parametrize(
    ("overrides", "metric", "mode"),
    [
        (("loss=einsum", "trainer.best=val/recall@1"), "val/recall@1", "max"),
        (("loss=einsum", "objective=val/joint_recall@1"), "val/joint_recall@1", "max"),
        (("objective=val/swap_acc",), "val/swap_acc", "max"),
        (("objective=val/swap_acc", "trainer.best=val/recall@5"), "val/recall@5", "max"),
        (("trainer.best=val/loss",), "val/loss", "min"),
    ],
)
def test_a_named_figure_decides(composed, overrides, metric, mode):
    assert best_of(composed(*overrides)) == Best(metric, mode)


def test_nan_is_never_better():
    assert not Best("val/loss", "min").improves(float("nan"), None)
    assert Best("val/loss", "min").improves(0.5, 1.0)
    assert not Best("val/loss", "min").improves(1.0, 1.0)
    assert not Best("val/recall@1", "max").improves(0.5, 0.5)


def test_a_figure_chooses_the_weights_and_ends_the_run(small, tmp_path, figures_of):
    """The lowest of the figures. Early stopping counts validations without a better one, whatever the training loss."""
    figures_of("loss", [3.0, 1.0, 1.0, 2.0, 0.5])
    more = ("trainer.best=val/loss", "trainer.early_stopping_patience=2", "trainer.val_check_interval=0.34")
    summary = run(small(*more, "loss=stock", "model=clip", "trainer.max_epochs=8", "evaluate=[]"), tmp_path)
    assert (summary.status, summary.steps["attempted"]) == ("stopped", 4), "one validation after each step"
    assert torch.load(checkpoint_path(tmp_path, "best"), weights_only=True)["global_step"] == 2
    best = json.loads((tmp_path / "summary.json").read_text())["best"]
    assert best == {"metric": "val/loss", "mode": "min", "value": 1.0}
    assert ("best weights", "lowest val/loss") in facts(read_run(tmp_path))


def test_a_continued_run_keeps_the_figure_that_has_chosen_its_weights(composed):
    """A checkpoint of an earlier version was chosen by the objective, also with a loss of tuples."""
    config = composed("loss=einsum")
    assert best_of(config, "val/recall@1") == Best("val/recall@1", "max")
    named = composed("loss=einsum", "trainer.best=val/loss")
    assert best_of(named, "val/recall@1") == Best("val/loss", "min")
    earlier = as_dict(config)
    for key in ("best", "best_mode"):
        del earlier["trainer"][key]
    del earlier["init_from"], earlier["backbone"]["freeze"], earlier["optimizer"]["lr_scale"]
    assert check_changes(config, past(config, config=earlier, best=0.5), 1) == []
    with pytest.raises(ConfigError, match=r"\ntrainer\.best=val/loss \(in the checkpoint: auto\)"):
        check_changes(named, past(config, config=earlier, best=0.5), 1)
    assert [change.key for change in check_changes(named, past(config), 1)] == ["trainer.best"]


@pytest.mark.slow
def test_the_checkpoint_of_an_earlier_version_is_continued_with_its_figure(small, tmp_path):
    """The checkpoint has no name of the figure, and no trainer.best in its configuration."""
    arguments = ("loss=einsum", "evaluate=[]", "trainer.early_stopping_patience=9")
    run(small(*arguments, "trainer.max_epochs=1"), tmp_path)
    path = checkpoint_path(tmp_path, "last")
    loaded = torch.load(path, weights_only=True)
    state = loaded["callbacks"]["RunCheckpoints"]
    del state["best_metric"], state["config"]["trainer"]["best"], state["config"]["trainer"]["best_mode"]
    torch.save(loaded, path)
    summary = run(small(*arguments, "ckpt_path=last"), tmp_path)
    assert summary.notes["best"]["metric"] == "val/recall@1"
    again = run(small(*arguments, "trainer.max_epochs=3", "ckpt_path=last"), tmp_path)
    assert again.notes["best"]["metric"] == "val/recall@1"


HASHES = {
    ("loss=einsum", "trainer.best=val/recall@1"): "bf256939d924",
    ("loss=norms", "objective=val/swap_acc"): "b5c180b41d28",
    ("loss=norms", "objective=val/swap_acc", "trainer.best=val/swap_acc", "trainer.best_mode=max"): "b5c180b41d28",
    ("loss=norms", "trainer.best=val/recall@1"): "6f7f8052516e",
}


@pytest.mark.parametrize("overrides", some(list(HASHES), 3))
def test_the_hash_follows_from_the_meaning(composed, overrides):
    """Results of the version before trainer.best, which computed these hashes, are found where a run does the same."""
    assert config_hash(composed(*overrides, "loss.memory_mib=200", "loss.backend=eager")) == HASHES[overrides]


def test_another_figure_is_another_run(composed):
    values = ("loss=einsum", "loss.memory_mib=200", "loss.backend=eager")
    assert config_hash(composed(*values)) not in HASHES.values()
    assert config_hash(composed(*values)) == config_hash(composed(*values, "trainer.best=val/swap_acc"))
