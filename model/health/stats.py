"""Norms and other statistics of gradients. Shapes: P gradients of any shape -> (P,) norms. torch only.

A norm is computed in float32 (float64 for float64 gradients), with the arithmetic of `torch.nn.utils.clip_grad_norm_`.
The squares of float32 numbers overflow above 1e19 and vanish below 1e-19. Finiteness is therefore tested on elements,
and `exact_norm` computes the norms near these limits again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

# The squares of a float32 gradient with a norm below this lose digits or vanish.
SMALLEST_TRUSTED = 1e-15
HALF_PRECISION = (torch.float16, torch.bfloat16)
BINS = 20


def by_device(tensors: Iterable[Tensor]) -> Mapping[torch.device, list[Tensor]]:
    """Returns the tensors of each device, in their order, as torch's fused functions need them."""
    groups: dict[torch.device, list[Tensor]] = {}
    for tensor in tensors:
        groups.setdefault(tensor.device, []).append(tensor)
    return groups


def dense_values(gradient: Tensor) -> Tensor:
    """Returns the elements of a gradient; for a sparse gradient the stored elements, with duplicate rows added."""
    return gradient.detach().coalesce().values() if gradient.is_sparse else gradient.detach()


def global_value(value: Tensor) -> Tensor:
    """Returns the full value of a DTensor, which is distributed over processes; returns any other tensor unchanged."""
    return value.full_tensor() if hasattr(value, "full_tensor") else value


def parameter_norms(gradients: Sequence[Tensor]) -> Tensor:
    """Returns the (P,) Euclidean norms of P gradients on the device of the first one. No host synchronisation.

    The norms are float32 or wider. Half-precision gradients are summed in float32. Complex gradients count by their
    absolute values.
    """
    if not gradients:
        return torch.zeros(0)
    groups: dict[tuple[torch.device, torch.dtype], list[int]] = {}
    for index, gradient in enumerate(gradients):
        groups.setdefault((gradient.device, gradient.dtype), []).append(index)
    norms: list[Tensor] = [gradients[0]] * len(gradients)
    for (_, dtype), indices in groups.items():
        values = [dense_values(gradients[index]) for index in indices]
        group_norms = torch._foreach_norm(values, 2.0, dtype=torch.float32 if dtype in HALF_PRECISION else None)
        for index, norm in zip(indices, group_norms, strict=True):
            norms[index] = global_value(norm)
    return stack_norms(norms)


def stack_norms(norms: Sequence[Tensor]) -> Tensor:
    """Stacks P scalars to (P,), on the device of the first one and in the widest of their types."""
    widest = torch.float64 if any(norm.dtype == torch.float64 for norm in norms) else torch.float32
    return torch.stack([norm.to(norms[0].device, widest) for norm in norms])


def total_norm(norms: Tensor) -> Tensor:
    """Returns the norm of all gradients as one vector, 0-dimensional, from their (P,) norms."""
    return torch.linalg.vector_norm(norms)


def exact_norm(gradient: Tensor) -> float:
    """Returns the norm in float64 without overflow or underflow: the elements are divided by the largest one first.

    The norm is NaN or Inf where an element is.
    """
    values = dense_values(gradient)
    if values.numel() == 0:
        return 0.0
    wide = values.to(torch.complex128 if values.is_complex() else torch.float64)
    largest = wide.abs().max()
    peak = float(global_value(largest))
    if peak == 0 or not math.isfinite(peak):
        return peak
    return peak * float(global_value(torch.linalg.vector_norm(wide / peak)))


def corrected_norms(gradients: Sequence[Tensor], norms: Sequence[float]) -> list[float]:
    """Returns the P `norms`; computes those outside the trusted range of float32 again. Synchronises for these only."""
    trusted = [math.isfinite(norm) and norm > SMALLEST_TRUSTED for norm in norms]
    return [
        norm if is_trusted else exact_norm(gradient)
        for gradient, norm, is_trusted in zip(gradients, norms, trusted, strict=True)
    ]


def root_sum_square(norms: Iterable[float]) -> float:
    """Returns the norm of several vectors as one vector, from their norms; finite wherever it is representable."""
    return math.hypot(*norms)


def nonfinite_kinds(gradient: Tensor) -> tuple[bool, bool]:
    """Returns whether a gradient holds a NaN, and whether it holds an Inf."""
    values = global_value(dense_values(gradient))
    return bool(torch.isnan(values).any()), bool(torch.isinf(values).any())


def layer_details(gradient: Tensor, bins: int = BINS) -> dict[str, float | list[float]]:
    """Returns mean, std (0 for a single element), min, max and histogram of the elements of one gradient.

    Complex elements count by their absolute values; a sparse gradient counts by its stored elements, 0 if it has none.
    histogram: the numbers of elements in `bins` equal intervals from `histogram_min` to `histogram_max`, without NaN
    and Inf.
    """
    values = dense_values(gradient).flatten()
    values = (values.abs() if values.is_complex() else values).double()
    values = values if values.numel() else values.new_zeros(1)
    finite = values[torch.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.numel() else (0.0, 0.0)
    return {
        "mean": float(values.mean()),
        "std": float(values.std(correction=1 if values.numel() > 1 else 0)),
        "min": float(values.min()),
        "max": float(values.max()),
        "histogram": torch.histc(finite, bins, low, high).tolist() if finite.numel() else [0.0] * bins,
        "histogram_min": low,
        "histogram_max": high,
    }
