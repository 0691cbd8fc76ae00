"""Losses that are equal, losses that are symmetric in the views, and equal results of all evaluations."""

import itertools

import pytest
import torch

from model.losses import make_loss
from model.losses.compiled import native
from tests.losses.names import TUPLES

# Names of the original code for the same loss: (name, other name, difference of their scores for F = 7).
EQUAL = [
    ("loss1", "loss2", 0),
    ("loss7", "loss5", 0),
    ("loss8", "loss5", 6),
    ("normsv2", "norms", 0),
    ("normsv4", "norms", 0),
    ("stable_einsum", "einsum", 0),
    ("stable_norm", "norms", 0),
]


def draw(n=3, rows=5, features=7, dtype=torch.float64):
    return torch.randn(n, rows, features, generator=torch.Generator().manual_seed(4), dtype=torch.float64).to(dtype)


def run(loss, x):
    x = x.clone().requires_grad_()
    value = loss(x, torch.tensor(9.0, dtype=torch.float64))
    value.backward()
    return value.detach(), x.grad


@pytest.mark.parametrize(("name", "other", "difference"), EQUAL)
def test_two_names_of_one_loss(name, other, difference):
    a, b, x = make_loss(name), make_loss(other), draw()
    torch.testing.assert_close(a.score(x), b.score(x) + difference, rtol=1e-7, atol=1e-8)
    torch.testing.assert_close(run(a, x), run(b, x), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", TUPLES)
def test_views_may_change_places(name):
    loss, x = make_loss(name), draw()
    value, grad = run(loss, x)
    for order in itertools.permutations(range(3)):
        torch.testing.assert_close(loss.score(x[list(order)]), loss.score(x).permute(order), rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(run(loss, x[list(order)]), (value, grad[list(order)]), rtol=1e-8, atol=1e-11)


def test_extremes_equals_none_along_lines_but_not_with_soft_targets():
    x = draw(4)
    plain, extremes = ({"mask": mask, "targets": "diagonal"} for mask in ("none", "extremes"))
    torch.testing.assert_close(run(make_loss("norms", **plain), x), run(make_loss("norms", **extremes), x))
    soft = [make_loss("norms", mask=mask, targets="soft")(x, torch.tensor(9.0)) for mask in ("none", "extremes")]
    assert abs(soft[0] - soft[1]) > 1e-3


@pytest.mark.parametrize(
    "name",
    ["einsum", "loss1", "loss3", "norms", "normsv5", "normsv8", "normsv9", "stable_cosine", "stable_norm", "gram"],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_without_compiled_code_the_loss_is_the_same(compiler, name, dtype):
    x = draw(3, 140, 7, dtype)
    compiled, eager = (run(make_loss(name, backend=backend), x) for backend in ("compiled", "eager"))
    tolerance = 1e-5 if dtype == torch.float32 else 1e-9
    torch.testing.assert_close(eager, compiled, rtol=tolerance, atol=tolerance * compiled[1].abs().max().item())


@pytest.mark.parametrize("name", ["norms", "normsv5", "loss1", "loss3", "normsv8", "normsv9"])
def test_an_elementwise_loss_says_that_it_is_slow_without_a_compiler(name, monkeypatch):
    monkeypatch.setattr(native, "compiler", lambda: None)
    notices = make_loss(name).notices
    assert any("no C++ compiler" in notice for notice in notices) == (name in ("loss1", "loss3", "normsv8", "normsv9"))
    assert make_loss(name, backend="eager").notices == ()


def test_a_compiler_that_fails_gives_its_first_error(compiler, monkeypatch, tmp_path):
    monkeypatch.setattr(native, "cache_folder", lambda: tmp_path)
    library, problem = native.build("this is not C++")
    assert library is None
    assert "kernel.cpp:1:1: error" in problem
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["norms", "normsv5"])
def test_less_memory_gives_the_same_loss(name):
    x = draw(4, 500, 8)
    torch.testing.assert_close(
        run(make_loss(name, memory_mib=1), x), run(make_loss(name, memory_mib=400), x), rtol=1e-9, atol=1e-13
    )
