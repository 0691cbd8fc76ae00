"""The old loss files give the original's figures, and finite gradients where the original gave NaN or Inf."""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Callable
from functools import reduce
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
FIGURES = json.loads((GOLDEN / "old_losses.json").read_text(encoding="utf-8"))
VIEWS = {name: torch.tensor(views, dtype=torch.float64) for name, views in FIGURES["views"].items()}
CALLS = FIGURES["calls"]
RAISED = [call for call in CALLS if call.get("error")]
MODULES = ("LossCalculation", "nargsLossCalculation")
# The calculate_ functions of views (B, F), each of which gives one tensor.
FUNCTIONS = [
    (module, f"calculate_loss{suffix}")
    for module, last in zip(MODULES, (10, 8), strict=True)
    for suffix in ("", *range(1, 9), "Norms", *(f"Normsv{k}" for k in range(2, last)))
]
VERSIONS = [(module, version, norm) for module in MODULES for version in range(-1, 19) for norm in (False, True)]

pytestmark = pytest.mark.filterwarnings("ignore:.*is an old name:DeprecationWarning")


def old(module: str, name: str) -> Callable:
    """A function of an old module."""
    return getattr(importlib.import_module(f"model.{module}"), name)


def results_of(call: dict) -> tuple[Tensor, ...]:
    """The tensors that the function of a golden call returns."""
    module, name = call["call"].split(".")
    views, keywords = VIEWS[call["views"]].unbind()[: call.get("take")], dict(call["args"])
    if "mean_fn" in keywords:
        keywords["mean_fn"] = old(module, keywords["mean_fn"])
    if name == "get_loss_fn":
        logits = old(module, name)(**keywords)(*views)
    else:
        logits = old(module, name)(views, **keywords) if call["one"] else old(module, name)(*views, **keywords)
    return logits if isinstance(logits, tuple) else (logits,)


def test_there_are_136_figures_and_three_calls_that_raised():
    assert (len(CALLS), len(RAISED)) == (139, 3)


@pytest.mark.parametrize("name", sorted({call["call"] for call in CALLS}))
def test_the_golden_figures(name):
    for call in CALLS:
        if call["call"] == name and not call.get("error"):
            for logits, shape, figures in zip(results_of(call), call["shape"], call["out"], strict=True):
                assert list(logits.shape) == shape, call["args"]
                torch.testing.assert_close(
                    logits.flatten(),
                    torch.tensor(figures, dtype=torch.float64),
                    rtol=0,
                    atol=1e-9,
                    msg=str(call["args"]),
                )


def spread_out(views: Tensor) -> list[Tensor]:
    """Gives each view its own axis before the features."""
    n, size, features = views.shape
    return [view.reshape([size if axis == k else 1 for axis in range(n)] + [features]) for k, view in enumerate(views)]


def test_calls_that_raised_do_not_scale_rows():
    views = spread_out(VIEWS["six"])
    total, squares, magnitudes = sum(views), sum(x**2 for x in views), sum(x.abs() for x in views)
    expected = (total.abs() / 6**1.5 + magnitudes / 6 - squares.sqrt()).sum(-1)
    for call in RAISED:
        torch.testing.assert_close(results_of(call)[0], expected, rtol=1e-12, atol=1e-12)


