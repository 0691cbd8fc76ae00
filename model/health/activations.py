"""Measures the outputs of the leaf modules of a network: moments, extremes, near-zero and saturated shares, dead units.
torch only.

Shapes: an output (..., D) has D units. A unit is dead while all its outputs stay near zero.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

NEAR_ZERO = 1e-6
# The output of a bounded activation function counts as saturated within this share of its range from either end.
MARGIN = 1e-3


def output_range(module: nn.Module) -> tuple[float, float] | None:
    """Returns the ends of the range of an activation function that is flat near both; None for any other module."""
    if isinstance(module, nn.Hardtanh):
        return module.min_val, module.max_val
    if isinstance(module, nn.Tanh):
        return -1.0, 1.0
    return (0.0, 1.0) if isinstance(module, (nn.Sigmoid, nn.Hardsigmoid)) else None


def saturated_share(output: Tensor, ends: tuple[float, float] | None) -> Tensor:
    """Returns the share of elements close to either end of the range, 0-dimensional; 0 without a range."""
    if ends is None:
        return torch.zeros((), device=output.device)
    low, high = ends
    margin = MARGIN * (high - low)
    return ((output < low + margin) | (output > high - margin)).float().mean()


def output_figures(output: Tensor, near_zero: float, ends: tuple[float, float] | None) -> Tensor:
    """Returns mean, variance, min, max, near-zero share and saturated share of one output: (6,) float32. No host
    synchronisation.
    """
    values = output.float()
    variance, mean = torch.var_mean(values, correction=0)
    low, high = torch.aminmax(values)
    zero_share = (values.abs() < near_zero).float().mean()
    return torch.stack([mean, variance, low, high, zero_share, saturated_share(values, ends)])


class ActivationMonitor:
    """Measures the outputs of the leaf modules of `model` between `register_hooks` and `remove_hooks`, or in a `with`
    block.
    """

    def __init__(self, model: nn.Module, near_zero: float = NEAR_ZERO) -> None:
        """near_zero: magnitudes below this count as zero."""
        self.model, self.near_zero = model, near_zero
        self._handles: list[RemovableHandle] = []
        self.clear()

    def __enter__(self) -> ActivationMonitor:
        self.register_hooks()
        return self

    def __exit__(self, *_: object) -> None:
        self.remove_hooks()

    def clear(self) -> None:
        """Discards all measurements."""
        self._figures: dict[str, list[tuple[int, Tensor]]] = defaultdict(list)
        self._peaks: dict[str, Tensor] = {}
        self._shapes: dict[str, list[int]] = {}

    def register_hooks(self) -> None:
        """Starts to measure all modules without children. Further calls change nothing."""
        if not self._handles:
            leaves = [(name, module) for name, module in self.model.named_modules() if not list(module.children())]
            self._handles = [
                module.register_forward_hook(self._hook(name, output_range(module))) for name, module in leaves
            ]

    def remove_hooks(self) -> None:
        """Stops to measure. Keeps the measurements."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def get_statistics(self) -> dict[str, dict[str, Any]]:
        """Returns, for each module path, mean, std, min, max, sparsity (share of near-zero elements), saturated
        (share), dead (share of units) and shape.

        The figures cover all calls since `clear`, weighted by their numbers of elements. shape: that of the last
        output. Synchronises once for each module.
        """
        return {name: self._statistics(name) for name in self._figures}

    def detect_dead_neurons(self, threshold: float = NEAR_ZERO) -> dict[str, float]:
        """Returns, for each module path with dead units, their share: units whose magnitude stayed below `threshold`
        in every call.
        """
        shares = {name: float((peak < threshold).float().mean()) for name, peak in self._peaks.items()}
        return {name: share for name, share in shares.items() if share > 0}

    def _hook(self, name: str, ends: tuple[float, float] | None) -> Callable[[nn.Module, Any, Any], None]:
        """Returns a forward hook that measures one module."""

        @torch.no_grad()
        def measure(module: nn.Module, inputs: Any, output: Any) -> None:
            if not isinstance(output, Tensor) or not output.is_floating_point() or output.numel() == 0:
                return
            values = output.detach()
            self._figures[name].append((values.numel(), output_figures(values, self.near_zero, ends)))
            units = values.float().abs().reshape(-1, values.shape[-1] if values.ndim else 1).amax(dim=0)
            peaks = self._peaks.get(name)
            self._peaks[name] = units if peaks is None or peaks.shape != units.shape else torch.maximum(peaks, units)
            self._shapes[name] = list(values.shape)

        return measure

    def _statistics(self, name: str) -> dict[str, Any]:
        """Combines the figures of one module over its calls."""
        counts = [count for count, _ in self._figures[name]]
        rows = torch.stack([row for _, row in self._figures[name]]).tolist()
        mean, variance, low, high, zero, saturated = map(list, zip(*rows, strict=True))
        total_mean = weighted_mean(mean, counts)
        squares = [v + (m - total_mean) ** 2 for v, m in zip(variance, mean, strict=True)]
        return {
            "mean": total_mean,
            "std": math.sqrt(weighted_mean(squares, counts)),
            "min": min(low),
            "max": max(high),
            "sparsity": weighted_mean(zero, counts),
            "saturated": weighted_mean(saturated, counts),
            "dead": float((self._peaks[name] < self.near_zero).float().mean()),
            "shape": self._shapes[name],
        }


def weighted_mean(values: Sequence[float], counts: Sequence[int]) -> float:
    """Returns the mean of `values`, each counted `counts` times."""
    return sum(count * value for count, value in zip(counts, values, strict=True)) / sum(counts)
