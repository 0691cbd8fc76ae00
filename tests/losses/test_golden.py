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
KNOWN = [(name, n) for n in range(2, 7) for name in available() if name in LOGITS[n] or f"{name}_image" in LOGITS[n]]


def views(n):
    return torch.from_numpy(LOGITS[n]["views"])


def test_there_are_all_the_cases():
    assert len(RECORD["cases"]) == 584
    assert len(KNOWN) == 5 * 18 + 2


@pytest.mark.parametrize(("name", "n"), KNOWN)
def test_logits(name, n):
    keys = [key for key in (name, f"{name}_image", f"{name}_text") if key in LOGITS[n]]
    score = make_loss(name).score(views(n))
    for key, logits in zip(keys, score if isinstance(score, tuple) else [score], strict=True):
        torch.testing.assert_close(logits, torch.from_numpy(LOGITS[n][key]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("evaluation", ["lines", "dense"])
@pytest.mark.parametrize("name", sorted({case["loss"] for case in RECORD["cases"]}))
def test_training_loss(name, evaluation):
    for case in RECORD["cases"]:
        if case["loss"] != name:
            continue
        x = views(case["views"]).requires_grad_()
        # The mask raw has its own mean, in the original too.
        reduction = "mean" if case["mask"] == "raw" else "sum"
        options = {"mask": case["mask"], "axes": case["axes"], "reduction": reduction, "evaluation": evaluation}
        loss = make_loss(name, **options, views=case["views"], batch_size=x.shape[1])
        if case["mask"] == "learned":
            loss.alpha.data = torch.tensor(case["alpha"], dtype=torch.float64)
        value = loss(x, SCALE)
        value.backward()
        norms = x.grad.flatten(1).norm(dim=1).tolist()
        assert value.item() == pytest.approx(case["value"], rel=1e-5, abs=1e-9), case
        assert norms == pytest.approx(case["grad_norm_per_view"], rel=1e-5, abs=1e-9), case
