"""Lines against independent figures: gradients by finite differences, large batches by float64, degenerate batches by hand."""

import pytest
import torch

from model.losses import available, make_loss

SCALE = 1 / 0.07


def draw(n, rows, features, seed=0, dtype=torch.float64):
    return torch.randn(n, rows, features, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("name", available())
def test_gradients_are_those_of_finite_differences(name):
    loss = make_loss(name)
    x, scale = draw(3, 4, 5).requires_grad_(), torch.tensor(2.5, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(lambda x, scale: loss(x, scale), (x, scale), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", available())
def test_float32_products_of_a_large_batch_are_right(name):
    """150 rows are more than are multiplied in float64."""
    got, want = draw(4, 150, 32, dtype=torch.float32).requires_grad_(), draw(4, 150, 32, dtype=torch.float32).double().requires_grad_()
    loss = make_loss(name)
    values = [loss(x, torch.tensor(SCALE, dtype=x.dtype)) for x in (got, want)]
    for value in values:
        value.backward()
    assert values[0].dtype == got.grad.dtype == torch.float32
    assert values[0].item() == pytest.approx(values[1].item(), rel=1e-6)
    error = (got.grad.double() - want.grad).norm() / want.grad.norm()
    assert error < 1e-5


@pytest.mark.parametrize("name", available())
def test_tiles_do_not_change_the_loss(name):
    x = draw(3, 300, 4)
    whole, tiled = (make_loss(name, memory_mib=mib)(x, torch.tensor(SCALE)) for mib in (200, 1))
    torch.testing.assert_close(whole, tiled, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", available())
def test_a_batch_of_one_has_loss_and_gradient_zero(name):
    x = draw(3, 1, 5).requires_grad_()
    value = make_loss(name)(x, torch.tensor(SCALE))
    value.backward()
    assert value.item() == 0
    assert not x.grad.any()


@pytest.mark.parametrize("name", available())
def test_lines_have_the_match_on_the_diagonal(name):
    x = torch.eye(6, 8).repeat(3, 1, 1)  # views that agree, samples that do not
    lines = make_loss(name).lines(x)
    assert (lines.argmax(-1) == torch.arange(6)).all()


def test_lines_of_all_views_are_cells_of_the_score():
    x = draw(3, 4, 5)
    for name in ("einsum", "norms", "normsv5"):
        loss = make_loss(name)
        lines, score = loss.lines(x), loss.score(x)
        for i in range(4):
            torch.testing.assert_close(lines[0, i], score[:, i, i])
            torch.testing.assert_close(lines[1, i], score[i, :, i])
            torch.testing.assert_close(lines[2, i], score[i, i, :])


def test_the_sum_is_the_mean_times_the_rows():
    x = draw(3, 5, 4)
    mean, total = (make_loss("norms", reduction=reduction)(x, torch.tensor(2.0)) for reduction in ("mean", "sum"))
    torch.testing.assert_close(5 * mean, total)


def test_stock_is_cross_entropy_both_ways():
    x = draw(2, 6, 5)
    rows = torch.nn.functional.normalize(x, dim=-1)
    logits = 3.0 * rows[0] @ rows[1].T
    labels = torch.arange(6)
    want = (torch.nn.functional.cross_entropy(logits, labels) + torch.nn.functional.cross_entropy(logits.T, labels)) / 2
    torch.testing.assert_close(make_loss("stock")(x, torch.tensor(3.0)), want)
