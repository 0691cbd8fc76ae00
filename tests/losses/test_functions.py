"""A user's function instead of the name of a loss: a right one trains, and a wrong one is refused before native code
reads its result.
"""

from __future__ import annotations

import gc
import weakref
from functools import reduce
from operator import add
from pathlib import Path

import pytest
import torch

from model.losses import make_loss
from model.losses.evaluation.evaluator import LineEvaluator
from model.losses.evaluation.scratch import Scratch
from model.losses.formulas.elementwise import FeatureScore
from model.losses.formulas.feature_sums import CrossedSum, Operands
from model.losses.objective.loss import TupleLoss
from model.losses.objective.masks import Mask
from model.losses.objective.reduction import mean_of_axes
from model.losses.score import others
from tests.forked import ended, start

ROOT = Path(__file__).resolve().parents[2]
# Name -> a function of three views (B_k, F), and words of the message that refuses it.
EINSUM = 'torch.einsum("az,bz,cz->abc", *v)'
WRONG = {
    "scalar": ("lambda v: v[0].sum()", "shape ()"),
    "two_axes": ('lambda v: torch.einsum("az,bz->ab", *v[:2])', "shape (1, 1)"),
    "matched_only": ("lambda v: (v[0] * v[1] * v[2]).sum(-1)", "shape (1,)"),
    "flat": (f"lambda v: {EINSUM}.flatten()", "shape (1,)"),
    "axis_too_many": (f"lambda v: {EINSUM}.unsqueeze(-1)", "shape (1, 1, 1, 1)"),
    "features_left": ("lambda v: v[0][:, None, None] * v[1][:, None] * v[2]", "shape (1, 1, 1, 32)"),
    "axes_swapped": (f"lambda v: {EINSUM}.permute(2, 0, 1)", "shape ("),
    "fixed_size": ("lambda v: torch.zeros(1, 1, 1, dtype=v[0].dtype)", "shape (1, 1, 1)"),
    "none": ("lambda v: None", "NoneType returned"),
    "numbers": (f"lambda v: {EINSUM}.tolist()", "list returned"),
    "tuple": (f"lambda v: ({EINSUM},)", "tuple returned"),
    "integers": (f"lambda v: {EINSUM}.long()", "dtype torch.int64"),
    "truth": (f"lambda v: {EINSUM} > 0", "dtype torch.bool"),
    "complex": (f"lambda v: {EINSUM}.to(torch.complex128)", "dtype torch.complex128"),
    "elsewhere": (f'lambda v: {EINSUM}.to("meta")', "scores on meta"),
    "in_place": (f"lambda v: ([x.mul_(0.5) for x in v], {EINSUM})[1]", "in place"),
    "of_the_batch": (f"lambda v: {EINSUM} - {EINSUM}.mean()", "beside different rows"),
    "random": (f"lambda v: {EINSUM} + torch.rand(())", "beside different rows"),
}
RIGHT = {
    "einsum": f"lambda v: {EINSUM}",
    "float32": 'lambda v: torch.einsum("az,bz,cz->abc", *(x.float() for x in v))',
    "half": f"lambda v: {EINSUM}.half()",
    "without_the_third": 'lambda v: torch.einsum("az,bz->ab", *v[:2]).unsqueeze(-1).expand(-1, -1, len(v[2]))',
    "constant": "lambda v: torch.ones([len(x) for x in v], dtype=v[0].dtype)",
    "strided": 'lambda v: torch.einsum("az,bz,cz->cba", *v).permute(2, 1, 0)',
    "many_numbers": f"lambda v: {EINSUM}.exp().log1p()",
}
PROGRAM = """
import torch
from model.losses import make_loss
from model.errors import ConfigError
from tests.forked import ended, start
function = {function}
views = [torch.randn({rows}, 32, generator=torch.Generator().manual_seed(k), requires_grad=True) for k in range(3)]
loss = make_loss(function, evaluation="{evaluation}")
try:
    value = loss(views, torch.tensor(5.0))
    value.backward()
except ValueError as error:
    print(error)
    raise SystemExit(2)
want = [x.detach().double().requires_grad_() for x in views]
v = [torch.nn.functional.normalize(x, dim=1) for x in want]
scores = 5.0 * function(v).double()
lines = [[scores[tuple(slice(None) if k == d else i for k in range(3))] for i in range({rows})] for d in range(3)]
logits = [torch.stack(line) for line in lines]
oracle = sum(torch.nn.functional.cross_entropy(x, torch.arange({rows})) for x in logits) / 3
assert abs(value.item() - oracle.item()) < 1e-3, (value, oracle)
if oracle.requires_grad:
    grads = torch.autograd.grad(oracle, want, allow_unused=True)
else:
    grads = [None] * 3
for x, grad in zip(views, grads):
    grad = torch.zeros(x.shape) if grad is None else grad
    assert (x.grad - grad).abs().max() < 1e-3 * max(1e-3, grad.abs().max()), (x.grad, grad)
"""


