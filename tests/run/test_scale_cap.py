"""`loss.scale_cap` bounds the multiplier of the logits: at the start, after every step, and with
`loss.scale_init=auto`.
"""

from __future__ import annotations

import csv
import math

import pytest
import torch

from model.build import build_parts
from model.checkpoint.files import checkpoint_path
from model.errors import ConfigError
from model.health.signals import scale_advice
from model.module import NWayClip
from model.run import run

FAST = ("model=clip", "analysis=off", "optimizer.lr=0.5", "schedule=constant", "optimizer.weight_decay=0")


def multipliers(folder) -> list[float]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [float(row["train/logit_scale"]) for row in csv.DictReader(file) if row["train/logit_scale"]]


def module_of(config, folder):
    return build_parts(config, folder, None).module


@pytest.mark.parametrize(("cap", "first"), [("null", 1 / 0.07), ("10", 10.0), ("14", 14.0), ("30", 1 / 0.07)])
def test_the_multiplier_starts_under_the_cap(small, tmp_path, cap, first):
    assert module_of(small(f"loss.scale_cap={cap}"), tmp_path).multiplier().item() == pytest.approx(first)


@pytest.mark.parametrize(("cap", "reached"), [("2", 2.0), ("20", 20.0), ("null", 100.0)])
def test_training_never_goes_above_the_cap(small, tmp_path, monkeypatch, cap, reached):
    """The loss falls only as the multiplier grows; a step changes the logarithm of the multiplier by up to 0.5."""
    step = NWayClip.training_step
    monkeypatch.setattr(NWayClip, "training_step", lambda self, *batch: 0 * step(self, *batch) - self.logit_scale)
    run(small("loss=stock", *FAST, "trainer.max_epochs=4", f"loss.scale_cap={cap}"), tmp_path)
    assert max(multipliers(tmp_path)) == pytest.approx(reached)


@pytest.mark.slow
def test_auto_stays_below_the_cap_as_well(small, tmp_path):
    """Products of six views have to be multiplied by far more than 2 before they differ by 1."""
    for cap in ("null", "2"):
        run(
            small(
                "loss=einsum", "loss.scale_init=auto", f"loss.scale_cap={cap}", "analysis=off", "trainer.max_epochs=1"
            ),
            tmp_path / cap,
        )
    assert min(multipliers(tmp_path / "null")) > 100
    assert max(multipliers(tmp_path / "2")) <= 2 * (1 + 1e-5)


def test_a_checkpoint_holds_the_cap_that_the_run_chose(small, tmp_path):
    """An evaluation and a resumed run read it from there, whatever the configuration says."""
    run(small("loss=einsum", "loss.scale_init=auto", "analysis=off", "trainer.max_epochs=1"), tmp_path)
    state = torch.load(checkpoint_path(tmp_path, "last"), weights_only=True)["state_dict"]
    assert state["scale_cap"].item() > 100
    assert state["logit_scale"].exp().item() == pytest.approx(multipliers(tmp_path)[-1], rel=1e-5)


def test_a_cap_that_the_user_has_set_gives_no_advice(small, tmp_path):
    """Advice is given only on a cap that the user has not set."""
    chosen, own = (module_of(small("loss=stock", f"loss.scale_cap={cap}"), tmp_path) for cap in ("10", "null"))
    own.logit_scale.data.fill_(math.log(100))
    assert [scale_advice(chosen), [advice.kind for advice in scale_advice(own)]] == [[], ["scale_cap"]]


@pytest.mark.parametrize("cap", ["0", "-1", "nan", "inf"])
def test_other_caps_are_refused(composed, cap):
    with pytest.raises(ConfigError, match=r"loss\.scale_cap=.*allowed: (null or a number above 0|a finite number)"):
        composed(f"loss.scale_cap={cap}")
