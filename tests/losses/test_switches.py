"""Settings of torch for the whole process do not change a loss, and have their earlier values after it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch

from model.losses import available, make_loss
from model.losses.cross_terms import Product
from model.losses.objective import island
from tests.conftest import some_of_all

SCALE = 7.0


def views_of(rows: int = 40, n: int = 3) -> list[torch.Tensor]:
    """n float32 views that need gradients."""
    return [
        torch.randn(
            rows, 24, generator=torch.Generator().manual_seed(k), dtype=torch.float32, device="cpu"
        ).requires_grad_()
        for k in range(n)
    ]


def step(loss, views) -> list[torch.Tensor]:
    """The loss, its gradients, and the line scores."""
    scale = torch.tensor(SCALE, dtype=torch.float32, device="cpu", requires_grad=True)
    value = loss(views, scale)
    used = views[: loss.reads]
    return [value.detach(), *torch.autograd.grad(value, [*used, scale]), loss.lines(views).detach()]


@contextmanager
def set_to(read: Callable, write: Callable, value) -> Iterator[None]:
    before = read()
    write(value)
    try:
        yield
    finally:
        write(before)


@contextmanager
def own_precision_of(owner, value: str) -> Iterator[None]:
    with set_to(lambda: owner.fp32_precision, lambda chosen: setattr(owner, "fp32_precision", chosen), value):
        yield


def matmul_precision(value: str):
    return set_to(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, value)


CUDA = torch.backends.cuda.matmul
SWITCHES = {
    "medium": lambda: matmul_precision("medium"),
    "high": lambda: matmul_precision("high"),
    "allow_tf32": lambda: set_to(lambda: CUDA.allow_tf32, lambda value: setattr(CUDA, "allow_tf32", value), True),
    "default_dtype": lambda: set_to(torch.get_default_dtype, torch.set_default_dtype, torch.float64),
    "default_device": lambda: torch.device("meta"),
    "deterministic": lambda: set_to(
        torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms, True
    ),
}
if hasattr(CUDA, "fp32_precision"):
    SWITCHES |= {
        "own_tf32": lambda: own_precision_of(CUDA, "tf32"),
        "own_bf16": lambda: own_precision_of(torch.backends.mkldnn.matmul, "bf16"),
    }
OPTIONS = [{}, {"mask": "learned"}, {"targets": "soft"}, {"mask": "sigmoid"}]
CASES = [(name, {}) for name in available()] + [("norms", options) for options in OPTIONS[1:]]


@pytest.mark.parametrize(("case", "switch"), some_of_all(2, CASES, SWITCHES))
def test_a_switch_changes_nothing(case, switch):
    name, options = case
    rows = 8 if "targets" in options or options.get("mask") == "sigmoid" else 40
    loss = make_loss(name, views=3, batch_size=rows, **options)
    want = step(loss, views_of(rows))
    fresh = make_loss(name, views=3, batch_size=rows, **options)
    with SWITCHES[switch]():
        got = step(fresh, views_of(rows))
    for actual, expected in zip(got, want, strict=True):
        assert actual.dtype == expected.dtype
        torch.testing.assert_close(actual, expected, rtol=1e-7, atol=1e-7 * expected.abs().max().item())


@pytest.mark.parametrize("name", available())
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients_the_value_is_the_same(name, mode):
    loss = make_loss(name, views=3).eval()
    want = loss(views_of(), torch.tensor(SCALE))
    with mode():
        assert torch.equal(loss(views_of(), torch.tensor(SCALE)), want)


@pytest.fixture
def seen(monkeypatch) -> list[list]:
    """The settings at every product of a loss; the processor may compute all of them in full precision."""
    readings, plain = [], Product.cells

    def cells(self, *arguments):
        readings.append([setting.read() for setting in island.switches()])
        return plain(self, *arguments)

    monkeypatch.setattr(Product, "cells", cells)
    return readings


@pytest.mark.parametrize(
    "switch", ["medium", "high", "allow_tf32", *(name for name in SWITCHES if name.startswith("own"))]
)
def test_products_are_in_full_precision_and_the_switch_comes_back(seen, switch):
    full = [setting.full for setting in island.switches()]
    loss = make_loss("normsv5", memory_mib=1)
    with SWITCHES[switch]():
        before = [setting.read() for setting in island.switches()]
        assert before != full
        step(loss, views_of(200))
        for _ in loss.rest_tiles([view.detach() for view in views_of(200)]):
            assert [setting.read() for setting in island.switches()] == before, (
                "the caller's own products are the caller's"
            )
        with pytest.raises(ValueError, match="views"):
            loss(views_of(200)[:1], torch.tensor(SCALE))
        assert [setting.read() for setting in island.switches()] == before
    assert len(seen) > 3
    assert all(readings == full for readings in seen)


def test_threads_that_overlap_leave_the_switch_as_it_was():
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with island.full_precision():
            inside.set()
            assert leave.wait(20)

    full = [setting.full for setting in island.switches()]
    with matmul_precision("medium"):
        before = [setting.read() for setting in island.switches()]
        thread = threading.Thread(target=other)
        thread.start()
        assert inside.wait(20)
        with island.full_precision():
            leave.set()
            thread.join(20)
            assert [setting.read() for setting in island.switches()] == full, (
                "the first thread has left, this one has not"
            )
        assert [setting.read() for setting in island.switches()] == before


def test_a_switch_that_is_set_meanwhile_stays():
    with matmul_precision("medium"):
        with island.full_precision():
            torch.set_float32_matmul_precision("high")
            chosen = [setting.read() for setting in island.switches()]
        assert [setting.read() for setting in island.switches()] == chosen
