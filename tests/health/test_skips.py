"""Bad steps on purpose: a skipped step leaves everything bit-identical."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader

from model.health import HealthSettings, TrainingHalted
from model.health.callback import GradientHealthCallback
from tests.conftest import some_of_all
from tests.health.faults import FAULTS, PRECISIONS, fit, in_batches, in_precision, nan_loss
from tests.health.modules import Small, loader, trainer
from tests.health.snapshots import same

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


@pytest.mark.parametrize(
    ("bad", "optimizer", "fault"), some_of_all(2, [(0,), (7,), (0, 7, 8, 9, 15)], ["adamw", "lion", "sgd"], FAULTS)
)
def test_skipped_steps_change_nothing(fault, optimizer, bad):
    _, callback, recorder = fit(HealthSettings(), bad, FAULTS[fault], optimizer)
    assert [step for step, changed in enumerate(recorder.changed) if not changed] == sorted(bad)
    assert recorder.finite
    assert callback.counts == {
        "attempted": 16,
        "applied": 16 - len(bad),
        "skipped": len(bad),
        "clipped": 0,
        "scaler_skips": 0,
    }


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("optimizer", ["adamw", pytest.param("lion", marks=pytest.mark.slow), "fused"])
@pytest.mark.parametrize("fault", ["nan", pytest.param("inf", marks=pytest.mark.slow), "inf_loss_alone"])
def test_skipped_steps_change_nothing_in_any_precision(precision, optimizer, fault):
    _, callback, recorder = fit(HealthSettings(), {0, 5, 6}, FAULTS[fault], optimizer, **in_precision(precision))
    assert [step for step, changed in enumerate(recorder.changed) if not changed] == [0, 5, 6]
    assert (callback.counts["skipped"], callback.counts["scaler_skips"]) == (3, 0)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("optimizer", ["adamw", "lion"])
@pytest.mark.parametrize(
    ("bad", "window"),
    [(0, 0), (7, 1), (14, 2), (15, 3)],
    ids=["first", "middle", "last of a window", "incomplete window"],
)
def test_one_bad_batch_of_a_window_changes_nothing(precision, optimizer, bad, window):
    _, callback, recorder = fit(
        HealthSettings(), {bad}, optimizer=optimizer, accumulate_grad_batches=5, **in_precision(precision)
    )
    assert recorder.changed == [step != window for step in range(4)], "windows of 5, 5, 5 and 1 batches"
    assert callback.counts["skipped"] == 1


@pytest.mark.parametrize("fault", FAULTS)
def test_one_bad_batch_discards_its_whole_window(fault):
    _, callback, recorder = fit(HealthSettings(), {6}, FAULTS[fault], accumulate_grad_batches=4)
    assert recorder.changed == [True, False, True, True]
    assert callback.counts["skipped"] == 1


def test_learning_rate_and_training_continue_as_if_the_batch_had_not_been():
    module, _, recorder = fit(HealthSettings(), {3})
    assert recorder.rates == pytest.approx([0.05 * 0.9**step for step in (0, 1, 2, 3, *range(3, 15))])
    samples = [batch for index, batch in enumerate(loader()) if index != 3]
    twin = Small()
    trainer([]).fit(twin, DataLoader(samples, batch_size=None))
    assert same(dict(module.named_parameters()), dict(twin.named_parameters()))


def test_a_bad_step_gets_a_row_even_when_none_is_due():
    module, _, _ = fit(HealthSettings(every_n_steps=100), {4})
    first, row, last = module.rows
    assert (first["step"], last["step"]) == (1, 16)
    assert (row["step"], row["grad/skipped"], row["grad/has_nan"], row["grad/clipped"]) == (5, 1, 1, 0)


def test_warn_applies_the_step():
    _, callback, recorder = fit(HealthSettings(on_nonfinite="warn", every_n_steps=1), {15})
    assert recorder.changed[15]
    assert not recorder.finite
    assert callback.counts["skipped"] == 0


def test_counts_survive_a_checkpoint(tmp_path):
    _, callback, _ = fit(HealthSettings(max_skips=5), {13, 14, 15})
    torch.save(callback.state_dict(), tmp_path / "state")
    resumed = GradientHealthCallback(HealthSettings(max_skips=5), None)
    resumed.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    assert resumed.counts == callback.counts
    with pytest.raises(TrainingHalted, match="5 steps were skipped"):
        trainer([resumed]).fit(Small(fault=in_batches({0, 1, 2}, nan_loss)), loader())
