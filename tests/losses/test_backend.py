"""`loss.backend`: eager never runs compiled code, compiled always does or refuses, auto chooses."""

from __future__ import annotations

import pytest
import torch

from model.errors import ConfigError
from model.losses import available, make_loss
from model.losses.compiled import native
from model.losses.compiled.feature_kernel import FeatureKernel
from model.losses.compiled.line_kernel import LineCall
from model.losses.compiled.row_kernel import RowCall
from tests.compiler import require_compiler

SCALE = torch.tensor(5.0)
# Options with which no part of the loss has compiled code.
DENSE = [{"evaluation": "dense"}, {"targets": "soft"}, {"mask": "sigmoid"}]


def draw(rows: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(3, rows, 16, generator=torch.Generator().manual_seed(rows)).to(dtype)


def step(loss, views: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss and its gradient with respect to the views."""
    views = views.clone().requires_grad_()
    value = loss(views, SCALE)
    value.backward()
    return value.detach().double(), views.grad.double()


@pytest.fixture
def calls(monkeypatch, compiler) -> set[str]:
    """The kinds of kernels that have been called."""
    names: set[str] = set()
    for kind, method in ((LineCall, "__call__"), (RowCall, "__call__"), (FeatureKernel, "cells")):
        plain = getattr(kind, method)

        def counted(self, *arguments, plain=plain):
            names.add(type(self).__name__)
            return plain(self, *arguments)

        monkeypatch.setattr(kind, method, counted)
    return names


@pytest.mark.parametrize(
    ("backend", "rows", "dtype", "expected"),
    [
        ("eager", 64, torch.float32, set()),
        ("auto", 8, torch.float32, {"LineCall", "RowCall"}),
        ("auto", 700, torch.float32, {"LineCall", "RowCall"}),
        ("compiled", 2, torch.float32, {"LineCall", "RowCall"}),
        ("compiled", 8, torch.bfloat16, {"LineCall", "RowCall"}),
        ("compiled", 8, torch.float64, {"LineCall"}),
    ],
)
def test_which_kernels_are_called(calls, backend, rows, dtype, expected):
    step(make_loss("norms", backend=backend), draw(rows, dtype))
    assert calls == expected


@pytest.mark.parametrize(
    ("backend", "expected"), [("eager", set()), ("compiled", {"LineCall", "RowCall", "FeatureKernel"})]
)
def test_sums_over_features_follow_the_backend_too(calls, backend, expected):
    loss = make_loss("loss4", backend=backend)
    step(loss, draw(8))
    assert calls == expected
    calls.clear()
    loss.lines(draw(8))
    loss.row_figures(draw(8), SCALE)
    assert calls == expected - {"LineCall", "RowCall"}


@pytest.mark.parametrize("name", available())
def test_small_batches_have_the_same_loss_compiled(compiler, name):
    views = draw(5)
    compiled, eager = (step(make_loss(name, views=3, backend=backend), views) for backend in ("compiled", "eager"))
    torch.testing.assert_close(compiled, eager, rtol=1e-5, atol=1e-5 * eager[1].abs().max().item())


def test_a_batch_of_one_row_is_compiled_too(calls):
    value, grad = step(make_loss("norms", backend="compiled"), draw(1))
    assert calls == {"LineCall", "RowCall"}
    assert value == 0
    assert not grad.any()


@pytest.mark.parametrize("options", DENSE)
def test_a_loss_without_compiled_code_refuses_it_when_it_is_made(options):
    with pytest.raises(ConfigError, match=r"^loss\.backend=compiled is not possible: loss=norms") as error:
        make_loss("norms", backend="compiled", **options)
    assert str(error.value).endswith("allowed: auto, eager")
    make_loss("norms", backend="auto", **options)


def test_no_compiler_is_refused_when_the_loss_is_made(monkeypatch):
    monkeypatch.setattr(native, "problem", lambda: native.build("").problem)
    monkeypatch.setattr(native, "compiler", lambda: None)
    with pytest.raises(ConfigError, match=r"no C\+\+ compiler found") as error:
        make_loss("norms", backend="compiled")
    assert all(name in str(error.value) for name in ("CXX", "c++", "g++", "clang++"))
    make_loss("norms", backend="eager")


def test_a_compiler_that_fails_is_refused_with_its_first_error(monkeypatch, tmp_path):
    broken = tmp_path / "broken-c++"
    broken.write_text("#!/bin/sh\necho 'note: hello' >&2\necho 'fatal error: no disk' >&2\necho 'more' >&2\nexit 1\n")
    broken.chmod(0o700)
    monkeypatch.setattr(native, "problem", lambda: native.build("").problem)
    monkeypatch.setattr(native, "compiler", lambda: str(broken))
    monkeypatch.setattr(native, "cache_folder", lambda: tmp_path)
    with pytest.raises(ConfigError) as error:
        make_loss("norms", backend="compiled")
    assert "broken-c++: fatal error: no disk; allowed" in str(error.value)


def test_views_on_another_device_are_refused_at_the_call(compiler):
    views = draw(64).to("meta")
    with pytest.raises(ValueError, match=r"views: on meta given; accepted: cpu, where loss\.backend=compiled"):
        make_loss("norms", backend="compiled")(views, SCALE)


def test_an_unknown_backend_is_refused():
    with pytest.raises(ConfigError, match=r"loss\.backend=native is not known; allowed: auto, eager, compiled"):
        make_loss("norms", backend="native")


@pytest.mark.parametrize(("value", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_a_missing_compiler_fails_tests_where_ci_is_set(monkeypatch, value, outcome):
    monkeypatch.setattr(native, "problem", lambda: native.NO_COMPILER)
    monkeypatch.setenv("CI", value)
    with pytest.raises(outcome, match=r"needs a C\+\+ compiler: no C\+\+ compiler found"):
        require_compiler()
