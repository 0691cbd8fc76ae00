"""Guards against the numerical traps of the family: norms, roots, dtypes. The only place that knows `eps` of a norm.

Shapes: n views, B rows, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

from model.losses.symbols import Symbol

# What a formula is called with: tensors, or symbols that become C++.
Value = TypeVar("Value", Tensor, Symbol)
# Lengths of normalised rows between which float32 neither underflows in a square nor overflows.
ORDINARY = (1e-3, 1e3)


class _SafeRoot(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        root = x.clamp(min=0).sqrt_()
        ctx.save_for_backward(root)
        return root

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        (root,) = ctx.saved_tensors
        return torch.where(root > 0, grad / (2 * root), 0)


def safe_sqrt(x: Value) -> Value:
    """sqrt(max(x, 0)), any shape, with gradient 0 where x <= 0; the true slope there is infinite, and inf * 0 is
    NaN.
    """
    return x.safe_sqrt() if isinstance(x, Symbol) else _SafeRoot.apply(x)


class _Moments(torch.autograd.Function):
    @staticmethod
    def forward(ctx, above: float, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(*tensors)
        total, squares = tensors[0], torch.addcmul(tensors[0].new_tensor(above), tensors[0], tensors[0])
        for x in tensors[1:]:
            squares = squares.addcmul_(x, x) if squares.shape == x.shape else torch.addcmul(squares, x, x)
            total = total + x if total is tensors[0] or total.shape != x.shape else total.add_(x)
        return total.clone() if total is tensors[0] else total, squares

    @staticmethod
    def backward(ctx, d_total: Tensor, d_squares: Tensor):
        twice = 2 * d_squares
        return None, *(torch.addcmul(d_total, twice, x).sum_to_size(x.shape) for x in ctx.saved_tensors)


def moments(tensors: Sequence[Tensor], above: float = 0.0) -> tuple[Tensor, Tensor]:
    """The sum of tensors that broadcast, and above + the sum of their squares; in few passes, above all on the way
    back.
    """
    return _Moments.apply(above, *tensors)


class _SquareSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx, above: float, *tensors: Tensor) -> Tensor:
        ctx.save_for_backward(*tensors)
        total = torch.addcmul(tensors[0].new_tensor(above), tensors[0], tensors[0])
        for x in tensors[1:]:
            total = total.addcmul_(x, x) if total.shape == x.shape else torch.addcmul(total, x, x)
        return total

    @staticmethod
    def backward(ctx, grad: Tensor):
        twice = 2 * grad
        return None, *((twice * x).sum_to_size(x.shape) for x in ctx.saved_tensors)


def square_sum(tensors: Sequence[Tensor], above: float = 0.0) -> Tensor:
    """The second of `moments` alone."""
    return _SquareSum.apply(above, *tensors)


def tiny(x: Tensor) -> float:
    """So little that no sum of squares of `x` notices, but for one of zeros: no root of it has an infinite slope."""
    return 1000 * torch.finfo(x.dtype).tiny


class _SafePower(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, exponent: float) -> Tensor:
        power = x.abs().pow_(exponent)
        ctx.exponent = exponent
        ctx.save_for_backward(x, power)
        return power

    @staticmethod
    def backward(ctx, grad: Tensor):
        x, power = ctx.saved_tensors
        return torch.where(x != 0, grad * ctx.exponent * (power / x), 0), None


def safe_power(x: Value, exponent: float) -> Value:
    """|x|^exponent for an exponent in (0, 1), any shape, with gradient 0 where x is 0; the true slope there is
    infinite.
    """
    return x.safe_power(exponent) if isinstance(x, Symbol) else _SafePower.apply(x, exponent)


class _RowNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        top = x.abs().amax(-1, keepdim=True)
        top = torch.where(
            top > 0, top, 1
        )  # scaling by the largest entry first: a square of it can neither overflow nor vanish
        norm = top * torch.linalg.vector_norm(x / top, dim=-1, keepdim=True)
        ctx.save_for_backward(x, norm)
        return norm

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        x, norm = ctx.saved_tensors
        return grad * (x / torch.where(norm > 0, norm, 1))


def plain_norm(x: Tensor) -> Tensor:
    """`row_norm` of rows that no square of an entry leaves float64 with: those that come from a narrower dtype."""
    return torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float64)


def row_norm(x: Tensor) -> Tensor:
    """Euclidean length of each row, (…, F) -> (…, 1), right for every representable row; gradient 0 at a zero row."""
    return _RowNorm.apply(x)


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, eps: float, norm: Tensor) -> Tensor:
        inverse = (norm + eps).reciprocal_()
        rows = x * inverse
        # The direction is rows * (norm + eps) / norm; at a zero row there is none, and the gradient is zero.
        ctx.save_for_backward(rows, torch.where(norm > 0, 1 / (norm * inverse), 0), torch.where(norm > 0, inverse, 0))
        return rows

    @staticmethod
    def backward(ctx, grad: Tensor):
        rows, stretch, inverse = ctx.saved_tensors
        along = torch.linalg.vecdot(grad, rows).unsqueeze(-1) * stretch
        return torch.addcmul(grad, rows, along, value=-1).mul_(inverse), None, None


def normalise(x: Tensor, eps: float, narrow: bool = False) -> Tensor:
    """x / (|x| + eps) by rows, (…, F) float64. A zero row stays zero and has gradient zero. narrow: see
    `plain_norm`.
    """
    return _Normalise.apply(x, eps, (plain_norm if narrow else row_norm)(x.detach()))


class _GramMatrix(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.bmm(x, x.transpose(1, 2))

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return torch.bmm(grad + grad.transpose(1, 2), x)


def gram_matrix(x: Tensor) -> Tensor:
    """Inner products of the rows of each matrix, (b, n, F) -> (b, n, n); one product back, where autograd would make
    two.
    """
    return _GramMatrix.apply(x)


def saturate(x: Tensor, dtype: torch.dtype) -> Tensor:
    """`x` as `dtype`; values beyond its range become its largest finite value (NaN stays NaN)."""
    limit = torch.finfo(dtype).max
    return x.clamp(-limit, limit) if x.dtype == dtype else x.to(dtype).clamp_(-limit, limit)


def to_float64(x: Tensor) -> Tensor:
    """`x` in float64. An infinite float16 counts as 65504, its largest number: its range is small enough to leave by
    chance.
    """
    return x.double().clamp(-65504, 65504) if x.dtype == torch.float16 else x.double()


def to_float32(x: Tensor) -> Tensor:
    """`x`, no float64, in float32, which holds it exactly; see `to_float64` for an infinite float16."""
    return x.float().clamp_(-65504, 65504) if x.dtype == torch.float16 else x.float()


class _Widen(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.dtype = x.dtype
        return to_float64(x)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        return saturate(grad, ctx.dtype)


def widen(x: Tensor) -> Tensor:
    """`x` in float64; its gradient comes back in the dtype of `x`, saturated at the largest finite value."""
    return _Widen.apply(x)


def result_dtype(x: Tensor) -> torch.dtype:
    """Dtype of a score or a loss of `x`: float64 for float64, float32 for float32 and the half precisions."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def ordinary_rows(x: Tensor, normalised: bool, eps: float) -> bool:
    """Whether every row of `x` (…, F), no float64, normalised if so asked, is zero or of a length that float32 can
    square and multiply.
    """
    return ordinary_lengths(plain_norm(x.detach()), normalised, eps)


def ordinary_lengths(norm: Tensor, normalised: bool, eps: float) -> bool:
    """`ordinary_rows` of rows of these lengths."""
    length = norm / (norm + eps) if normalised else norm
    return bool(((length == 0) | ((length > ORDINARY[0]) & (length < ORDINARY[1]))).all())
