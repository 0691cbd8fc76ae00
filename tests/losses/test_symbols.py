"""A formula called with symbols has the value that it has with tensors, or is refused."""

from __future__ import annotations

import pytest
import torch

from model.losses import make_loss
from model.losses.formulas.gram import GramScore
from model.losses.numerics import safe_sqrt
from model.losses.registry import FORMULAS, Formula
from model.losses.symbols import input_symbol
from tests.losses.test_backend import draw, step

REFUSED = {
    "a power of 0.5": lambda x: x**0.5,
    "a power of 0": lambda x: x**0,
    "a power of -1": lambda x: x**-1,
    ".square": lambda x: x.square(),
    "torch.exp": lambda x: torch.exp(x),
    "a Tensor as a constant": lambda x: torch.ones(2) * x,
}


@pytest.mark.parametrize("operation", REFUSED)
def test_an_operation_without_compiled_code_is_refused(operation):
    with pytest.raises(TypeError) as error:
        REFUSED[operation](input_symbol("x"))
    assert str(error.value).startswith(f"a formula uses {operation}, which cannot be compiled; accepted: +, -, *")


def test_every_accepted_operation_has_the_value_of_torch(compiler, monkeypatch):
    def mixture(s):
        near = abs(s.spread - 0.3) + s.spread.clamp(min=0.1).clamp(max=2) - safe_sqrt(s.spread)
        return -(1 / (s.sum_square + 1)) + near + s.sum_square**3 / s.features

    monkeypatch.setitem(FORMULAS, "mixture", Formula("mixture", "gram", lambda eps: GramScore(mixture, eps)))
    compiled, eager = (step(make_loss("mixture", backend=backend), draw(64)) for backend in ("compiled", "eager"))
    torch.testing.assert_close(compiled, eager, rtol=1e-5, atol=1e-7)