def plain(name: str, views: Tensor, mean: Callable[..., Tensor]) -> Tensor:
    """The formulas of the nargs file without any guard, for a sum over views `mean`."""
    x, n = spread_out(views), len(views)
    total, squares = mean(*x), mean(*(view**2 for view in x))
    spread, magnitude, length = (
        squares - total**2 / n,
        mean(*(view.abs() for view in x)) / n,
        total.norm(dim=-1, keepdim=True),
    )
    rests = [mean(*(x[j] for j in range(n) if j != k)) for k in range(n)]
    return {
        "1": lambda: spread.abs().sqrt().mean(-1),
        "2": lambda: spread.sqrt().mean(-1),
        "3": lambda: spread.norm(dim=-1),
        "4": lambda: squares.sqrt().sum(-1),
        "5": lambda: spread.sum(-1),
        "6": lambda: spread.sum(-1).sqrt(),
        "7": lambda: spread.abs().sum(-1),
        "8": lambda: spread,
        "Norms": lambda: (total * total / length).sum(-1),
        "Normsv2": lambda: (total * total / length).sum(-1),
        "Normsv3": lambda: length.squeeze(-1) / n,
        "Normsv4": lambda: mean(*((view * total / length).sum(-1) for view in x)),
        "Normsv5": lambda: mean(
            *((view * rest / rest.norm(dim=-1, keepdim=True)).sum(-1) for view, rest in zip(x, rests, strict=True))
        ),
        "Normsv6": lambda: (magnitude * (1 - math.sqrt(n)) + squares.sqrt()).sum(-1),
        "Normsv7": lambda: (magnitude * (1 + math.sqrt(n)) - squares.sqrt()).sum(-1),
        "": lambda: reduce(torch.mul, x).sum(-1),
    }[name.removeprefix("calculate_loss")]()


def shrinking(*vecs: Tensor) -> Tensor:
    """(1 - 4 / Q) S."""
    return (1 - 4 / sum(view**2 for view in vecs)) * sum(vecs)


@pytest.mark.parametrize("name", [name for module, name in FUNCTIONS if module == MODULES[1]])
@pytest.mark.parametrize("mean", ["calc_mean", "JSE_mean", "another"])
def test_values_and_gradients_are_those_of_the_plain_formulas(name, mean):
    # No element is near 0, so that the square roots of JSE_mean's figures are those of positive numbers.
    views = VIEWS["three"] + 2 * VIEWS["three"].sign()
    function = {"calc_mean": lambda *vecs: sum(vecs), "JSE_mean": shrinking, "another": lambda *vecs: sum(vecs) / 2}[
        mean
    ]
    ours, theirs = (views.clone().requires_grad_() for _ in range(2))
    mine = old(MODULES[1], name)(*ours, mean_fn=function if mean == "another" else old(MODULES[1], mean))
    reference = plain(name, theirs, function)
    torch.testing.assert_close(mine, reference, rtol=1e-9, atol=1e-9)
    weights = torch.linspace(1, 2, mine.numel(), dtype=torch.float64).reshape(mine.shape)
    for logits in (mine, reference):
        (logits * weights).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-9)


