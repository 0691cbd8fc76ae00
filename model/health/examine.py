"""Turns the norms of one measurement into a report: exact figures, and the names of bad gradients. torch only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from model.health.stats import SMALLEST_TRUSTED, corrected_norms, nonfinite_kinds, root_sum_square


@dataclass(frozen=True)
class GradientReport:
    """The Euclidean norms of gradients by parameter name, and the names of gradients that hold a NaN or an Inf."""

    norms: Mapping[str, float]
    global_norm: float
    """The norm of all gradients as one vector; NaN or Inf only where an element is."""
    nan: tuple[str, ...] = ()
    """The parameters whose gradients hold a NaN."""
    inf: tuple[str, ...] = ()
    """The parameters whose gradients hold an Inf."""

    @property
    def finite(self) -> bool:
        """Whether every element of every gradient is finite."""
        return not self.nan and not self.inf

    @property
    def max_norm(self) -> float:
        """The largest norm of a parameter's gradient; NaN where a gradient holds a NaN, 0 without gradients."""
        return math.nan if self.nan else max(self.norms.values(), default=0.0)

    @property
    def min_norm(self) -> float:
        """The smallest norm of a parameter's gradient, NaN left out; 0 where no norm is left."""
        return smallest(self.norms)[1]

    @property
    def mean_norm(self) -> float:
        """The mean of the parameters' norms; 0 without gradients."""
        return sum(self.norms.values()) / len(self.norms) if self.norms else 0.0


def examine(names: Sequence[str], gradients: Sequence[Tensor], norms: Sequence[float], total: float) -> GradientReport:
    """Returns the report of P gradients from their P `norms` and the norm `total` of all, as `stats` computes them.

    Reads elements only where a norm is outside the range in which its squares can be trusted.
    """
    exact = corrected_norms(gradients, norms)
    kinds = {
        name: nonfinite_kinds(gradient)
        for name, gradient, norm in zip(names, gradients, exact, strict=True)
        if not math.isfinite(norm)
    }
    trusted = kinds or (math.isfinite(total) and total > SMALLEST_TRUSTED)
    return GradientReport(
        norms=dict(zip(names, exact, strict=True)),
        global_norm=total if trusted else root_sum_square(exact),
        nan=tuple(name for name, (nan, _) in kinds.items() if nan),
        inf=tuple(name for name, (_, inf) in kinds.items() if inf),
    )


def smallest(norms: Mapping[str, float]) -> tuple[str, float]:
    """Returns the name and value of the smallest norm, NaN left out; an empty name and 0 where no norm is left."""
    numbers = ((name, norm) for name, norm in norms.items() if not math.isnan(norm))
    return min(numbers, key=lambda pair: pair[1], default=("", 0.0))


def split_by_health(
    norms: Mapping[str, float], vanishing: float, exploding: float
) -> dict[str, list[tuple[str, float]]]:
    """Sorts (name, norm) pairs into `vanishing` (norm < vanishing), `exploding` (norm > exploding, or NaN) and
    `healthy`.
    """
    groups: dict[str, list[tuple[str, float]]] = {"vanishing": [], "exploding": [], "healthy": []}
    for name, norm in norms.items():
        group = "vanishing" if norm < vanishing else "healthy" if norm <= exploding else "exploding"
        groups[group].append((name, norm))
    return groups
