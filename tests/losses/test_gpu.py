"""On a GPU, losses and gradients are those of the definition in float64, and no step waits for the device."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from model.losses import available, make_loss
from tests.losses.names import COMPARED
from tests.losses.test_inductor import check, draw, views_of

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")

# Rows and features: sizes that share one compilation, and one row, which has another.
SIZES = ((33, 7), (65, 130), (300, 16), (3, 7), (1, 7))


@contextmanager
def synchronising_is_an_error() -> Iterator[None]:
    """Raises RuntimeError in the block for an operation that waits for the GPU."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the mode is a prototype
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize(("name", "n"), [(name, views_of(name, 2 + k % 5)) for k, name in enumerate(COMPARED)])
def test_losses_are_the_definition(name, n):
    loss = make_loss(name).cuda()
    for rows, features in SIZES:
        check(loss, draw(n, rows, features).cuda())


@pytest.mark.parametrize("name", [name for name in available() if name != "own"])
def test_a_step_waits_for_nothing(name):
    loss = make_loss(name, views=3, batch_size=64).cuda()
    views = torch.randn(2 if name == "siglip" else 3, 64, 16, device="cuda", requires_grad=True)
    scale = torch.tensor(5.0, device="cuda", requires_grad=True)
    loss(views, scale).backward()
    with synchronising_is_an_error():
        loss(views, scale).backward()
    assert views.grad.isfinite().all()
