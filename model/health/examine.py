"""One measurement of the gradients as plain numbers: from norms on the host to a verdict by name. torch only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from model.health.stats import SMALLEST_TRUSTED, nonfinite_kinds, refined, root_sum_square


@dataclass(frozen=True)
class GradientReport:
    """Euclidean norms of gradients by parameter name, and which hold a NaN or an Inf."""

    norms: Mapping[str, float]
    global_norm: float
    """Of all gradients as one vector; NaN or Inf only where an element is."""
    nan: tuple[str, ...] = ()
    inf: tuple[str, ...] = ()

    @property
    def finite(self) -> bool:
        """Whether every element is."""
        return not self.nan and not self.inf

    @property
    def max_norm(self) -> float:
        """The largest norm of a parameter's gradient; NaN where one holds a NaN, 0 where there are no gradients."""
        return math.nan if self.nan else max(self.norms.values(), default=0.0)

    @property
    def min_norm(self) -> float:
        """The smallest norm of a parameter's gradient that is a number; 0 where there are none."""
        return smallest(self.norms)[1]

    @property
    def mean_norm(self) -> float:
        """The mean of the norms; 0 where there are none."""
        return sum(self.norms.values()) / len(self.norms) if self.norms else 0.0


def examine(names: Sequence[str], gradients: Sequence[Tensor], norms: Sequence[float], total: float) -> GradientReport:
    """The report of P gradients from their P `norms` and the norm `total` of all, as `stats` measures them.

    Looks at elements only where a norm is outside the range in which squares can be trusted.
    """
    exact = refined(gradients, norms)
    suspects = [
        (name, gradient)
        for name, gradient, norm in zip(names, gradients, exact, strict=True)
        if not math.isfinite(norm)
    ]
    kinds = {name: nonfinite_kinds(gradient) for name, gradient in suspects}
    trusted = kinds or (math.isfinite(total) and total > SMALLEST_TRUSTED)
    return GradientReport(
        norms=dict(zip(names, exact, strict=True)),
        global_norm=total if trusted else root_sum_square(exact),
        nan=tuple(name for name, (nan, _) in kinds.items() if nan),
        inf=tuple(name for name, (_, inf) in kinds.items() if inf),
    )


def smallest(norms: Mapping[str, float]) -> tuple[str, float]:
    """The name and norm of the smallest norm that is a number; no name and 0 where there are none."""
    numbers = ((name, norm) for name, norm in norms.items() if not math.isnan(norm))
    return min(numbers, key=lambda pair: pair[1], default=("", 0.0))


def split_by_health(
    norms: Mapping[str, float], vanishing: float, exploding: float
) -> dict[str, list[tuple[str, float]]]:
    """(name, norm) pairs under `vanishing` (norm < vanishing), `exploding` (norm > exploding, or no number) and
    `healthy`.
    """
    parts: dict[str, list[tuple[str, float]]] = {"vanishing": [], "exploding": [], "healthy": []}
    for name, norm in norms.items():
        kind = "vanishing" if norm < vanishing else "healthy" if norm <= exploding else "exploding"
        parts[kind].append((name, norm))
    return parts
