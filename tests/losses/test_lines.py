"""Line scores and dense scores against the formulas by tuples (tests/oracles.py), finite differences, and small cases
by hand.
"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.losses import available, make_loss
from tests import oracles
from tests.conftest import some
from tests.losses.names import COMPARED, TUPLES

SCALE = 1 / 0.07
# Scores that take rows as they come when asked to.
RAW = [name for name in TUPLES if not name.startswith("stable_")]


def draw(n, rows, features, seed=0, dtype=torch.float64):
    return torch.randn(n, rows, features, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def with_gradients(function, x, scale=SCALE):
    """The value, and its gradients with respect to the views and to the scale."""
    x = x.detach().clone().requires_grad_()
    scale = torch.tensor(scale, dtype=torch.float64, requires_grad=True)
    value = function(x, scale)
    value.backward()
    return value.detach(), x.grad, scale.grad


@pytest.mark.parametrize("n", [2, 3, 7])
@pytest.mark.parametrize("name", COMPARED)
def test_line_scores(name, n):
    x = draw(n, 4, 6, seed=n)
    torch.testing.assert_close(
        make_loss(name).lines(x), oracles.lines(name, x[:2] if name in oracles.TWO_VIEWS else x), rtol=1e-9, atol=1e-11
    )


@pytest.mark.parametrize("name", TUPLES)
def test_dense_scores_and_their_gradients(name):
    x = draw(3, 4, 6)
    weights = draw(4, 4, 4, seed=1)
    got, want = x.clone().requires_grad_(), x.clone().requires_grad_()
    score, oracle = make_loss(name, memory_mib=1).score(got), oracles.dense(name, want)
    torch.testing.assert_close(score, oracle, rtol=1e-9, atol=1e-11)
    (score * weights).sum().backward()
    (oracle * weights).sum().backward()
    torch.testing.assert_close(got.grad, want.grad, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", TUPLES)
def test_dense_scores_of_five_views_tile_by_tile(name, monkeypatch):
    x = draw(5, 3, 4)
    loss = make_loss(name)
    monkeypatch.setattr(
        type(loss._evaluator.score), "dense_width", lambda self, n, features: (200 << 20) // (8 * 20)
    )  # 20 cells a tile
    torch.testing.assert_close(loss.score(x), oracles.dense(name, x), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", some(COMPARED, 2))
def test_lines_are_differentiable(name):
    loss, x = make_loss(name), draw(3, 3, 4).requires_grad_()
    # A line's matching cells are constants of the cross terms and are computed separately: both gradients must add up.
    torch.autograd.gradcheck(loss.lines, (x,), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", COMPARED)
def test_loss_and_gradients(name):
    x = draw(4, 5, 6)
    got = with_gradients(make_loss(name), x)
    want = with_gradients(lambda x, scale: oracles.line_loss(name, x[:2] if name in oracles.TWO_VIEWS else x, scale), x)
    torch.testing.assert_close(got, want, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("name", RAW)
def test_rows_as_they_come(name):
    x = 2 * draw(3, 4, 5)
    got = with_gradients(make_loss(name, normalize=False), x, 0.5)
    want = with_gradients(lambda x, scale: oracles.line_loss(name, x, scale, normalize=False), x, 0.5)
    torch.testing.assert_close(got, want, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", some(COMPARED, 2))
def test_gradients_are_those_of_finite_differences(name):
    loss = make_loss(name)
    x, scale = draw(3, 3, 3, seed=3).requires_grad_(), torch.tensor(2.5, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(lambda x, scale: loss(x, scale), (x, scale), rtol=1e-5, atol=1e-8)


@settings(max_examples=8, deadline=None, derandomize=True)
# Two features or more: with one, normalised rows are ±1 and cancel up to eps, which inner products do not resolve.
@given(n=st.integers(2, 8), rows=st.integers(1, 9), features=st.integers(2, 12), seed=st.integers(0, 99))
@pytest.mark.parametrize("name", some(COMPARED, 2))
def test_any_shape(name, n, rows, features, seed):
    x = draw(n, rows, features, seed)
    got = with_gradients(make_loss(name), x)
    want = with_gradients(lambda x, scale: oracles.line_loss(name, x[:2] if name in oracles.TWO_VIEWS else x, scale), x)
    torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", COMPARED)
def test_float32_products_of_a_large_batch_are_right(name):
    """150 rows are more than are multiplied in float64."""
    x = draw(4, 150, 32, dtype=torch.float32)
    got, want = with_gradients(make_loss(name), x), with_gradients(make_loss(name), x.double())
    assert got[0].dtype == got[1].dtype == torch.float32
    assert got[0].item() == pytest.approx(want[0].item(), rel=1e-6)
    assert (got[1].double() - want[1]).norm() / want[1].norm() < 1e-5
    assert got[2].item() == pytest.approx(want[2].item(), rel=1e-5)


@pytest.mark.parametrize("name", some(COMPARED, 3))
def test_tiles_do_not_change_the_loss(name):
    x = draw(3, 300, 4)
    single, tiled = (with_gradients(make_loss(name, memory_mib=mib), x) for mib in (200, 1))
    torch.testing.assert_close(single, tiled, rtol=1e-10, atol=1e-14)


# The loss of siglip also contrasts the match itself with 0.
@pytest.mark.parametrize("name", [name for name in COMPARED if name != "siglip"])
def test_a_batch_of_one_has_loss_and_gradient_zero(name):
    value, by_views, by_scale = with_gradients(make_loss(name), draw(3, 1, 5))
    assert value.item() == by_scale.item() == 0
    assert not by_views.any()


# normsv6 and normsv8 do not prefer views that agree.
@pytest.mark.parametrize("name", sorted({*available()} - {"normsv6", "normsv8"}))
def test_the_matching_candidate_is_on_the_diagonal(name):
    x = torch.eye(6, 8).repeat(3, 1, 1)  # views that agree, samples that do not
    logits = make_loss(name).lines(x)
    assert logits.shape[1:] == (6, 6)
    assert (logits <= logits.diagonal(dim1=1, dim2=2).unsqueeze(2) + 1e-6).all()


def test_lines_of_all_views_are_cells_of_the_score():
    x = draw(3, 4, 5)
    for name in TUPLES:
        loss = make_loss(name)
        lines, score = loss.lines(x), loss.score(x)
        for i in range(4):
            torch.testing.assert_close(lines[:, i], torch.stack([score[:, i, i], score[i, :, i], score[i, i, :]]))


def test_stock_is_cross_entropy_both_ways():
    x = draw(2, 6, 5)
    rows = torch.nn.functional.normalize(x, dim=-1)
    logits, labels = 3.0 * rows[0] @ rows[1].T, torch.arange(6)
    want = (torch.nn.functional.cross_entropy(logits, labels) + torch.nn.functional.cross_entropy(logits.T, labels)) / 2
    torch.testing.assert_close(make_loss("stock")(x, torch.tensor(3.0)), want)


def test_pairwise_is_the_mean_over_all_pairs_of_a_cross_entropy_over_dim_1():
    x = draw(3, 5, 6)
    loss = make_loss("pairwise")
    logits = loss.score(x)
    want = torch.nn.functional.cross_entropy(2.0 * logits, torch.arange(5).unsqueeze(1).expand(5, 9))
    torch.testing.assert_close(loss(x, torch.tensor(2.0)), want)


@pytest.mark.parametrize("name", ["stock", "norms", "loss1"])
def test_without_gradients_the_loss_is_the_same(name):
    x = draw(3, 4, 5).requires_grad_()
    loss = make_loss(name)
    with torch.inference_mode():
        quiet = loss(x, torch.tensor(SCALE)).item()
    assert quiet == pytest.approx(loss(x, torch.tensor(SCALE)).item(), rel=1e-12)