def test_figures_of_negative_spreads():
    views = VIEWS["three"]
    assert (plain("calculate_loss8", views, shrinking) < 0).any()
    for name in ("calculate_loss1", "calculate_loss3", "calculate_loss5", "calculate_loss7", "calculate_loss8"):
        figures = old(MODULES[1], name)(*views, mean_fn=old(MODULES[1], "JSE_mean"))
        torch.testing.assert_close(figures, plain(name, views, shrinking), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("version", range(-1, 17))
@pytest.mark.parametrize("n", [2, 5])
def test_versions_of_normalised_rows_give_the_figures_of_other_numbers_of_views(version, n):
    names = (
        "pairwise", "einsum", "loss2", "loss3", "loss4", "loss5", "loss6", "loss1", "norms", "normsv2", "normsv3",
        "normsv4", "normsv5", "normsv5",
        "loss7", "loss8", "normsv6", "normsv7",
    )  # fmt: skip
    with np.load(GOLDEN / f"logits_n{n}.npz") as golden:
        views, expected = torch.from_numpy(golden["views"]), torch.from_numpy(golden[names[version + 1]])
    rows = torch.nn.functional.normalize(views, dim=-1) if version == 12 else views
    torch.testing.assert_close(old(MODULES[1], "get_loss_fn")(version, True)(*rows), expected, rtol=0, atol=1e-6)


def test_james_stein_replaces_the_sum_with_jse():
    views = VIEWS["three"]
    rows = views / (views.norm(dim=-1, keepdim=True) + 1e-8)
    chosen = old(MODULES[1], "get_loss_fn")(logitsversion=4, norm=True, JSE=1)
    torch.testing.assert_close(chosen(*views), 1 - plain("calculate_loss5", rows, shrinking), rtol=1e-9, atol=1e-9)


def degenerate(n: int) -> dict[str, Tensor]:
    """Views at which roots, lengths and quotients of the formulas are those of 0."""
    views = torch.randn(n, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    zero_row, cancelling = views.clone(), views.clone()
    zero_row[0, 1] = 0
    cancelling[1] = -cancelling[0]
    cancelling[2:] = 0
    return {
        "zero": torch.zeros_like(views),
        "identical": views[:1].expand(n, -1, -1).clone(),
        "zero row": zero_row,
        "cancelling": cancelling,
    }


def assert_finite(function: Callable[..., Tensor], views: Tensor) -> None:
    """Value and gradient of every element."""
    views = views.clone().requires_grad_()
    logits = function(*views)
    assert logits.isfinite().all()
    (gradient,) = torch.autograd.grad(logits.sum(), views)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("kind", degenerate(6))
@pytest.mark.parametrize("module", MODULES)
def test_gradients_are_finite_everywhere(module, kind):
    views = degenerate(6 if module == MODULES[0] else 3)[kind]
    for _, name in (entry for entry in FUNCTIONS if entry[0] == module):
        assert_finite(old(module, name), views)
        if module == MODULES[1]:
            assert_finite(lambda *vecs, name=name: old(module, name)(*vecs, mean_fn=old(module, "JSE_mean")), views)
    for _, version, norm in (entry for entry in VERSIONS if entry[0] == module):
        assert_finite(old(module, "get_loss_fn")(version, norm), views)
    assert_finite(lambda *vecs: torch.stack(old(module, "normargs")(*vecs)), views)


@pytest.mark.parametrize("module", MODULES)
def test_numbers_that_a_file_did_not_have_are_refused(module):
    for version in (-2, 19):
        with pytest.raises(ValueError, match=f"logitsversion={version} is not known; allowed: -1, 0, 1, "):
            old(module, "get_loss_fn")(version)


@pytest.mark.parametrize("module", MODULES)
def test_the_small_functions(module):
    x = torch.tensor([[3.0, 4.0], [0.0, 0.5]])
    assert torch.equal(old(module, "oneminus")(x), 1 - x)
    torch.testing.assert_close(old(module, "logargs")(x[0]), torch.tensor([math.log(3), math.log(4)]))
    assert old(module, "null")(1, "two") == (1, "two")
    torch.testing.assert_close(
        torch.stack(old(module, "normargs")(x, 2 * x)), torch.tensor([[[0.6, 0.8], [0.0, 1.0]]] * 2)
    )
    image, text = [torch.tensor(1.0)], [torch.tensor(2.0), torch.tensor(6.0)]
    assert old(module, "add_loss_sum")(image, text) == 1 + 4
    assert old(module, "add_loss_sum2")(I=image, T=text) == 3
    assert old(module, "get_loss_sum")(True)(image, text) == 5
    assert old(module, "get_loss_sum")()(image, text) == 3


def test_the_means():
    views = [torch.tensor([1.0, 0.0]), torch.tensor([3.0, 0.0])]
    assert torch.equal(old(MODULES[1], "calc_mean")(*views), torch.tensor([4.0, 0.0]))
    torch.testing.assert_close(old(MODULES[1], "JSE_mean")(*views), torch.tensor([4 - 16 / 10, 0.0]))


def test_pairs_of_any_number_of_views():
    views = VIEWS["three"]
    pairs = old(MODULES[1], "Fast_loss_Hdim")(*views)
    assert pairs.shape == (3, 3, 9)
    assert pairs[2, 1, 0 * 3 + 2] == pytest.approx(float(views[2][2] @ views[0][1]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision_is_computed_in_float32(dtype):
    views = (VIEWS["six"] * 1e-3).to(dtype)
    exact = views.double()
    for module, name in FUNCTIONS:
        logits = old(module, name)(*views)
        assert logits.dtype == torch.float32
        torch.testing.assert_close(logits.double(), old(module, name)(*exact), rtol=1e-5, atol=1e-6)
