"""Half precision: the gradient scaler handles its own overflows, and the monitor handles all other bad steps."""

from __future__ import annotations

import pytest
import torch
from pytorch_lightning.plugins import MixedPrecision

from model.health import HealthSettings, TrainingHalted
from model.health.callback import GradientHealthCallback
from tests.health.faults import half_precision, in_batches, nan_gradient_alone
from tests.health.modules import ROWS, Small, loader, trainer
from tests.health.snapshots import ChangeRecorder

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


def test_a_bad_gradient_that_no_lower_scale_repairs_counts_as_a_skip(tmp_path):
    settings = HealthSettings(max_skips=2, every_n_steps=1)
    module, callback = (
        Small(fault=in_batches(set(range(2, 16)), nan_gradient_alone)),
        GradientHealthCallback(settings, tmp_path),
    )
    with pytest.raises(TrainingHalted, match="step 11: the gradient is not finite, 2 steps were skipped"):
        trainer([callback], **half_precision()).fit(module, loader())
    assert callback.counts == {"attempted": 10, "applied": 2, "skipped": 2, "clipped": 0, "scaler_skips": 6}, (
        "64 is halved six times to 1"
    )


@pytest.mark.parametrize("policy", ["skip", "halt", "warn"])
def test_the_scaler_backs_off_from_its_own_overflow(policy, caplog):
    module, recorder = Small(), ChangeRecorder()
    callback = GradientHealthCallback(HealthSettings(on_nonfinite=policy, max_skips=0, every_n_steps=1), None)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**126, backoff_factor=2.0**-58)
    trainer([recorder, callback], plugins=[MixedPrecision("16-mixed", "cpu", scaler)]).fit(module, loader())
    assert recorder.changed[:3] == [False, False, True]
    assert scaler.get_scale() == 2.0**10
    assert callback.counts == {"attempted": 16, "applied": 14, "skipped": 0, "clipped": 0, "scaler_skips": 2}
    assert recorder.rates[:4] == pytest.approx([0.05, 0.05, 0.05, 0.045])
    assert [row["grad/scaler_skips"] for row in module.rows][:3] == [1, 2, 2]
    assert "detected in gradients" not in caplog.text, "there is no advice"


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
