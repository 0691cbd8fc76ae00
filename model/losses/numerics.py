"""Functions that stay finite and accurate where plain arithmetic does not: roots, norms, sums of squares, dtypes.

Gradients are finite everywhere: where the true slope is infinite or undefined (a root at 0, a norm of a zero row),
the gradient is 0.

Shapes: n views, B rows, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any, TypeVar

import torch
from torch import Tensor

from model.losses.symbols import Symbol

# A formula is called with tensors, or with symbols, from which C++ is generated.
Value = TypeVar("Value", Tensor, Symbol)
# Lengths of normalised rows between which squares and products of float32 neither underflow nor overflow.
ORDINARY = (1e-3, 1e3)


class _SafeRoot(torch.autograd.Function):
    """sqrt(max(x, 0)), elementwise; the gradient is 0 where x <= 0."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        root = x.clamp(min=0).sqrt_()
        ctx.save_for_backward(root)
        return root

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (root,) = ctx.saved_tensors
        return torch.where(root > 0, grad / (2 * root), 0)


def safe_sqrt(x: Value) -> Value:
    """Returns sqrt(max(x, 0)), any shape. The gradient is 0 where x <= 0, because inf * 0 would be NaN."""
    return x.safe_sqrt() if isinstance(x, Symbol) else _SafeRoot.apply(x)


def _sum_of_squares(above: float, tensors: Sequence[Tensor]) -> Tensor:
    """Returns above + the sum of the squares of tensors that broadcast. Adds in place where no broadcast is needed."""
    total = torch.addcmul(tensors[0].new_tensor(above), tensors[0], tensors[0])
    for x in tensors[1:]:
        total = total.addcmul_(x, x) if total.shape == x.shape else torch.addcmul(total, x, x)
    return total


