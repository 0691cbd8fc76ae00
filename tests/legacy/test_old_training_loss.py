"""The old functions from logits to the training loss give the golden losses of the old trainers."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from model.losses.objective.masks import class_of_cells
from tests.legacy.test_old_losses import GOLDEN, MODULES, old

TRAINED = json.loads((GOLDEN / "training_loss.json").read_text(encoding="utf-8"))
VERSION_OF = {"einsum": 0, "loss2": 1, "loss5": 4, "norms": 7, "normsv5": 11, "loss8": 14}
MASKS = {"none": 0, "learned": 1, "extremes": 2, "raw": 4}

pytestmark = pytest.mark.filterwarnings("ignore:.*is an old name:DeprecationWarning")


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("module", MODULES)
def test_the_training_step_of_the_old_trainers(module, mask):
    """The trainers' loop over the axes: cross-entropy along dim 1 of the logits, whose axes are rotated by one each
    time.
    """
    cases = [
        case
        for case in TRAINED["cases"]
        if case["mask"] == mask and case["loss"] in VERSION_OF and 2 < case["views"] < 5
    ]
    assert len(cases) >= 12
    for case in cases:
        n = case["views"]
        with np.load(GOLDEN / f"logits_n{n}.npz") as golden:
            views = torch.from_numpy(golden["views"])
        logits = old(MODULES[1], "get_loss_fn")(VERSION_OF[case["loss"]], norm=True)(*views) * TRAINED["logit_scale"]
        size = len(logits)
        targets, classes = torch.zeros_like(logits), class_of_cells(n, size, logits.device)
        targets[(torch.arange(size),) * n] = 1
        axis_loss = old(module, "get_loss_calc")(reduction="sum", ver=MASKS[mask], mask=classes)
        turns = [[(axis + turn) % n for axis in range(n)] for turn in range(n)]
        losses = [
            axis_loss(logits.permute(*turn), targets.permute(*turn), torch.tensor(case["alpha"])) for turn in turns
        ]
        value = old(module, "get_loss_sum")(case["axes"] == "first")(losses[:1], losses[1:])
        assert float(value) == pytest.approx(case["value"], rel=1e-6, abs=1e-9), case


@pytest.mark.parametrize("module", MODULES)
def test_the_other_losses_of_an_axis(module):
    x = torch.tensor([[2.0, 4.0], [0.0, 3.0]], requires_grad=True)
    y = torch.eye(2)
    cells = [math.log1p(math.exp(-a * b)) for a, b in zip((0.0, 1.0, -1.0, 0.5), (1, -1, -1, 1), strict=True)]
    sigmoid = {
        reduction: old(module, "get_loss_calc")(reduction, ver=3)(x, y, None) for reduction in ("none", "mean", "sum")
    }
    assert sigmoid["sum"].item() == pytest.approx(sum(cells), rel=1e-6)
    assert sigmoid["mean"].item() == pytest.approx(sum(cells) / 4, rel=1e-6)
    assert sigmoid["none"].flatten().tolist() == pytest.approx(cells, rel=1e-6)
    unmasked = old(module, "get_loss_calc")()(x, torch.tensor([0, 1]), None)  # classes by number
    assert unmasked.item() == pytest.approx(math.log1p(math.exp(2)) + math.log1p(math.exp(-3)), rel=1e-6)
    constant = torch.zeros(2, 2, requires_grad=True)
    old(module, "get_loss_calc")(ver=3)(constant, y, None).backward()
    assert torch.equal(constant.grad, torch.zeros(2, 2))
    for arguments, message in (
        ({"ver": 1}, "mask=None is not enough for ver=1"),
        ({"reduction": "all"}, "reduction=all is not known"),
    ):
        with pytest.raises(ValueError, match=message):
            old(module, "get_loss_calc")(**arguments)
