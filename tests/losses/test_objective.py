"""Targets, masks, axes and reductions against an evaluation of all tuples (tests/oracles.py)."""

from itertools import product

import pytest
import torch

from model.losses import make_loss
from model.losses.objective.masks import class_values, partitions
from tests import oracles

NAMES = ["einsum", "loss1", "loss6", "normsv5", "normsv8"]
SCALE = 3.0


def draw(n=3, rows=4, features=5, seed=0):
    return torch.randn(n, rows, features, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gradients(value, x, *others):
    value.backward()
    return value.detach(), x.grad, *[other.grad for other in others]


def alphas(count):
    return torch.rand(count, generator=torch.Generator().manual_seed(5), dtype=torch.float64) + 0.2


def weights_of(mask, n, rows, alpha=None):
    values = oracles.class_values(n, rows)
    if mask == "raw":
        return values.double()
    ordered = values.unique()  # ascending
    if mask == "extremes":
        return torch.isin(values, torch.cat([ordered[:2], ordered[-2:]])).double()
    if mask == "learned":
        return (alpha / alpha.norm()).softmax(0)[torch.searchsorted(ordered, values)]
    return None


@pytest.mark.parametrize("evaluation", ["lines", "dense"])
@pytest.mark.parametrize(("mask", "axes"), list(product(["none", "learned", "extremes", "raw"], ["all", "first"])))
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n", [3, 4])
def test_masks_and_axes(name, n, mask, axes, evaluation):
    rows = 4
    x, y = draw(n, rows).requires_grad_(), draw(n, rows).requires_grad_()
    alpha = alphas(len(class_values(n, rows))).requires_grad_()
    scale = torch.tensor(SCALE, dtype=torch.float64, requires_grad=True)
    loss = make_loss(name, mask=mask, axes=axes, evaluation=evaluation, views=n, batch_size=rows)
    learned = []
    if mask == "learned":
        loss.alpha.data = alpha.detach().clone()
        learned = [alpha]
    got = gradients(loss(x, scale), x, scale, *loss.parameters())
    other = torch.tensor(SCALE, dtype=torch.float64, requires_grad=True)
    total = oracles.dense_loss(name, y, other, axes, weights_of(mask, n, rows, alpha))
    want = gradients(total / (rows ** (n - 1) if mask == "raw" else rows), y, other, *learned)
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("mask", ["none", "learned", "raw"])
@pytest.mark.parametrize("name", NAMES)
def test_soft_targets(name, mask):
    x, y, rows = draw().requires_grad_(), draw().requires_grad_(), 4
    loss = make_loss(name, targets="soft", mask=mask, seed=7, views=3, batch_size=rows)
    weights = weights_of(mask, 3, rows, torch.ones(3, dtype=torch.float64))
    targets = oracles.soft_targets(name, rows, 5, 3, seed=7)
    got = gradients(loss(x, torch.tensor(SCALE)), x)
    total = oracles.dense_loss(name, y, SCALE, "all", weights, targets)
    want = gradients(total / (rows**2 if mask == "raw" else rows), y)
    # 1e-7: the root of loss6 sees the rounding of |S|^2 at the tuples of identical rows that make the targets.
    torch.testing.assert_close(got, want, rtol=1e-7, atol=1e-7)


def test_soft_targets_of_a_smaller_last_batch_are_the_leading_corner():
    loss = make_loss("norms", targets="soft", seed=7, views=3, batch_size=4)
    targets = oracles.soft_targets("norms", 4, 5, 3, seed=7)[:3, :3, :3]
    for _ in range(2):  # the draw is made once
        got = loss(draw(rows=3), torch.tensor(SCALE))
        torch.testing.assert_close(got, oracles.dense_loss("norms", draw(rows=3), SCALE, targets=targets) / 3)
        loss(draw(rows=4), torch.tensor(SCALE))


@pytest.mark.parametrize("targets", ["diagonal", "soft"])
@pytest.mark.parametrize("name", NAMES)
def test_sigmoid_mask(name, targets):
    x, y = draw().requires_grad_(), draw().requires_grad_()
    loss = make_loss(name, mask="sigmoid", targets=targets, seed=7)
    scale = torch.tensor(SCALE, requires_grad=True)
    got = gradients(loss(x, scale), x)
    scores = oracles.dense(name, y)
    wanted = torch.zeros_like(scores)
    wanted[(torch.arange(4),) * 3] = 1
    if targets == "soft":
        wanted = oracles.soft_targets(name, 4, 5, 3, seed=7)

    def spread(t):
        return 2 * (t - t.min()) / (t.max() - t.min()) - 1

    want = gradients(torch.log1p(torch.exp(-spread(scores) * spread(wanted))).sum() / 4, y)
    torch.testing.assert_close(got, want, rtol=1e-7, atol=1e-8)
    assert scale.grad.item() == 0
    assert not loss.uses_scale
    assert any("logit_scale cancels" in notice for notice in loss.notices)


def test_sigmoid_mask_of_one_tuple_is_log_2():
    x = draw(rows=1).requires_grad_()
    value = make_loss("norms", mask="sigmoid")(x, torch.tensor(1.0))
    value.backward()
    assert value.item() == pytest.approx(torch.tensor(2.0).log().item())
    assert not x.grad.any()


def test_the_sum_is_the_mean_times_the_rows():
    x = draw(rows=5)
    for name in (*NAMES, "stock"):
        mean, total = (make_loss(name, reduction=reduction)(x, torch.tensor(2.0)) for reduction in ("mean", "sum"))
        torch.testing.assert_close(5 * mean, total)


def test_the_learned_mask_has_a_parameter_per_class():
    loss = make_loss("norms", mask="learned", views=6, batch_size=8)
    assert [name for name, _ in loss.named_parameters()] == ["mask.alpha"]
    assert loss.alpha.tolist() == [1.0] * 11
    assert class_values(6, 8) == [6, 20, 34, 48, 84, 98, 162, 258, 272, 626, 1296]
    assert len(make_loss("norms", mask="learned", views=6, batch_size=3).alpha) == 7
    loss(draw(6, 8), torch.tensor(SCALE)).backward()
    assert (loss.alpha.grad != 0).all()  # every alpha, through the softmax


def test_the_learned_mask_refuses_batches_it_was_not_made_for():
    loss = make_loss("norms", mask="learned", views=4, batch_size=2)
    with pytest.raises(ValueError, match="views: 3 given; accepted: 4"):
        loss(draw(3), torch.tensor(1.0))
    with pytest.raises(ValueError, match="3 rows given; accepted: 2 or fewer"):
        loss(draw(4, 3), torch.tensor(1.0))


def test_classes_have_values_of_their_own_up_to_twelve_views():
    for n in range(2, 13):
        values = class_values(n, n)
        assert len(set(values)) == len(values) == len(list(partitions(n, n)))


def test_too_many_tuples_are_refused():
    with pytest.raises(ValueError, match=r"6 of 64 rows given, 64\^6 tuples"):
        make_loss("norms", targets="soft")(draw(6, 64), torch.tensor(1.0))
