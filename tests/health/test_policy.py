"""The decision about a step, case by case, and the settings that it depends on."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
import yaml

from model.errors import ConfigError
from model.health import HealthSettings
from model.health.clipping import clip_coefficient
from model.health.policy import Action, Counts, decide

KEYS = Path(__file__).resolve().parents[2] / "conf" / "monitor" / "_keys.yaml"
SKIP = HealthSettings(on_nonfinite="skip", max_skips=2)
HALT = HealthSettings(on_nonfinite="halt")
WARN = HealthSettings(on_nonfinite="warn")


@pytest.mark.parametrize(
    ("clips", "loss", "gradient", "loss_scale", "in_a_row", "settings", "expected"),
    [
        (False, True, True, None, 0, SKIP, Action.STEP),
        (True, True, True, None, 0, SKIP, Action.CLIP),
        (False, True, True, None, 0, WARN, Action.STEP),
        (True, True, True, 1024.0, 0, HALT, Action.CLIP),
        (False, False, False, None, 0, SKIP, Action.SKIP),
        (True, True, False, None, 1, SKIP, Action.SKIP),
        (False, False, True, None, 1, SKIP, Action.SKIP),
        (False, False, False, None, 2, SKIP, Action.HALT),
        (False, False, False, None, 0, HALT, Action.HALT),
        (False, False, False, None, 9, WARN, Action.STEP),
        (True, True, False, 1024.0, 2, SKIP, Action.BACK_OFF),
        (True, True, False, 1024.0, 0, HALT, Action.BACK_OFF),
        (True, True, False, 1.0, 0, SKIP, Action.SKIP),
        (False, False, False, 1024.0, 0, SKIP, Action.SKIP),
        (False, False, False, 1024.0, 0, WARN, Action.BACK_OFF),
    ],
)
def test_decision(clips, loss, gradient, loss_scale, in_a_row, settings, expected):
    assert decide(clips, loss, gradient, loss_scale, in_a_row, settings) is expected


@pytest.mark.parametrize(
    ("norm", "clip", "clip_above", "expected"),
    [
        (0.9, 1.0, None, 1.0),
        (2.0, 1.0, None, 1 / (2 + 1e-6)),
        (1.0, 1.0, None, 1 / (1 + 1e-6)),
        (4.9, 1.0, 5.0, 1.0),
        (5.1, 1.0, 5.0, 1 / (5.1 + 1e-6)),
        (1e30, None, None, 1.0),
        (0.0, 1.0, None, 1.0),
    ],
)
def test_clip_coefficient(norm, clip, clip_above, expected):
    assert float(clip_coefficient(torch.tensor(norm, dtype=torch.float64), clip, clip_above)) == pytest.approx(
        expected, rel=1e-12
    )


def test_only_an_applied_step_ends_a_row_of_skips():
    counts = Counts()
    for action in (Action.SKIP, Action.BACK_OFF, Action.SKIP):
        counts.add(action)
    assert (counts.in_a_row, counts.attempted, counts.applied) == (2, 3, 0)
    counts.add(Action.CLIP)
    assert (counts.in_a_row, counts.clipped, counts.applied) == (0, 1, 1)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"clip": -1.0}, r"monitor.clip=-1.0 is not positive; allowed: null or a number above 0"),
        ({"clip": math.nan}, r"monitor.clip=nan is not positive"),
        ({"clip_above": 2.0}, r"monitor.clip_above=2.0 needs monitor.clip; allowed: null"),
        ({"clip": 2.0, "clip_above": 1.0}, r"monitor.clip_above=1.0 is below monitor.clip; allowed: null or 2.0"),
        ({"every_n_steps": 0}, r"monitor.every_n_steps=0 is too small; allowed: 1 or more"),
        ({"vanishing": -1e-7}, r"monitor.vanishing=-1e-07 is too small"),
        ({"exploding": 1e-9}, r"monitor.exploding=1e-09 is not above monitor.vanishing"),
        ({"on_nonfinite": "stop"}, r"monitor.on_nonfinite=stop is not known; allowed: warn, skip, halt"),
        ({"max_skips": -1}, r"monitor.max_skips=-1 is too small"),
    ],
)
def test_settings_out_of_range_are_refused(keys, message):
    with pytest.raises(ConfigError, match=message):
        HealthSettings(**keys)


def test_the_defaults_are_those_of_the_configuration():
    defaults = yaml.safe_load(KEYS.read_text(encoding="utf-8"))
    assert asdict(HealthSettings()) == {key: defaults[key] for key in defaults.keys() - {"defaults", "enabled"}}
