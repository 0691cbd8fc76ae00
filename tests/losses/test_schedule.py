"""Which products of two views are kept for their second direction, and that the loss does not depend on it."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from model.losses import make_loss
from model.losses.evaluation.schedule import Directions, make_schedule
from tests.benchmarks.plain_losses import PLAIN_LOSSES, clip, clip_of_pairs

ALL_PAIRS = {"normsv5": PLAIN_LOSSES["normsv5"], "gram": PLAIN_LOSSES["gram"], "pairwise_clip": clip_of_pairs}


class Products(TorchDispatchMode):
    """Counts matrix products."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm, torch.ops.aten.addmm_)
        return function(*args, **(kwargs or {}))


def draw(n: int, rows: int, features: int = 16) -> torch.Tensor:
    return torch.randn(n, rows, features, generator=torch.Generator().manual_seed(rows))


def products_of(name: str, rows: int, memory_mib: int = 200) -> int:
    """The number of matrix products of a step with six views."""
    views = draw(6, rows).requires_grad_()
    loss = make_loss(name, memory_mib=memory_mib)
    with Products() as products:
        loss(views, torch.tensor(5.0)).backward()
    return products.count


@pytest.mark.parametrize("rows", [8, 700])
@pytest.mark.parametrize(
    ("name", "expected"),
    [("stock", 3), ("pairwise_clip", 45), ("pairwise", 63), ("normsv5", 45), ("einsum", 18), ("stable_distance", 18)],
)
def test_each_product_is_made_once_for_both_directions(name, expected, rows):
    assert products_of(name, rows) == expected


def test_the_products_become_fewer_with_more_memory():
    counts = [products_of("normsv5", 700, memory_mib) for memory_mib in (1, 12, 20, 30, 50, 100)]
    assert counts == sorted(counts, reverse=True)
    assert len(set(counts)) >= 4
    assert counts[-1] == 45


@pytest.mark.parametrize("memory_mib", [1, 2, 3, 4, 200])
@pytest.mark.parametrize("name", ALL_PAIRS)
def test_the_loss_does_not_depend_on_what_is_kept(name, memory_mib):
    def step(loss, views):
        views, scale = views.clone().requires_grad_(), torch.tensor(5.0, dtype=views.dtype, requires_grad=True)
        value = loss(views, scale)
        return [value.detach(), *torch.autograd.grad(value, [views, scale])]

    views = draw(4, 203)
    got, want = step(make_loss(name, memory_mib=memory_mib), views), step(ALL_PAIRS[name], views.double())
    for x, expected in zip(got, want, strict=True):
        assert (x.double() - expected).norm() <= 1e-5 * expected.norm()


def all_pairs_of(n: int) -> Directions:
    """The directions of a score that reads the product of every two of n views."""
    return tuple(tuple((k, d) for k in range(n) if k != d) for d in range(n))


@settings(max_examples=60, deadline=None)
@given(n=st.integers(2, 7), size=st.integers(1, 900), capacity=st.floats(0, 30))
def test_kept_rows_fit_the_capacity(n, size, capacity):
    schedule = make_schedule(all_pairs_of(n), size, capacity)
    assert sorted(d for group in schedule.groups for d in group) == list(range(n))
    used: Counter[int] = Counter()
    for second, first in schedule.first_of.items():
        rows = schedule.kept_rows[first]
        assert 0 < rows <= size
        assert first.direction < second.direction
        used.update(dict.fromkeys(range(first.direction, second.direction + 1), rows))
    if len(schedule.groups) == n:
        assert max(used.values(), default=0) <= capacity * size + 1e-6


def test_everything_is_kept_where_it_fits():
    # 3 * (6 - 3) + 2 pairs of directions d <= 3 <= e are alive at once.
    for capacity, everything in ((11, True), (10.9, False)):
        schedule = make_schedule(all_pairs_of(6), 1024, capacity)
        assert (list(schedule.kept_rows.values()) == [1024] * 15) is everything


def test_a_direction_follows_the_direction_whose_cells_it_needs():
    directions = tuple(((j, k),) for j in range(4) for k in range(4) if j != k)
    order = [d for group in make_schedule(directions, 4096, 1.0).groups for d in group]
    places = [directions[d][0] for d in order]
    assert all(second == first[::-1] for first, second in zip(places[::2], places[1::2], strict=True))


def test_stock_is_clip():
    views = draw(2, 300)
    torch.testing.assert_close(make_loss("stock")(views, torch.tensor(5.0)), clip(views, torch.tensor(5.0)))
