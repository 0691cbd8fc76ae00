"""Bad steps on purpose: a skipped one leaves everything bit for bit as it was, a halted run leaves the named files."""

from __future__ import annotations

import json
import math

import pytest
import torch
from pytorch_lightning.plugins import MixedPrecision
from torch import Tensor
from torch.utils.data import DataLoader

from model.health import HealthSettings
from model.health.callback import GradientHealthCallback
from model.health.policy import TrainingHalted
from tests.conftest import some_of_all
from tests.health.modules import ROWS, Small, loader, trainer
from tests.health.snapshots import Around, same

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


def nan_loss(loss: Tensor) -> Tensor:
    """NaN in loss and gradient."""
    return loss * math.nan


def inf_loss(loss: Tensor) -> Tensor:
    """Inf in loss and gradient."""
    return loss * math.inf


def inf_loss_alone(loss: Tensor) -> Tensor:
    """Inf in the loss; the gradient is fine."""
    return loss + math.inf


def nan_gradient_alone(loss: Tensor) -> Tensor:
    """A finite loss with a NaN gradient, as sqrt has it at 0."""
    return loss + (loss * 0).sqrt()


PRECISIONS = ["32-true", "bf16-mixed", "16-mixed"]
FAULTS = {"nan": nan_loss, "inf": inf_loss, "inf_loss_alone": inf_loss_alone, "nan_gradient_alone": nan_gradient_alone}


def at(batches: set[int], fault):
    """The fault in these batches only."""
    return lambda index, loss: fault(loss) if index in batches else loss


def fit(settings, batches, fault=nan_loss, optimizer="adamw", run_dir=None, **options):
    """(module, callback, what moved) of one epoch of 16 batches with the fault in some of them."""
    module, around, callback = Small(optimizer, at(batches, fault)), Around(), GradientHealthCallback(settings, run_dir)
    trainer([around, callback], **options).fit(module, loader())
    return module, callback, around


def half_precision(**options) -> dict:
    """16-mixed on the CPU, which Lightning itself would turn into bf16-mixed."""
    return {"plugins": [MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=64.0, **options))]}


@pytest.mark.parametrize(
    ("bad", "optimizer", "fault"), some_of_all(2, [(0,), (7,), (0, 7, 8, 9, 15)], ["adamw", "lion", "sgd"], FAULTS)
)
def test_skipped_steps_move_nothing(fault, optimizer, bad):
    _, callback, around = fit(HealthSettings(), bad, FAULTS[fault], optimizer)
    assert [step for step, moved in enumerate(around.moved) if not moved] == sorted(bad)
    assert around.finite
    assert callback.counts == {
        "attempted": 16,
        "applied": 16 - len(bad),
        "skipped": len(bad),
        "clipped": 0,
        "scaler_skips": 0,
    }


def in_precision(precision: str) -> dict:
    """Options of the Trainer."""
    return half_precision() if precision == "16-mixed" else {"precision": precision}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("optimizer", ["adamw", pytest.param("lion", marks=pytest.mark.slow), "fused"])
@pytest.mark.parametrize("fault", ["nan", pytest.param("inf", marks=pytest.mark.slow), "inf_loss_alone"])
def test_skipped_steps_move_nothing_in_any_precision(precision, optimizer, fault):
    _, callback, around = fit(HealthSettings(), {0, 5, 6}, FAULTS[fault], optimizer, **in_precision(precision))
    assert [step for step, moved in enumerate(around.moved) if not moved] == [0, 5, 6]
    assert (callback.counts["skipped"], callback.counts["scaler_skips"]) == (3, 0)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("optimizer", ["adamw", "lion"])
@pytest.mark.parametrize(
    ("bad", "window"),
    [(0, 0), (7, 1), (14, 2), (15, 3)],
    ids=["first", "middle", "last of a window", "incomplete window"],
)
def test_one_bad_slice_moves_nothing(precision, optimizer, bad, window):
    _, callback, around = fit(
        HealthSettings(), {bad}, optimizer=optimizer, accumulate_grad_batches=5, **in_precision(precision)
    )
    assert around.moved == [step != window for step in range(4)], "windows of 5, 5, 5 and 1 batches"
    assert callback.counts["skipped"] == 1