class _Moments(torch.autograd.Function):
    """The sum, and `_sum_of_squares`, of tensors that broadcast: both have the broadcast shape."""

    @staticmethod
    def forward(ctx: Any, above: float, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(*tensors)
        total = tensors[0].clone()
        for x in tensors[1:]:
            total = total.add_(x) if total.shape == x.shape else total + x
        return total, _sum_of_squares(above, tensors)

    @staticmethod
    def backward(ctx: Any, d_total: Tensor, d_squares: Tensor) -> tuple[Tensor | None, ...]:
        twice = 2 * d_squares
        return None, *(torch.addcmul(d_total, twice, x).sum_to_size(x.shape) for x in ctx.saved_tensors)


def moments(values: Sequence[Value], above: Value | float = 0.0) -> tuple[Value, Value]:
    """Returns the sum of values, of tensors that broadcast, and above + the sum of their squares."""
    symbolic = isinstance(values[0], Symbol)
    return (reduce(add, values), square_sum(values, above)) if symbolic else _Moments.apply(above, *values)


class _SquareSum(torch.autograd.Function):
    """`_sum_of_squares` of tensors that broadcast, in the broadcast shape."""

    @staticmethod
    def forward(ctx: Any, above: float, *tensors: Tensor) -> Tensor:
        ctx.save_for_backward(*tensors)
        return _sum_of_squares(above, tensors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        twice = 2 * grad
        return None, *((twice * x).sum_to_size(x.shape) for x in ctx.saved_tensors)


def square_sum(values: Sequence[Value], above: Value | float = 0.0) -> Value:
    """Returns above + the sum of the squares of values, of tensors that broadcast."""
    symbolic = isinstance(values[0], Symbol)
    return reduce(add, [x * x for x in values]) + above if symbolic else _SquareSum.apply(above, *values)


def tiny(x: Value) -> Value | float:
    """Returns an offset that keeps a sum of squares of `x` positive, so that its root has a finite derivative, and that
    changes no other sum. For a symbol, the dtype is that for which a kernel is compiled.
    """
    return Symbol("tiny") if isinstance(x, Symbol) else 1000 * torch.finfo(x.dtype).tiny


class _SafePower(torch.autograd.Function):
    """|x|^exponent, elementwise, for an exponent in (0, 1); the gradient is 0 where x is 0."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, exponent: float) -> Tensor:
        power = x.abs().pow_(exponent)
        ctx.exponent = exponent
        ctx.save_for_backward(x, power)
        return power

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        x, power = ctx.saved_tensors
        return torch.where(x != 0, grad * ctx.exponent * (power / x), 0), None


def safe_power(x: Value, exponent: float) -> Value:
    """Returns |x|^exponent for an exponent in (0, 1), any shape. The gradient is 0 where x is 0."""
    return x.safe_power(exponent) if isinstance(x, Symbol) else _SafePower.apply(x, exponent)


class _RowNorm(torch.autograd.Function):
    """Euclidean norm of each row, (…, F) -> (…, 1); the gradient is 0 at a zero row."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        largest = x.abs().amax(-1, keepdim=True)
        # Rows are divided by their largest entry first: its square can neither overflow nor vanish.
        largest = torch.where(largest > 0, largest, 1)
        norm = largest * torch.linalg.vector_norm(x / largest, dim=-1, keepdim=True)
        ctx.save_for_backward(x, norm)
        return norm

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        x, norm = ctx.saved_tensors
        return grad * (x / torch.where(norm > 0, norm, 1))


def plain_norm(x: Tensor) -> Tensor:
    """Returns the float64 norm of each row, (…, F) -> (…, 1), of a dtype whose squares are safe in float64."""
    return torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float64)


def row_norm(x: Tensor) -> Tensor:
    """Returns the norm of each row, (…, F) -> (…, 1), accurate for every row; the gradient is 0 at a zero row."""
    return _RowNorm.apply(x)


class _Normalise(torch.autograd.Function):
    """x / (norm + eps), (…, F) float64, given norm (…, 1), which backward differentiates as the norm of x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float, norm: Tensor) -> Tensor:
        inverse = (norm + eps).reciprocal_()
        rows = x * inverse
        # The unit vector is rows * (norm + eps) / norm; a zero row has none, and its gradient is zero.
        ctx.save_for_backward(rows, torch.where(norm > 0, 1 / (norm * inverse), 0), torch.where(norm > 0, inverse, 0))
        return rows

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        rows, stretch, inverse = ctx.saved_tensors
        along = torch.linalg.vecdot(grad, rows).unsqueeze(-1) * stretch
        return torch.addcmul(grad, rows, along, value=-1).mul_(inverse), None, None


def normalise(x: Tensor, eps: float, narrow: bool = False) -> Tensor:
    """Returns x / (|x| + eps) for each row, (…, F) float64. A zero row stays zero and has gradient zero. narrow: the
    rows come from a dtype narrower than float64, so that `plain_norm` is accurate.
    """
    return _Normalise.apply(x, eps, (plain_norm if narrow else row_norm)(x.detach()))


class _GramMatrix(torch.autograd.Function):
    """x xᵀ of each matrix, (b, n, F) -> (b, n, n)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.bmm(x, x.transpose(1, 2))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return torch.bmm(grad + grad.transpose(1, 2), x)


def gram_matrix(x: Tensor) -> Tensor:
    """Returns the inner products of the rows of each matrix, (b, n, F) -> (b, n, n), with one product in backward."""
    return _GramMatrix.apply(x)


def saturate(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Returns `x` as `dtype`. Values beyond the range of `dtype` become its largest finite value; NaN stays NaN."""
    limit = torch.finfo(dtype).max
    return x.clamp(-limit, limit) if x.dtype == dtype else x.to(dtype).clamp_(-limit, limit)


def to_float64(x: Tensor) -> Tensor:
    """Returns `x` in float64. An infinite float16 becomes 65504, the largest number of float16, whose range is so
    small that ordinary values overflow.
    """
    return x.double().clamp(-65504, 65504) if x.dtype == torch.float16 else x.double()


def to_float32(x: Tensor) -> Tensor:
    """Returns `x`, whose dtype is not float64, in float32, exactly. Infinite float16: see `to_float64`."""
    return x.float().clamp_(-65504, 65504) if x.dtype == torch.float16 else x.float()


class _Widen(torch.autograd.Function):
    """`to_float64`, any shape; backward saturates the gradient in the dtype of x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.dtype = x.dtype
        return to_float64(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return saturate(grad, ctx.dtype)


def widen(x: Tensor) -> Tensor:
    """Returns `x` in float64. Its gradient has the dtype of `x` and saturates at the largest finite value."""
    return _Widen.apply(x)


def result_dtype(x: Tensor) -> torch.dtype:
    """Returns the dtype of a score or a loss of `x`: float64 for float64, float32 for every other dtype."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def ordinary_rows(x: Tensor, normalised: bool, eps: float) -> bool:
    """Returns `ordinary_lengths` of the rows of `x`, (…, F) of a dtype narrower than float64."""
    return ordinary_lengths(plain_norm(x.detach()), normalised, eps)


def ordinary_lengths(norm: Tensor, normalised: bool, eps: float) -> bool:
    """Returns True if every norm, after normalisation if `normalised`, is 0 or within ORDINARY, so that products in
    float32 are safe.
    """
    length = norm / (norm + eps) if normalised else norm
    return bool(((length == 0) | ((length > ORDINARY[0]) & (length < ORDINARY[1]))).all())
