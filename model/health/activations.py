"""What the leaf modules of a network give out: moments, extremes, near-zero and saturated shares, dead units. torch
only.

Shapes: an output (..., D) has D units; a unit is dead while all its outputs stay near zero.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

NEAR_ZERO = 1e-6
# A bounded activation counts as saturated within this share of its range from either end.
MARGIN = 1e-3
FIGURES = ("mean", "variance", "min", "max", "near_zero", "saturated")


def bounds(module: nn.Module) -> tuple[float, float] | None:
    """The ends of the range of an activation function that flattens towards both, None for any other module."""
    if isinstance(module, nn.Hardtanh):
        return module.min_val, module.max_val
    if isinstance(module, nn.Tanh):
        return -1.0, 1.0
    return (0.0, 1.0) if isinstance(module, (nn.Sigmoid, nn.Hardsigmoid)) else None


def saturated_share(output: Tensor, ends: tuple[float, float] | None) -> Tensor:
    """Share of elements close to either end of the range, 0-dimensional; 0 without a range."""
    if ends is None:
        return torch.zeros((), device=output.device)
    low, high = ends
    margin = MARGIN * (high - low)
    return ((output < low + margin) | (output > high - margin)).float().mean()


def figures(output: Tensor, near_zero: float, ends: tuple[float, float] | None) -> Tensor:
    """(6,) float32 `FIGURES` of one output; no host synchronisation."""
    values = output.float()
    variance, mean = torch.var_mean(values, correction=0)
    low, high = torch.aminmax(values)
    return torch.stack(
        [mean, variance, low, high, (values.abs() < near_zero).float().mean(), saturated_share(values, ends)]
    )


class ActivationMonitor:
    """Watches the leaf modules of `model` between `register_hooks` and `remove_hooks`, or inside a with block."""

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
        """Forgets what was seen."""
        self._seen: dict[str, list[tuple[int, Tensor]]] = defaultdict(list)
        self._peaks: dict[str, Tensor] = {}
        self._shapes: dict[str, list[int]] = {}

    def register_hooks(self) -> None:
        """Starts to watch every module without children; once, however often it is called."""
        if not self._handles:
            leaves = [(name, module) for name, module in self.model.named_modules() if not list(module.children())]
            self._handles = [module.register_forward_hook(self._hook(name, bounds(module))) for name, module in leaves]

    def remove_hooks(self) -> None:
        """Stops watching; what was seen stays."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def get_statistics(self) -> dict[str, dict[str, Any]]:
        """Module path -> mean, std, min, max, sparsity (share of near-zero elements), saturated (share), dead (share of
        units), shape.

        Over all calls since `clear`, weighed by their numbers of elements; shape is that of the last output.
        Synchronises once a module.
        """
        return {name: self._merged(name) for name in self._seen}

    def detect_dead_neurons(self, threshold: float = NEAR_ZERO) -> dict[str, float]:
        """Module path -> share of units whose magnitude stayed below `threshold` in every call, where there are any."""
        shares = {name: float((peak < threshold).float().mean()) for name, peak in self._peaks.items()}
        return {name: share for name, share in shares.items() if share > 0}

    def _hook(self, name: str, ends: tuple[float, float] | None) -> Callable[[nn.Module, Any, Any], None]:
        @torch.no_grad()
        def look(module: nn.Module, inputs: Any, output: Any) -> None:
            if not isinstance(output, Tensor) or not output.is_floating_point() or output.numel() == 0:
                return
            seen = output.detach()
            self._seen[name].append((seen.numel(), figures(seen, self.near_zero, ends)))
            units = seen.float().abs().reshape(-1, seen.shape[-1] if seen.ndim else 1).amax(dim=0)
            before = self._peaks.get(name)
            self._peaks[name] = units if before is None or before.shape != units.shape else torch.maximum(before, units)
            self._shapes[name] = list(seen.shape)

        return look

    def _merged(self, name: str) -> dict[str, Any]:
        """The statistics of one module over its calls."""
        counts = [count for count, _ in self._seen[name]]
        rows = torch.stack([row for _, row in self._seen[name]]).tolist()
        total = sum(counts)

        def averaged(column: list[float]) -> float:
            return sum(count * value for count, value in zip(counts, column, strict=True)) / total

        mean, variance, low, high, zero, saturated = map(list, zip(*rows, strict=True))
        centre = averaged(mean)
        spread = averaged([v + (m - centre) ** 2 for v, m in zip(variance, mean, strict=True)])
        shares = {"sparsity": averaged(zero), "saturated": averaged(saturated)}
        dead = float((self._peaks[name] < self.near_zero).float().mean())
        return (
            {"mean": centre, "std": math.sqrt(spread), "min": min(low), "max": max(high)}
            | shares
            | {"dead": dead, "shape": self._shapes[name]}
        )