@pytest.mark.parametrize("fault", FAULTS)
def test_one_bad_slice_drops_its_whole_window(fault):
    _, callback, around = fit(HealthSettings(), {6}, FAULTS[fault], accumulate_grad_batches=4)
    assert around.moved == [True, False, True, True]
    assert callback.counts["skipped"] == 1


def test_learning_rate_and_training_continue_as_if_the_batch_had_not_been():
    module, _, around = fit(HealthSettings(), {3})
    assert around.rates == pytest.approx([0.05 * 0.9**step for step in (0, 1, 2, 3, *range(3, 15))])
    samples = [batch for index, batch in enumerate(loader()) if index != 3]
    twin = Small()
    trainer([]).fit(twin, DataLoader(samples, batch_size=None))
    assert same(dict(module.named_parameters()), dict(twin.named_parameters()))


def test_a_bad_step_is_a_row_even_when_none_is_due():
    module, _, _ = fit(HealthSettings(every_n_steps=100), {4})
    first, row, last = module.rows
    assert (first["step"], last["step"]) == (1, 16)
    assert (row["step"], row["grad/skipped"], row["grad/has_nan"], row["grad/clipped"]) == (5, 1, 1, 0)


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
    """(halt.json, last good checkpoint, snapshot before the bad step) of a run that must halt."""
    module, around, callback = Small(optimizer, at(batches, fault)), Around(), GradientHealthCallback(settings, folder)
    with pytest.raises(TrainingHalted):
        trainer([around, callback], **options).fit(module, loader())
    kept = torch.load(folder / "checkpoints" / "last_good.ckpt", weights_only=True)
    return json.loads((folder / "halt.json").read_text()), kept, around.before


@pytest.mark.parametrize(
    ("precision", "optimizer", "fault", "bad"),
    some_of_all(2, PRECISIONS, ["adamw", "lion"], ["nan", "inf", "inf_loss_alone"], [0, 7]),
)
def test_halt_keeps_everything_as_it_was(tmp_path, precision, optimizer, fault, bad):
    told, kept, before = halted(
        HealthSettings(on_nonfinite="halt"), {bad}, tmp_path, FAULTS[fault], optimizer, **in_precision(precision)
    )
    assert same(dict(kept["state_dict"]), before["parameters"])
    assert same(kept["optimizer_states"][0], before["optimizer"]), "moments, and learning rates of all groups"
    assert (told["step"], told["indices"]) == (bad + 1, list(range(bad * ROWS, (bad + 1) * ROWS)))
    assert ("tower.0.weight" in told["layers"]) == (fault != "inf_loss_alone")


@pytest.mark.parametrize(
    ("precision", "optimizer", "fault", "first"), some_of_all(2, PRECISIONS, ["adamw", "lion"], ["nan", "inf"], [0, 6])
)
def test_many_in_a_row_halt_with_the_weights_before_them(tmp_path, precision, optimizer, fault, first):
    settings, bad = HealthSettings(max_skips=3), set(range(first, 16))
    told, kept, _ = halted(settings, bad, tmp_path, FAULTS[fault], optimizer, **in_precision(precision))
    assert (told["step"], told["indices"]) == (first + 4, list(range((first + 3) * ROWS, (first + 4) * ROWS)))
    good = Small(optimizer)
    if first:
        trainer([], max_steps=first, **in_precision(precision)).fit(good, loader())
        assert same(kept["optimizer_states"][0]["state"], good.trainer.optimizers[0].state_dict()["state"])
        assert kept["optimizer_states"][0]["param_groups"][0]["lr"] == good.trainer.optimizers[0].param_groups[0]["lr"]
    assert same(dict(kept["state_dict"]), {name: p.detach() for name, p in good.named_parameters()})


def test_a_bad_gradient_that_no_lower_scale_mends_uses_up_the_skips(tmp_path):
    settings = HealthSettings(max_skips=2, every_n_steps=1)
    module, callback = (
        Small(fault=at(set(range(2, 16)), nan_gradient_alone)),
        GradientHealthCallback(settings, tmp_path),
    )
    with pytest.raises(TrainingHalted, match="step 11: the gradient is not finite, 2 steps were skipped"):
        trainer([callback], **half_precision()).fit(module, loader())
    assert callback.counts == {"attempted": 10, "applied": 2, "skipped": 2, "clipped": 0, "scaler_skips": 6}, (
        "64 is halved six times to 1"
    )


