"""Unusual gradients: huge, subnormal, empty, sparse, half precision, complex, missing."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from model.health import GradientHealthMonitor
from tests.health.gradients import float64_norm, with_gradients


@pytest.mark.parametrize(
    ("value", "dtype"), [(1e20, torch.float32), (3e38, torch.float32), (1e200, torch.float64), (6e4, torch.float16)]
)
def test_large_finite_gradients_explode_but_are_not_inf(value, dtype):
    gradient = torch.full((4,), value, dtype=dtype)
    expected = 2 * float(gradient[0])
    monitor = GradientHealthMonitor(model=with_gradients(gradient))
    stats = monitor.check_gradients()
    assert (stats["has_nan"], stats["has_inf"]) == (False, False)
    assert stats["global_grad_norm"] == pytest.approx(expected, rel=1e-6)
    assert stats["recommendations"][0].startswith("⚠️ Exploding gradients")
    assert float(monitor.apply_gradient_clipping(max_norm=2.0)) == pytest.approx(expected, rel=1e-6)
    torch.testing.assert_close(gradient, torch.ones(4, dtype=dtype), rtol=1e-3, atol=0)


def test_the_global_norm_may_overflow_where_no_parameter_does():
    stats = GradientHealthMonitor(model=with_gradients(*[torch.tensor([1.5e19]) for _ in range(16)])).check_gradients()
    assert stats["global_grad_norm"] == pytest.approx(6e19, rel=1e-6)
    assert not stats["has_inf"]


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(1e-40, torch.float32), (1e-30, torch.float32), (1e-38, torch.bfloat16), (1e-300, torch.float64)],
)
def test_tiny_gradients_have_a_norm(value, dtype):
    gradient = torch.full((9,), value, dtype=dtype)
    stats = GradientHealthMonitor(model=with_gradients(gradient, torch.ones(1))).check_gradients()
    assert stats["min_grad_norm"] == pytest.approx(3 * float(gradient[0]), rel=1e-6)
    assert stats["recommendations"][0].startswith("⚠️ Vanishing gradients")
    alone = GradientHealthMonitor(model=with_gradients(gradient)).check_gradients()
    assert alone["global_grad_norm"] == pytest.approx(3 * float(gradient[0]), rel=1e-6)


@pytest.mark.parametrize(
    ("value", "flags"), [(math.nan, (True, False)), (math.inf, (False, True)), (-math.inf, (False, True))]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.complex64])
def test_one_bad_element_is_reported_by_name(value, flags, dtype):
    bad = torch.ones(3, 3, dtype=dtype)
    bad[1, 2] = value
    stats = GradientHealthMonitor(model=with_gradients(torch.ones(2), bad, torch.full((2,), 1e20))).check_gradients()
    assert (stats["has_nan"], stats["has_inf"]) == flags
    assert "(1)!" in stats["recommendations"][0]
    assert not math.isfinite(stats["global_grad_norm"])
    assert math.isnan(stats["max_grad_norm"]) == flags[0]
    assert stats["min_grad_norm"] == pytest.approx(math.sqrt(2), rel=1e-6)


def test_nan_and_inf_together_are_both_reported():
    stats = GradientHealthMonitor(model=with_gradients(torch.tensor([math.nan, math.inf]))).check_gradients()
    assert (stats["has_nan"], stats["has_inf"]) == (True, True)


def test_duplicate_rows_of_a_sparse_gradient_are_added():
    table = nn.Embedding(5, 2, sparse=True)
    (table(torch.tensor([1, 1, 3])) * torch.tensor([1.0, 2.0])).sum().backward()
    monitor = GradientHealthMonitor(model=table)
    stats = monitor.check_gradients(per_layer=True)
    expected = math.sqrt(2**2 + 4**2 + 1**2 + 2**2)
    assert stats["global_grad_norm"] == pytest.approx(expected, rel=1e-6)
    assert stats["layer_stats"]["weight"]["max"] == 4
    monitor.apply_gradient_clipping(max_norm=1.0)
    assert table.weight.grad.is_sparse
    assert float64_norm(table.weight.grad) == pytest.approx(1.0, rel=1e-5)


def test_a_sparse_gradient_without_rows_counts_as_zero():
    embedding = nn.Embedding(4, 3, sparse=True)
    embedding(torch.zeros(0, dtype=torch.int64)).sum().backward()
    stats = GradientHealthMonitor(embedding).check_gradients(per_layer=True)
    details = stats["layer_stats"]["weight"]
    assert [details[name] for name in ("norm", "mean", "std", "min", "max")] == [0] * 5


def test_half_precision_is_summed_in_float32():
    gradient = torch.full((1000,), 0.1, dtype=torch.bfloat16)
    stats = GradientHealthMonitor(model=with_gradients(gradient)).check_gradients()
    assert stats["global_grad_norm"] == pytest.approx(float64_norm(gradient), rel=1e-6)


def test_complex_gradients_count_by_magnitude():
    monitor = GradientHealthMonitor(model=with_gradients(torch.tensor([3 + 4j, 12j])))
    assert monitor.check_gradients()["global_grad_norm"] == pytest.approx(13.0)
    monitor.apply_gradient_clipping(max_norm=6.5)
    assert monitor.check_gradients()["global_grad_norm"] == pytest.approx(6.5, rel=1e-6)


def test_types_may_be_mixed():
    types = [torch.float32, torch.bfloat16, torch.float64, torch.float16, torch.complex64]
    gradients = [torch.full((3,), 0.5 + index, dtype=dtype) for index, dtype in enumerate(types)]
    monitor = GradientHealthMonitor(model=with_gradients(*gradients))
    assert monitor.check_gradients()["global_grad_norm"] == pytest.approx(float64_norm(*gradients), rel=1e-6)
    monitor.apply_gradient_clipping(max_norm=1.0)
    assert float64_norm(*gradients) == pytest.approx(1.0, rel=1e-2), "half precision rounds to three digits"


def test_empty_gradients_do_not_count_as_the_smallest_norm():
    stats = GradientHealthMonitor(model=with_gradients(torch.zeros(0), torch.ones(4))).check_gradients()
    assert (stats["min_grad_norm"], stats["global_grad_norm"]) == (2.0, 2.0)
    assert stats["recommendations"] == []


@pytest.mark.parametrize(
    "gradients", [(), (None,), (torch.zeros(0),)], ids=["no_parameters", "no_gradients", "empty_gradient"]
)
def test_nothing_to_measure(gradients):
    stats = GradientHealthMonitor(model=with_gradients(*gradients)).check_gradients()
    assert [stats[f"{kind}_grad_norm"] for kind in ("global", "max", "min", "mean")] == [0, 0, 0, 0]
    assert stats["param_count"] == len(gradients)


def test_unused_parameters_are_named_and_frozen_ones_are_not():
    net = with_gradients(torch.ones(2), None, None)
    net[2].requires_grad_(False)
    stats = GradientHealthMonitor(model=net).check_gradients()
    assert (stats["param_count"], stats["params_with_grads"]) == (3, 1)
    (advice,) = stats["recommendations"]
    assert advice.startswith("⚠️ 1 trained parameters have no gradient (1)!")
