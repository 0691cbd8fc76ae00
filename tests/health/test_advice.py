"""Which advice each signal gives, and how often."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from model.health.advice import TABLE, AdviceFilter, recommend
from model.health.examine import GradientReport
from model.health.limits import HealthSettings
from model.health.signals import WARM_UP, SpikeDetector, activation_advice, scale_advice, step_advice

CONF = Path(__file__).resolve().parents[2] / "conf"


class Scaled(nn.Module):
    """A module with a weight, a logit scale and its cap."""

    def __init__(self, multiplier: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.logit_scale = nn.Parameter(torch.tensor(multiplier).log())
        self.register_buffer("scale_cap", torch.tensor(100.0))


def kinds(norms: dict[str, float], settings: HealthSettings, nan=(), inf=(), multiplier=1.0) -> list[str]:
    """The kinds of advice on gradients with these norms."""
    report = GradientReport(norms, math.sqrt(sum(norm * norm for norm in norms.values())), nan, inf)
    return [advice.kind for advice in step_advice(Scaled(multiplier), report, norms, settings)]


@pytest.mark.parametrize(
    ("norms", "more", "expected"),
    [
        ({"weight": 1.0, "logit_scale": 1.0}, {}, []),
        ({"weight": 1.0, "logit_scale": 101.0}, {}, ["exploding"]),
        ({"weight": 1e-8, "logit_scale": 1.0}, {}, ["vanishing"]),
        ({"weight": 1.0}, {}, ["dead"]),
        ({"weight": math.nan, "logit_scale": math.nan}, {"nan": ("weight", "logit_scale")}, ["nan"]),
        ({"weight": math.inf, "logit_scale": 1.0}, {"inf": ("weight",)}, ["inf"]),
        ({"weight": 1.0, "logit_scale": 1.0}, {"multiplier": 99.99}, ["scale_cap"]),
        ({"weight": 1.0, "logit_scale": 1.0}, {"multiplier": 90.0}, []),
    ],
)
def test_signals(norms, more, expected):
    assert kinds(norms, HealthSettings(), **more) == expected


def test_an_applied_bad_step_gives_advice():
    assert kinds(
        {"weight": 1.0, "logit_scale": math.nan}, HealthSettings(on_nonfinite="warn"), nan=("logit_scale",)
    ) == ["nan", "unprotected"]


def test_a_module_without_a_cap_gets_no_advice_on_it():
    assert scale_advice(nn.Linear(2, 2)) == []


def test_the_worst_layer_of_each_kind_is_named():
    statistics = {
        "a": {"saturated": 0.6, "dead": 0.0},
        "b": {"saturated": 0.9, "dead": 0.4},
        "c": {"saturated": 0.0, "dead": 0.7},
    }
    saturated, dead = activation_advice(statistics)
    assert (saturated.kind, dead.kind) == ("saturated", "dead_units")
    assert "90% of the outputs of b" in saturated
    assert "70% of the units of c" in dead


def test_each_kind_passes_once_in_a_span():
    advice_filter, advice = AdviceFilter(span=100), [recommend("scale_cap", cap=100.0)]
    passed = [step for step in range(0, 301, 10) if advice_filter.select(advice, step)]
    assert passed == [0, 100, 200, 300]
    assert advice_filter.select([recommend("exploding", norm=1.0), *advice], 310) == [
        "⚠️ " + TABLE["exploding"].finding.format(norm=1.0) + remedies()
    ]


def remedies() -> str:
    """The second line of the advice on exploding gradients."""
    return "\n   Consider: " + ", ".join(
        f"({n}) {remedy}" for n, remedy in enumerate(TABLE["exploding"].remedies, start=1)
    )


def test_a_loss_far_above_the_losses_before_it_is_a_spike():
    generator = torch.Generator().manual_seed(0)
    losses = (4 * 0.99 ** torch.arange(300) + 0.1 * torch.randn(300, generator=generator)).tolist()
    detector = SpikeDetector()
    assert not any(detector.add(loss) for loss in losses)
    assert detector.add(5 * detector.mean + 1)
    assert not detector.add(math.nan)
    assert not any(SpikeDetector().add(10.0**step) for step in range(WARM_UP))


def test_a_spike_exceeds_the_running_mean_by_half():
    """After equal losses the deviation is 0, so that only the share of the mean decides."""
    for loss, spike in ((2.9, False), (3.1, True)):
        detector = SpikeDetector()
        assert not any(detector.add(2.0) for _ in range(WARM_UP))
        assert detector.add(loss) == spike


def test_every_setting_that_advice_names_exists():
    keys = {
        f"{path.parent.name}.{key}" for path in CONF.glob("*/*.yaml") for key in yaml.safe_load(path.read_text()) or {}
    }
    setting = re.compile(r"\b(?:monitor|optimizer|trainer|loss|backbone|data|schedule)\.\w+")
    settings = {key for advice in TABLE.values() for remedy in advice.remedies for key in setting.findall(remedy)}
    assert settings
    assert settings <= keys, settings - keys
