"""GradientHealthMonitor: its statistics against norms computed in float64, its clipping against torch's."""

from __future__ import annotations

import logging
import math

import pytest
import torch
from torch import nn

from model.health import GradientHealthMonitor
from tests.health.gradients import float64_norm, with_gradients


@pytest.fixture
def backward() -> nn.Module:
    """A network after a backward pass."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(7, 5), nn.GELU(), nn.Linear(5, 3))
    (10 * net(torch.randn(11, 7)).square().sum()).backward()
    return net


def test_statistics_are_the_definition(backward):
    stats = GradientHealthMonitor(model=backward).check_gradients()
    norms = {name: float64_norm(p.grad) for name, p in backward.named_parameters()}
    assert stats["global_grad_norm"] == pytest.approx(math.sqrt(math.fsum(n * n for n in norms.values())), rel=1e-6)
    assert stats["max_grad_norm"] == pytest.approx(max(norms.values()), rel=1e-6)
    assert stats["min_grad_norm"] == pytest.approx(min(norms.values()), rel=1e-6)
    assert stats["mean_grad_norm"] == pytest.approx(math.fsum(norms.values()) / 4, rel=1e-6)
    assert {name: entry["norm"] for name, entry in stats["layer_stats"].items()} == pytest.approx(norms, rel=1e-6)
    assert stats["layer_stats"]["0.weight"]["shape"] == [5, 7]
    assert (stats["has_nan"], stats["has_inf"]) == (False, False)
    assert (stats["param_count"], stats["params_with_grads"]) == (4, 4)


def test_the_figures_have_documented_names(backward):
    monitor = GradientHealthMonitor(model=backward)
    norms = {f"{kind}_grad_norm" for kind in ("global", "max", "min", "mean")}
    assert set(monitor.check_gradients()) == norms | {
        "has_nan", "has_inf", "layer_stats", "recommendations", "param_count", "params_with_grads",
    }  # fmt: skip
    assert set(monitor.get_gradient_flow_summary()) == {
        f"layers_with_{kind}_grads" for kind in ("vanishing", "exploding", "healthy")
    }


def test_clipping_is_torchs_bit_for_bit(backward):
    twin = [p.grad.clone() for p in backward.parameters()]
    reference = with_gradients(*twin)
    before = torch.nn.utils.clip_grad_norm_(reference.parameters(), 0.7)
    assert torch.equal(GradientHealthMonitor(model=backward).apply_gradient_clipping(max_norm=0.7), before)
    for parameter, expected in zip(backward.parameters(), reference, strict=True):
        assert torch.equal(parameter.grad, expected.grad)


def test_clipping_measures_again_when_gradients_changed(backward):
    monitor = GradientHealthMonitor(model=backward)
    first = monitor.check_gradients()["global_grad_norm"]
    for parameter in backward.parameters():
        parameter.grad.mul_(3)
    assert float(monitor.apply_gradient_clipping()) == pytest.approx(3 * first, rel=1e-6)
    assert monitor.check_gradients()["global_grad_norm"] == pytest.approx(1.0, rel=1e-5)


def test_flow_summary_sorts_by_the_thresholds():
    net = with_gradients(torch.tensor([3.0, 4.0]), torch.tensor([1e-9]), torch.tensor([600.0, 800.0]))
    summary = GradientHealthMonitor(
        model=net, vanishing_threshold=1e-7, exploding_threshold=100.0
    ).get_gradient_flow_summary()
    assert summary["layers_with_healthy_grads"] == [("0", 5.0)]
    assert [name for name, _ in summary["layers_with_vanishing_grads"]] == ["1"]
    assert summary["layers_with_exploding_grads"] == [("2", 1000.0)]


def test_summary_line_and_advice(caplog):
    monitor = GradientHealthMonitor(
        model=with_gradients(torch.tensor([300.0, 400.0]), torch.tensor([0.5])), log_frequency=100
    )
    with caplog.at_level(logging.INFO):
        stats = monitor.check_gradients()
        for step in (99, 100, 200):
            monitor.log_statistics(stats, step=step)
    summaries = [record.message for record in caplog.records if record.levelno == logging.INFO]
    advice = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert summaries[0] == "Step 100 - Gradient Health: Global Norm=500.00, Max=500.00, Min=5.00e-01"
    assert len(summaries) == 2
    assert len(advice) == 1, "the same kind of advice passes once in a span"
    assert "Exploding gradients detected (norm=500.00)!" in advice[0]
    assert all(f"({number})" in advice[0] for number in (1, 2, 3))
    assert stats["recommendations"] == advice


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"log_frequency": 0}, "log_frequency=0 is too small; allowed: 1 or more"),
        ({"grad_clip_threshold": -1.0}, "grad_clip_threshold=-1.0 is too small; allowed: 0 or more"),
        ({"vanishing_threshold": math.nan}, "vanishing_threshold=nan is too small"),
        (
            {"exploding_threshold": 1e-9},
            "exploding_threshold=1e-09 is too small; allowed: a number above vanishing_threshold=1e-07",
        ),
    ],
)
def test_numbers_out_of_range_are_refused(backward, keys, message):
    with pytest.raises(ValueError, match=message):
        GradientHealthMonitor(model=backward, **keys)


def test_a_negative_norm_is_refused(backward):
    with pytest.raises(ValueError, match=r"max_norm=-1\.0 is too small; allowed: 0 or more"):
        GradientHealthMonitor(model=backward).apply_gradient_clipping(max_norm=-1.0)


def test_per_layer_details_on_request(backward):
    details = GradientHealthMonitor(model=backward).check_gradients(per_layer=True)["layer_stats"]["0.weight"]
    values = backward[0].weight.grad.double().flatten()
    assert details["mean"] == pytest.approx(float(values.mean()))
    assert details["std"] == pytest.approx(float(values.std()))
    assert (details["min"], details["max"]) == (float(values.min()), float(values.max()))
    assert sum(details["histogram"]) == values.numel()
