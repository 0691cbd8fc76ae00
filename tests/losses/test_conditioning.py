"""The start of logit_scale, and the warning about logits that are too small to learn from."""

import math

import pytest
import torch

from model.losses import make_loss
from model.losses.objective.conditioning import initial_scale, reach_warning
from tests import oracles
from tests.losses.names import COMPARED


def draw(n=6, rows=24, features=64):
    return torch.randn(n, rows, features, generator=torch.Generator().manual_seed(0))


def off_match(name, x, scale):
    logits = scale * oracles.lines(name, x[:2] if name in oracles.TWO_VIEWS else x)
    return logits[:, ~torch.eye(logits.shape[1], dtype=torch.bool)]


@pytest.mark.parametrize("name", COMPARED)
def test_the_first_logits_have_a_standard_deviation_of_1(name):
    log_scale, cap = initial_scale(make_loss(name), draw())
    assert off_match(name, draw(), math.exp(log_scale)).std(correction=0).item() == pytest.approx(1, rel=1e-4)
    assert cap == pytest.approx(max(100, 10 * math.exp(log_scale)))


def test_the_first_scale_depends_on_the_weight_of_the_mask():
    weighted = initial_scale(make_loss("norms", mask="raw"), draw(3))[0]
    assert initial_scale(make_loss("norms"), draw(3))[0] - weighted == pytest.approx(math.log(17))


@pytest.mark.parametrize("views", [draw(rows=1), torch.ones(3, 5, 4)], ids=["one row", "equal rows"])
def test_scores_that_do_not_differ_start_as_the_original(views):
    assert initial_scale(make_loss("norms"), views) == (pytest.approx(math.log(1 / 0.07)), 100)


def test_the_logits_of_a_product_of_six_dense_rows_are_too_small():
    views = draw(features=512)
    loss = make_loss("einsum")
    warning = reach_warning(loss, views, torch.tensor(1 / 0.07))
    assert "the logits of loss=einsum are too small to learn from: with 6 views of 512 features" in warning
    log_scale, _ = initial_scale(loss, views)
    assert reach_warning(loss, views, math.exp(log_scale)) is None
    # The warning is right: the loss of views that agree is that of chance.
    agreeing = views[:1].repeat(6, 1, 1)
    assert loss(agreeing, torch.tensor(1 / 0.07)).item() == pytest.approx(math.log(24), rel=1e-3)


@pytest.mark.parametrize("name", ["stock", "norms", "normsv5", "loss4", "normsv6"])
def test_scores_with_large_logits_have_no_warning(name):
    assert reach_warning(make_loss(name), draw(features=512), 1 / 0.07) is None
