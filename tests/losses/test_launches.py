"""A step launches few kernels and never waits for the device, whatever the size of the batch. See launches.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from model.losses import available, make_loss
from model.losses.inductor import compile as inductor
from tests.losses.launches import Launches, counted

# A loss of sums over features, the family of most calls, and losses of pairs and of many directions.
FAMILIES = ["loss4", *(pytest.param(name, marks=pytest.mark.slow) for name in ("normsv5", "pairwise"))]
NAMES = [name for name in available() if name != "own"]
VIEWS, ROWS, FEATURES = 6, 1024, 8
MOST = 100
# What a loss takes on a GPU of 16 GiB, if loss.memory_mib is null.
MEMORY_MIB = 512
# Operations outside compiled functions, and calls of these, for a loss of any family.
MOST_CALLS = 75

StepLaunches = Callable[[str, str], Launches]


@pytest.fixture
def launches_of(monkeypatch, request) -> Iterator[StepLaunches]:
    """A function of a loss and a backend that returns the launches of the second step at B = 1024. The parameter is
    False to count a call of a compiled function as one launch, without Inductor.
    """
    monkeypatch.setattr(inductor, "problem", lambda device_type: None)
    monkeypatch.setattr("model.losses.evaluation.backend.compile_problem", lambda device_type: None)
    views = torch.randn(VIEWS, ROWS, FEATURES, generator=torch.Generator().manual_seed(0)).requires_grad_()
    scale = torch.tensor(5.0, requires_grad=True)
    with counted(fused=request.param) as of_call:

        def of_loss(name: str, backend: str) -> Launches:
            loss = make_loss(name, backend=backend, memory_mib=MEMORY_MIB)
            loss(views, scale).backward()
            return of_call(lambda: loss(views, scale).backward())

        yield of_loss


@pytest.mark.parametrize("launches_of", [False], indirect=True)
@pytest.mark.parametrize("name", FAMILIES)
def test_a_step_calls_few_operations_and_waits_for_nothing(launches_of, name):
    launches = launches_of(name, "inductor")
    assert sum(launches.kernels.values()) <= MOST_CALLS, launches.kernels
    assert not launches.syncs


@pytest.mark.slow
@pytest.mark.parametrize("launches_of", [True], indirect=True)
@pytest.mark.parametrize("name", NAMES)
def test_a_step_launches_at_most_a_hundred_kernels(launches_of, name):
    launches = launches_of(name, "inductor")
    assert sum(launches.kernels.values()) <= MOST, launches.kernels
    assert not launches.syncs
    assert launches.products <= launches_of(name, "auto").products
