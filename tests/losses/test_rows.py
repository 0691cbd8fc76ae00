"""The compiled row-wise part equals the formulas in float64, for every dtype and layout of the views. The batches are
large enough for compiled code.
"""

import pytest
import torch

from model.losses import make_loss
from tests import oracles
from tests.conftest import some_of_all

COMPILED = ["einsum", "loss6", "norms", "normsv5", "stable_norm", "stock", "normsvc", "pairwise", "pairwise_clip"]
needs_compiler = pytest.mark.usefixtures("compiler")


def draw(n, rows, features, dtype=torch.float32, seed=0):
    return torch.randn(n, rows, features, generator=torch.Generator().manual_seed(seed)).to(dtype)


def gradients(function, views, scale=1 / 0.07):
    """The loss and its gradients with respect to every view and to the scale, as float64."""
    views = [view.detach().clone().requires_grad_() for view in views]
    scale = torch.tensor(scale, dtype=torch.float64, requires_grad=True)
    loss = function(views, scale)
    loss.backward()
    return loss.detach().double(), torch.stack([view.grad for view in views]).double(), scale.grad


def error(got, want):
    return ((got - want).norm() / want.norm()).item()


def compare(name, views, tolerance, **options):
    views = views[:2] if name in oracles.TWO_VIEWS else views
    got = gradients(make_loss(name, **options), views)
    wide = [view.double() for view in views]
    want = gradients(lambda x, scale: oracles.line_loss(name, torch.stack(x), scale, **options), wide)
    assert max(error(a, b) for a, b in zip(got, want, strict=True)) < tolerance


@needs_compiler
@pytest.mark.parametrize(
    ("name", "n"), [*((name, 4) for name in COMPILED), ("einsum", 2), ("norms", 10), ("normsv5", 10)]
)
def test_float32_views_beside_float64(name, n):
    compare(name, draw(n, 67, 19), 1e-6)


@needs_compiler
# float32 products, in numbers that are no multiple of a vector
@pytest.mark.parametrize(("name", "rows"), some_of_all(2, COMPILED, [129, 150]))
def test_float32_products_beside_float64(name, rows):
    compare(name, draw(4, rows, 33), 1e-5)


@needs_compiler
@pytest.mark.parametrize("name", ["einsum", "norms", "normsv5"])
def test_rows_as_they_come(name):
    compare(name, list(0.5 * draw(3, 140, 21)), 2e-5, normalize=False)


@needs_compiler
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 4e-3), (torch.float16, 1e-3)])
@pytest.mark.parametrize("name", ["einsum", "norms", "normsv5", "stock"])
def test_half_precision_views(name, dtype, tolerance):
    compare(name, draw(3, 140, 32, dtype), tolerance)


@needs_compiler
@pytest.mark.parametrize("name", ["einsum", "norms", "normsv5"])
def test_rows_of_any_length_are_finite_and_right(name):
    """Lengths from subnormal to 1e30 in one batch: float32 products could not hold the unnormalised ones; a zero row
    has gradient zero.
    """
    views = draw(3, 140, 16) * torch.logspace(-42, 30, 140).unsqueeze(1)
    views[1, 7] = 0
    got = gradients(make_loss(name), views)
    wide = gradients(lambda x, scale: oracles.line_loss(name, torch.stack(x), scale), views.double())
    assert all(torch.isfinite(figure).all() for figure in got)
    assert got[1][1, 7].eq(0).all()
    assert error(got[0], wide[0]) < 1e-5
    # By rows, as their gradients differ by seventy powers of ten; those beyond float32 are its largest number.
    usual = wide[1].abs().amax(-1).lt(1e38) & wide[1].abs().amax(-1).gt(1e-30)
    assert usual.sum() > 250
    assert ((got[1] - wide[1]).norm(dim=-1) / wide[1].norm(dim=-1))[usual].max() < 1e-4


def test_one_tensor_and_several_are_the_same():
    views = draw(3, 140, 16)
    loss, scale = make_loss("normsv5"), torch.tensor(10.0)
    stacked = views.clone().requires_grad_()
    loss(stacked, scale).backward()
    several = [view.clone().requires_grad_() for view in views]
    loss(several, scale).backward()
    assert torch.equal(stacked.grad, torch.stack([view.grad for view in several]))


def test_rows_that_are_not_contiguous():
    views = draw(140, 16, 3)
    strided = views.permute(2, 0, 1).requires_grad_()
    loss = make_loss("norms")
    assert loss(strided, torch.tensor(5.0)).item() == loss(strided.detach().contiguous(), torch.tensor(5.0)).item()


def test_a_gradient_asked_for_twice_is_the_same():
    views = draw(3, 140, 16).requires_grad_()
    total = 3 * make_loss("einsum")(views, torch.tensor(10.0))
    first, second = (torch.autograd.grad(total, views, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_views_that_need_no_gradient_get_none():
    views = list(draw(3, 140, 16))
    views[0].requires_grad_()
    make_loss("norms")(views, torch.tensor(10.0)).backward()
    assert views[0].grad.abs().sum() > 0
    assert views[1].grad is None


@pytest.mark.parametrize("name", ["einsum", "normsv5", "loss4"])
def test_buffers_reused_between_steps_do_not_change_gradients(name):
    """Two evaluations before a backward, another batch size, inference in between: gradients as of a new loss."""
    views, others = draw(3, 140, 16), draw(3, 90, 16, seed=1)
    loss, scale = make_loss(name), torch.tensor(10.0)
    first, second = (x.clone().requires_grad_() for x in (views, others))
    totals = [loss(first, scale), loss(second, scale)]
    with torch.inference_mode():
        loss(views, scale)
    loss(others.clone().requires_grad_(), scale).backward()
    sum(totals).backward()
    for x in (first, second):
        fresh = x.detach().clone().requires_grad_()
        make_loss(name)(fresh, scale).backward()
        assert torch.equal(x.grad, fresh.grad)
