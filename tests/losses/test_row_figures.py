"""The loss and the won lines of single rows, which an evaluation averages."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from model.losses import available, make_loss
from tests.losses.names import COMPARED

SCALE = torch.tensor(3.0)


def views_of(n: int, size: int, features: int = 8) -> torch.Tensor:
    """(n, B, F) float64."""
    return torch.randn(n, size, features, generator=torch.Generator().manual_seed(size), dtype=torch.float64)


@pytest.mark.parametrize("name", available())
@pytest.mark.parametrize("size", [1, 5, 40])
def test_the_mean_over_rows_is_the_loss(name, size):
    loss, views = make_loss(name).eval(), views_of(4, size)
    assert loss.row_figures(views, SCALE).losses.mean().item() == pytest.approx(loss(views, SCALE).item(), rel=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        {"reduction": "sum"},
        {"axes": "first"},
        {"mask": "raw"},
        {"mask": "learned", "views": 4, "batch_size": 5},
        {"mask": "extremes", "evaluation": "dense"},
        {"mask": "sigmoid"},
        {"targets": "soft"},
        {"targets": "soft", "reduction": "sum", "axes": "first"},
        {"evaluation": "dense"},
    ],
)
def test_the_mean_over_rows_is_the_loss_under_every_option(options):
    loss, views = make_loss("einsum", **options).eval(), views_of(4, 5)
    assert loss.row_figures(views, SCALE).losses.mean().item() == pytest.approx(loss(views, SCALE).item(), rel=1e-12)


@pytest.mark.parametrize("name", [name for name in COMPARED if name != "siglip"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_row_is_the_mean_of_its_cross_entropies(name, dtype):
    """Computed with torch's cross_entropy from `loss.lines`."""
    loss, views = make_loss(name).eval(), views_of(3, 7).to(dtype)
    logits, labels = SCALE * loss.lines(views).double(), torch.arange(7)
    figures = loss.row_figures(views, SCALE)
    want = torch.stack([cross_entropy(line, labels, reduction="none") for line in logits]).mean(0)
    torch.testing.assert_close(figures.losses, want, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(figures.wins, (logits.argmax(2) == labels).double().mean(0))


def test_a_row_of_soft_targets_is_that_of_the_first_view():
    """By the definition over all tuples."""
    loss, views = make_loss("einsum", targets="soft").eval(), views_of(3, 4)
    scores = torch.einsum("if,jf,kf->ijk", *torch.nn.functional.normalize(views, dim=2))
    loss(views, SCALE)
    targets = loss._targets.targets
    want = sum(-(targets * (SCALE * scores).log_softmax(axis)).sum((1, 2)) / 3 for axis in range(3))
    torch.testing.assert_close(loss.row_figures(views, SCALE).losses, want)


@pytest.mark.parametrize("size", [4, 200])
@pytest.mark.parametrize("name", ["einsum", "normsv5", "stock", "gram"])
def test_a_tie_is_lost(name, size):
    """Equal rows have equal scores, up to rounding: no match wins."""
    views = torch.randn(3, 1, 16, generator=torch.Generator().manual_seed(1)).expand(3, size, 16)
    assert make_loss(name).row_figures(views, SCALE).wins.sum() == 0


def test_the_random_pairs_of_symile_stay_those_of_the_step():
    loss, views = make_loss("symile"), views_of(3, 6)
    first = loss.row_figures(views, SCALE).losses
    assert torch.equal(loss.row_figures(views, SCALE).losses, first)
    assert loss(views, SCALE).item() == pytest.approx(first.mean().item())


def test_wrong_views_are_refused():
    with pytest.raises(ValueError, match="views"):
        make_loss("einsum").row_figures([torch.randn(3, 4), torch.randn(2, 4)], SCALE)
