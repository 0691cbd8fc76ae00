"""Norms of gradients from one fused pass. Shapes: P gradients of any shape -> (P,) norms. torch only.

A norm is measured in float32 (float64 for float64 gradients), the arithmetic of `torch.nn.utils.clip_grad_norm_`. Its
squares overflow above 1e19 and vanish below 1e-19, so finiteness is judged on elements, and norms near those ends are
measured again by `exact_norm`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

# Below this the squares of a float32 gradient lose digits or vanish.
SMALLEST_TRUSTED = 1e-15
HALF = (torch.float16, torch.bfloat16)


def dense_values(gradient: Tensor) -> Tensor:
    """The numbers of a gradient: of a sparse one those that are stored, rows that were looked up twice added."""
    return gradient.detach().coalesce().values() if gradient.is_sparse else gradient.detach()


def whole(norm: Tensor) -> Tensor:
    """The norm over all shards of a gradient that is spread over processes (a DTensor), any other as it is."""
    return norm.full_tensor() if hasattr(norm, "full_tensor") else norm


def parameter_norms(gradients: Sequence[Tensor]) -> Tensor:
    """(P,) Euclidean norms of P gradients, in float32 or wider, on the first one's device; no host synchronisation.

    Half-precision gradients are summed and given in float32; of complex ones the absolute values count.
    """
    if not gradients:
        return torch.zeros(0)
    groups: dict[tuple[torch.device, torch.dtype], list[int]] = {}
    for index, gradient in enumerate(gradients):
        groups.setdefault((gradient.device, gradient.dtype), []).append(index)
    norms: list[Tensor] = [gradients[0]] * len(gradients)
    for (_, dtype), indices in groups.items():
        members = [dense_values(gradients[index]) for index in indices]
        measured = torch._foreach_norm(members, 2.0, dtype=torch.float32 if dtype in HALF else None)
        for index, norm in zip(indices, measured, strict=True):
            norms[index] = whole(norm)
    return stacked(norms)


def stacked(norms: Sequence[Tensor]) -> Tensor:
    """(P,) of P scalars, on the first one's device, in the widest of their types."""
    widest = torch.float64 if any(norm.dtype == torch.float64 for norm in norms) else torch.float32
    return torch.stack([norm.to(norms[0].device, widest) for norm in norms])


def total_norm(norms: Tensor) -> Tensor:
    """The norm of all gradients as one vector, 0-dimensional, from their (P,) norms."""
    return torch.linalg.vector_norm(norms)


def exact_norm(gradient: Tensor) -> float:
    """The norm in float64 without overflow or underflow: scaled by the largest magnitude first. NaN or Inf where an
    element is.
    """
    values = dense_values(gradient)
    if values.numel() == 0:
        return 0.0
    wide = values.to(torch.complex128 if values.is_complex() else torch.float64)
    largest = wide.abs().max()
    peak = float(whole(largest))
    if peak == 0 or not math.isfinite(peak):
        return peak
    return peak * float(whole(torch.linalg.vector_norm(wide / peak)))


def refined(gradients: Sequence[Tensor], norms: Iterable[float]) -> list[float]:
    """The P `norms` with those that float32 squares cannot be trusted with measured again. Synchronises for those
    only.
    """
    trusted = [math.isfinite(norm) and norm > SMALLEST_TRUSTED for norm in norms]
    return [
        norm if keep else exact_norm(gradient) for gradient, norm, keep in zip(gradients, norms, trusted, strict=True)
    ]


def root_sum_square(norms: Iterable[float]) -> float:
    """The norm of the vectors with these norms as one vector; finite wherever that is representable."""
    return math.hypot(*norms)


def nonfinite_kinds(gradient: Tensor) -> tuple[bool, bool]:
    """Whether a gradient holds a NaN, and whether it holds an Inf."""
    values = dense_values(gradient)
    if hasattr(values, "full_tensor"):
        values = values.full_tensor()
    return bool(torch.isnan(values).any()), bool(torch.isinf(values).any())