@pytest.fixture
def call(tmp_path):
    """`call(function, rows)` -> exit code and output of a step of a loss made of a function, in a process of its
    own.
    """

    def step(function: str, rows: int, evaluation: str = "auto") -> tuple[int, str]:
        program = PROGRAM.format(function=function, rows=rows, evaluation=evaluation)
        code = ended(start(lambda: exec(program, {}), tmp_path / "output"))
        return code, (tmp_path / "output").read_text()

    return step


def cases(table) -> list:
    """Every case at 64 rows, where compiled code runs, and at 8, where it does not; three run by default."""
    chosen = [(name, rows) for rows in (64, 8) for name in table]
    return [pytest.param(*case, marks=[pytest.mark.slow] if k >= 3 else []) for k, case in enumerate(chosen)]


@pytest.mark.parametrize(("name", "rows"), cases(WRONG))
def test_a_wrong_function_is_refused(call, name, rows):
    function, words = WRONG[name]
    code, output = call(function, rows)
    assert code == 2, output
    assert words in output
    assert "accepted: " in output
    assert len(output.strip().splitlines()) == 1


@pytest.mark.parametrize(("name", "rows"), cases(RIGHT))
def test_a_right_function_trains(call, name, rows):
    code, output = call(RIGHT[name], rows)
    assert code == 0, output


@pytest.mark.slow
@pytest.mark.parametrize("name", RIGHT)
def test_a_right_function_trains_over_all_tuples(call, name):
    code, output = call(RIGHT[name], 8, "dense")
    assert code == 0, output


def test_kernels_do_not_keep_a_deleted_loss(compiler):
    loss = make_loss("symile", views=3)
    views = torch.randn(3, 64, 16, requires_grad=True)
    loss(views, torch.tensor(3.0)).backward()
    reference = weakref.ref(loss)
    del loss
    gc.collect()
    assert reference() is None


def sum_of_both(u, y):
    """|u + y|."""
    return (u + y).abs()


@pytest.mark.parametrize("rows", [8, 64])
@pytest.mark.parametrize("normalised", [True, False])
def test_an_integrand_of_a_bare_sum_of_views(rows, normalised):
    """sum_z |S| / n: torch gives all views of a plain sum the same memory for their gradients."""
    total = CrossedSum(
        lambda views: reduce(add, views).abs(),
        lambda views, d: Operands(sum_of_both, (reduce(add, others(views, d)),), (views[d],)),
    )
    evaluator = LineEvaluator(
        FeatureScore(lambda s: s.sums[total] / s.n, [total]), normalised, 1e-8, Scratch(200 << 20)
    )
    loss = TupleLoss(evaluator, axes=mean_of_axes, mask=Mask(), name="taxicab", mean=True)
    views = [torch.randn(rows, 24, generator=torch.Generator().manual_seed(k), requires_grad=True) for k in range(4)]
    loss(views, torch.tensor(3.0)).backward()
    wide = [view.detach().double().requires_grad_() for view in views]
    x = [torch.nn.functional.normalize(view, dim=1) if normalised else view for view in wide]
    rest = [reduce(add, others(x, d)) for d in range(4)]
    logits = [3 * (rest[d].unsqueeze(1) + x[d]).abs().sum(-1) / 4 for d in range(4)]
    oracle = sum(torch.nn.functional.cross_entropy(line, torch.arange(rows)) for line in logits) / 4
    for view, grad in zip(views, torch.autograd.grad(oracle, wide), strict=True):
        torch.testing.assert_close(view.grad.double(), grad, rtol=1e-5, atol=1e-5 * grad.abs().max().item())