@pytest.mark.parametrize("precision", PRECISIONS)
def test_halt_names_the_batch_and_keeps_the_last_good_weights(tmp_path, precision):
    told, kept, _ = halted(HealthSettings(on_nonfinite="halt"), {5}, tmp_path, **in_precision(precision))
    assert told["step"] == 6
    assert told["indices"] == list(range(5 * ROWS, 6 * ROWS))
    assert "tower.0.weight" in told["layers"]
    good = Small()
    trainer([], max_steps=5, **in_precision(precision)).fit(good, loader())
    assert same(dict(kept["state_dict"]), {name: p.detach() for name, p in good.named_parameters()})
    assert same(kept["optimizer_states"][0]["state"], good.trainer.optimizers[0].state_dict()["state"])


def test_halt_names_only_the_bad_slice_of_a_window(tmp_path):
    with pytest.raises(TrainingHalted):
        fit(HealthSettings(on_nonfinite="halt"), {6}, run_dir=tmp_path, accumulate_grad_batches=4)
    told = json.loads((tmp_path / "halt.json").read_text())
    assert (told["step"], told["indices"]) == (2, list(range(6 * ROWS, 7 * ROWS)))


def test_warn_steps_on():
    _, callback, around = fit(HealthSettings(on_nonfinite="warn", every_n_steps=1), {15})
    assert around.moved[15]
    assert not around.finite
    assert callback.counts["skipped"] == 0


@pytest.mark.parametrize("policy", ["skip", "halt", "warn"])
def test_the_scaler_backs_off_from_its_own_overflow(policy, caplog):
    module, around = Small(), Around()
    callback = GradientHealthCallback(HealthSettings(on_nonfinite=policy, max_skips=0, every_n_steps=1), None)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**126, backoff_factor=2.0**-58)
    trainer([around, callback], plugins=[MixedPrecision("16-mixed", "cpu", scaler)]).fit(module, loader())
    assert around.moved[:3] == [False, False, True]
    assert scaler.get_scale() == 2.0**10
    assert callback.counts == {"attempted": 16, "applied": 14, "skipped": 0, "clipped": 0, "scaler_skips": 2}
    assert around.rates[:4] == pytest.approx([0.05, 0.05, 0.05, 0.045])
    assert [row["grad/scaler_skips"] for row in module.rows][:3] == [1, 2, 2]
    assert "detected in gradients" not in caplog.text, "no cause for advice"


@pytest.mark.parametrize("optimizer", ["adamw", "fused"])
def test_recorded_norms_are_unscaled(optimizer):
    module, callback = Small(optimizer), GradientHealthCallback(HealthSettings(every_n_steps=16), None)
    trainer([callback], max_steps=16, **half_precision(growth_interval=4)).fit(module, loader())
    plain, again = Small(optimizer), GradientHealthCallback(HealthSettings(every_n_steps=16), None)
    trainer([again], max_steps=16).fit(plain, loader())
    assert module.rows[-1]["grad/global_norm"] == pytest.approx(plain.rows[-1]["grad/global_norm"], rel=0.05)


def test_a_growing_scale_is_no_spike_of_the_loss(caplog):
    plugin = half_precision(growth_interval=55, growth_factor=100.0)
    trainer([GradientHealthCallback(HealthSettings(), None)], **plugin).fit(Small(), loader(60 * ROWS))
    assert plugin["plugins"][0].scaler.get_scale() == 6_400
    assert "Loss spike" not in caplog.text


def test_counts_survive_a_checkpoint(tmp_path):
    _, callback, _ = fit(HealthSettings(max_skips=5), {13, 14, 15})
    torch.save(callback.state_dict(), tmp_path / "state")
    resumed = GradientHealthCallback(HealthSettings(max_skips=5), None)
    resumed.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    assert resumed.counts == callback.counts
    with pytest.raises(TrainingHalted, match="5 steps were skipped"):
        trainer([resumed]).fit(Small(fault=at({0, 1, 2}, nan_loss)), loader())
