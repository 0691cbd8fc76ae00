"""Functions under a feature sum, of v (row i) and t = y (candidate c) - u (row i), with their slopes.

Each works on whole tensors; the same functions stand in `native.cpp` for CPUs with a compiler.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor


class Integrand(ABC):
    """f(v, t), elementwise."""

    code: int  # its number in native.cpp
    exponent: int = 0

    @abstractmethod
    def value(self, v: Tensor, t: Tensor) -> Tensor:
        """f(v, t)."""

    @abstractmethod
    def slopes(self, v: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """df/dv, df/dt."""


@dataclass(frozen=True)
class Root(Integrand):
    """sqrt(v + t^2), slope 0 where that is 0."""

    code = 0

    def value(self, v: Tensor, t: Tensor) -> Tensor:
        return torch.addcmul(v, t, t).sqrt_()

    def slopes(self, v: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        root = self.value(v, t)
        inverse = torch.where(root > 0, root.reciprocal(), 0)
        return inverse / 2, inverse * t


@dataclass(frozen=True)
class Squared(Integrand):
    """(v + t^2)^2."""

    code = 1

    def value(self, v: Tensor, t: Tensor) -> Tensor:
        return torch.addcmul(v, t, t).square_()

    def slopes(self, v: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        twice = 2 * torch.addcmul(v, t, t)
        return twice, 2 * twice * t


@dataclass(frozen=True)
class Power(Integrand):
    """t^exponent; v takes no part."""

    exponent: int
    code = 2

    def value(self, v: Tensor, t: Tensor) -> Tensor:
        return t**self.exponent

    def slopes(self, v: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(t), self.exponent * t ** (self.exponent - 1)
