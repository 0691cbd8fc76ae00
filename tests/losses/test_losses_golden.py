"""The figures of the original code (see tests/golden/README.md)."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from model.losses import available, make_loss

GOLDEN = Path(__file__).parents[1] / "golden"
RECORD = json.loads((GOLDEN / "training_loss.json").read_text())
SCALE = torch.tensor(RECORD["logit_scale"], dtype=torch.float64)
LOGITS = {n: dict(np.load(GOLDEN / f"logits_n{n}.npz")) for n in range(2, 7)}
CASES = [case for case in RECORD["cases"] if case["loss"] in available() and case["mask"] == "none"]


def views(n):
    return torch.from_numpy(LOGITS[n]["views"])


@pytest.mark.parametrize("n", range(2, 7))
@pytest.mark.parametrize("name", available())
def test_logits(name, n):
    known = [key for key in (name, f"{name}_image", f"{name}_text") if key in LOGITS[n]]
    score = make_loss(name).score(views(n))
    for key, logits in zip(known, score if isinstance(score, tuple) else [score], strict=True):
        torch.testing.assert_close(logits, torch.from_numpy(LOGITS[n][key]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("evaluation", ["lines", "dense"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['loss']}-{case['views']}-{case['mask']}-{case['axes']}")
def test_training_loss(case, evaluation):
    x = views(case["views"]).requires_grad_()
    value = make_loss(case["loss"], axes=case["axes"], reduction="sum", evaluation=evaluation)(x, SCALE)
    value.backward()
    norms = x.grad.flatten(1).norm(dim=1).tolist()
    assert value.item() == pytest.approx(case["value"], rel=1e-5, abs=1e-9)
    assert norms == pytest.approx(case["grad_norm_per_view"], rel=1e-5, abs=1e-9)
