"""A step launches few kernels and never waits for the device, whatever the size of the batch. See launches.py."""

from __future__ import annotations

import pytest
import torch

from model.losses import available, make_loss
from model.losses.inductor import compile as inductor
from tests.losses.launches import Launches, counted

# One loss of pairs, one of sums over features, one with many directions.
FAMILIES = ("normsv5", "loss4", "pairwise")
NAMES = [name if name in FAMILIES else pytest.param(name, marks=pytest.mark.slow) for name in available()]
VIEWS, ROWS, FEATURES = 6, 1024, 8


@pytest.fixture
def launches_of(monkeypatch):
    """A function of a loss that returns the launches of its second step at B = 1024."""
    monkeypatch.setattr(inductor, "problem", lambda device_type: None)
    monkeypatch.setattr("model.losses.evaluation.backend.compile_problem", lambda device_type: None)
    with counted() as of_call:

        def of_loss(loss) -> Launches:
            views = torch.randn(VIEWS, ROWS, FEATURES, generator=torch.Generator().manual_seed(0)).requires_grad_()
            scale = torch.tensor(5.0, requires_grad=True)
            loss(views, scale).backward()
            return of_call(lambda: loss(views, scale).backward())

        yield of_loss


@pytest.mark.parametrize("name", NAMES)
def test_a_step_launches_at_most_a_hundred_kernels(launches_of, name):
    launches = launches_of(make_loss(name, backend="inductor"))
    assert sum(launches.kernels.values()) <= 100, launches.kernels
    assert not launches.syncs
    assert launches.products <= launches_of(make_loss(name, backend="auto")).products
