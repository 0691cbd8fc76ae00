"""Bad steps on purpose: a halted run writes the named files, and keeps the weights from before the bad step."""

from __future__ import annotations

import json

import pytest
import torch

from model.health import HealthSettings, TrainingHalted
from model.health.callback import GradientHealthCallback
from tests.conftest import some_of_all
from tests.health.faults import FAULTS, PRECISIONS, fit, in_batches, in_precision, nan_loss
from tests.health.modules import ROWS, Small, loader, trainer
from tests.health.snapshots import ChangeRecorder, same

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


def test_skips_are_counted_in_a_row_only(tmp_path):
    settings = HealthSettings(max_skips=2)
    _, callback, _ = fit(settings, {1, 2, 4, 5, 7, 8}, run_dir=tmp_path)
    assert callback.counts["skipped"] == 6
    with pytest.raises(
        TrainingHalted, match=r"step 14: the loss and the gradient are not finite, 2 steps were skipped before it"
    ):
        fit(settings, {11, 12, 13}, run_dir=tmp_path)
    assert json.loads((tmp_path / "halt.json").read_text())["step"] == 14


def halted(settings, batches, folder, fault=nan_loss, optimizer="adamw", **options):
    """Returns halt.json, the last good checkpoint, and the snapshot before the bad step, of a run that must halt."""
    module, recorder = Small(optimizer, in_batches(batches, fault)), ChangeRecorder()
    callback = GradientHealthCallback(settings, folder)
    with pytest.raises(TrainingHalted):
        trainer([recorder, callback], **options).fit(module, loader())
    checkpoint = torch.load(folder / "checkpoints" / "last_good.ckpt", weights_only=True)
    return json.loads((folder / "halt.json").read_text()), checkpoint, recorder.before


@pytest.mark.parametrize(
    ("precision", "optimizer", "fault", "bad"),
    some_of_all(2, PRECISIONS, ["adamw", "lion"], ["nan", "inf", "inf_loss_alone"], [0, 7]),
)
def test_halt_keeps_everything_bit_identical(tmp_path, precision, optimizer, fault, bad):
    record, checkpoint, before = halted(
        HealthSettings(on_nonfinite="halt"), {bad}, tmp_path, FAULTS[fault], optimizer, **in_precision(precision)
    )
    assert same(dict(checkpoint["state_dict"]), before["parameters"])
    assert same(checkpoint["optimizer_states"][0], before["optimizer"]), "moments, and learning rates of all groups"
    assert (record["step"], record["indices"]) == (bad + 1, list(range(bad * ROWS, (bad + 1) * ROWS)))
    assert ("tower.0.weight" in record["layers"]) == (fault != "inf_loss_alone")


@pytest.mark.parametrize(
    ("precision", "optimizer", "fault", "first"), some_of_all(2, PRECISIONS, ["adamw", "lion"], ["nan", "inf"], [0, 6])
)
def test_too_many_skips_in_a_row_halt_with_the_weights_before_them(tmp_path, precision, optimizer, fault, first):
    settings, bad = HealthSettings(max_skips=3), set(range(first, 16))
    record, checkpoint, _ = halted(settings, bad, tmp_path, FAULTS[fault], optimizer, **in_precision(precision))
    assert (record["step"], record["indices"]) == (first + 4, list(range((first + 3) * ROWS, (first + 4) * ROWS)))
    good = Small(optimizer)
    if first:
        trainer([], max_steps=first, **in_precision(precision)).fit(good, loader())
        saved, expected = checkpoint["optimizer_states"][0], good.trainer.optimizers[0].state_dict()
        assert same(saved["state"], expected["state"])
        assert saved["param_groups"][0]["lr"] == expected["param_groups"][0]["lr"]
    assert same(dict(checkpoint["state_dict"]), {name: p.detach() for name, p in good.named_parameters()})


@pytest.mark.parametrize("precision", PRECISIONS)
def test_halt_names_the_batch_and_keeps_the_last_good_weights(tmp_path, precision):
    record, checkpoint, _ = halted(HealthSettings(on_nonfinite="halt"), {5}, tmp_path, **in_precision(precision))
    assert record["step"] == 6
    assert record["indices"] == list(range(5 * ROWS, 6 * ROWS))
    assert "tower.0.weight" in record["layers"]
    good = Small()
    trainer([], max_steps=5, **in_precision(precision)).fit(good, loader())
    assert same(dict(checkpoint["state_dict"]), {name: p.detach() for name, p in good.named_parameters()})
    assert same(checkpoint["optimizer_states"][0]["state"], good.trainer.optimizers[0].state_dict()["state"])


def test_halt_names_only_the_bad_batch_of_a_window(tmp_path):
    with pytest.raises(TrainingHalted):
        fit(HealthSettings(on_nonfinite="halt"), {6}, run_dir=tmp_path, accumulate_grad_batches=4)
    record = json.loads((tmp_path / "halt.json").read_text())
    assert (record["step"], record["indices"]) == (2, list(range(6 * ROWS, 7 * ROWS)))
