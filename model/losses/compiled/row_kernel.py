"""The row-wise part of a loss in two passes over the views: forward to normalised operands and sums, and the way back.

What is computed is the score's own `row_sums` and `cross_terms`, called with symbols. A sample's rows of all views are
worked on together, in float64 registers: n views are read once and nothing of float64 and their size is held. Shapes: n
views, B rows, F features.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from model.losses.compiled.native import library
from model.losses.compiled.native_arguments import address, addresses, entry
from model.losses.compiled.program import HELPERS, Program
from model.losses.compiled.weak_cache import cached_with_owner
from model.losses.cross_terms import Product
from model.losses.score import RowSumScore
from model.losses.symbols import Symbol, input_symbol

SOURCE = """
#include <cmath>
#include <cstdint>
#include <vector>
typedef double T;
typedef int64_t I;

static inline T near_inverse_root(T x) { return x > 0 ? T(1) / std::sqrt(x) : T(0); }
static inline T root(T x, T near) { return x * near; }
static inline T slope(T, T near) { return 2 * near; }
%(helpers)s
static const I VIEWS = %(views)s, SUMS = %(sums)s;

// norms (n, B) and sums (SUMS, B); the operands, each (B, F), are written in type O.
template <class O>
static void forward(const float* const* views, I size, I features, T eps, I normalised, I threads, T* norms, T* sums, O* const* operands) {
    #pragma omp parallel for num_threads(threads) schedule(static)
    for (I b = 0; b < size; ++b) {
        T inverse[VIEWS];
        for (I k = 0; k < VIEWS; ++k) {
            const float* v = views[k] + b * features;
            T square = 0;
            #pragma omp simd reduction(+ : square)
            for (I z = 0; z < features; ++z) square += T(v[z]) * T(v[z]);
            norms[k * size + b] = std::sqrt(square);
            inverse[k] = normalised ? 1 / (norms[k * size + b] + eps) : T(1);
        }
        %(inputs)s
        %(outputs)s
        %(totals)s
        #pragma omp simd %(reduction)s
        for (I z = 0; z < features; ++z) {
            %(rows)s
            %(value)s
            %(add)s
            %(store)s
        }
        %(keep)s
    }
}

// From the gradients of sums and operands to that of the views times a factor, written as float and kept within its range.
template <class O>
static void backward(const float* const* views, I size, I features, T eps, I normalised, I threads, T factor, const T* norms,
                     const T* d_sums, const O* const* operands, float* out) {
    const T limit = 3.4028234663852886e38;
    #pragma omp parallel num_threads(threads)
    {
        std::vector<T> scratch(VIEWS * features);
        #pragma omp for schedule(static)
        for (I b = 0; b < size; ++b) {
            T inverse[VIEWS], along[VIEWS];
            for (I k = 0; k < VIEWS; ++k) inverse[k] = normalised ? 1 / (norms[k * size + b] + eps) : T(1);
            %(inputs)s
            %(outputs)s
            %(seeds)s
            T* g = scratch.data();
            %(alongs)s
            #pragma omp simd %(along_reduction)s
            for (I z = 0; z < features; ++z) {
                %(rows)s
                %(value)s
                %(operand_seeds)s
                %(derivatives)s
                %(grads)s
            }
            %(keep_along)s
            for (I k = 0; k < VIEWS; ++k) {
                const float* v = views[k] + b * features;
                const T* gk = g + k * features;
                float* o = out + (k * size + b) * features;
                const T norm = norms[k * size + b];
                // The direction is x (norm + eps) / norm; at a zero row there is none, and the gradient is zero.
                const T shrink = normalised && norm == 0 ? T(0) : factor * inverse[k];
                const T turn = normalised && norm > 0 ? factor * inverse[k] * along[k] / norm : T(0);
                #pragma omp simd
                for (I z = 0; z < features; ++z) {
                    const T d = gk[z] * shrink - T(v[z]) * turn;
                    o[z] = float(d > limit ? limit : d < -limit ? -limit : d);
                }
            }
        }
    }
}

#define EXPORT(O) \\
    extern "C" void forward_##O(const float* const* views, I size, I features, T eps, I normalised, I threads, T* norms, T* sums, \\
                                O* const* operands) { \\
        forward<O>(views, size, features, eps, normalised, threads, norms, sums, operands); \\
    } \\
    extern "C" void backward_##O(const float* const* views, I size, I features, T eps, I normalised, I threads, T factor, const T* norms, \\
                                 const T* d_sums, const O* const* operands, float* out) { \\
        backward<O>(views, size, features, eps, normalised, threads, factor, norms, d_sums, operands, out); \\
    }
EXPORT(float)
EXPORT(double)
"""


def source(views: int, sums: Sequence[Symbol], operands: Sequence[Symbol], inputs: Sequence[Symbol]) -> str:
    """C++ of both passes."""
    program = Program([*sums, *operands], inputs)
    s, o, x = range(len(sums)), range(len(operands)), [k for k in range(views) if program.uses(inputs[k])]
    first = len(sums)
    return SOURCE % {
        "helpers": HELPERS,
        "views": views,
        "sums": first,
        "inputs": " ".join(f"const float* v{k} = views[{k}] + b * features; const T n{k} = inverse[{k}];" for k in x),
        "outputs": " ".join(f"auto* o{k} = operands[{k}] + b * features;" for k in o),
        "totals": " ".join(f"T s{k} = 0;" for k in s),
        "reduction": f"reduction(+ : {', '.join(f's{k}' for k in s)})" if s else "",
        "rows": " ".join(f"const T x{k} = T(v{k}[z]) * n{k};" for k in x),
        "value": program.value(),
        "add": " ".join(f"s{k} += result{k};" for k in s),
        "store": " ".join(f"o{k}[z] = O(result{first + k});" for k in o),
        "keep": " ".join(f"sums[{k} * size + b] = s{k};" for k in s),
        "seeds": " ".join(f"const T seed{k} = d_sums[{k} * size + b];" for k in s),
        "operand_seeds": " ".join(f"const T seed{first + k} = T(o{k}[z]);" for k in o),
        "derivatives": program.derivatives(),
        "grads": " ".join(f"g[{k} * features + z] = d_x{k}; a{k} += d_x{k} * x{k};" for k in x),
        "alongs": " ".join(f"T a{k} = 0;" for k in x),
        "along_reduction": f"reduction(+ : {', '.join(f'a{k}' for k in x)})",
        "keep_along": " ".join(f"along[{k}] = a{k};" for k in x),
    }


class RowKernel:
    """The compiled passes of a score, and which of its operands each of its products joins: `products`
    [direction][cross] -> (rows, cols).
    """

    def __init__(self, made: ctypes.CDLL, views: int, sums: int, operands: int, products: list[list[tuple[int, int]]]):
        self._forward = {torch.float32: made.forward_float, torch.float64: made.forward_double}
        self._backward = {torch.float32: made.backward_float, torch.float64: made.backward_double}
        self.views, self.sums, self.operands, self.products = views, sums, operands, products

    def forward(self, views: Sequence[Tensor], eps: float, normalised: bool, operands: Tensor) -> tuple[Tensor, Tensor]:
        """n views (B, F), float32 and contiguous -> lengths (n, B) and sums (s, B), float64; writes the operands (m, B,
        F).

        Raises ValueError where a tensor has another shape, dtype or layout than that, as `backward` does."""
        shape = views[0].shape
        norms, sums = (
            torch.empty(count, shape[0], dtype=torch.float64, device="cpu") for count in (self.views, self.sums)
        )
        written = addresses(operands, self.operands, shape, operands.dtype)
        statistics = (ctypes.c_void_p(part.data_ptr()) for part in (norms, sums))
        entry(self._forward, operands.dtype)(*self._shared(views, eps, normalised), *statistics, written)
        return norms, sums

    def backward(
        self, views: Sequence[Tensor], eps: float, normalised: bool, parts: Sequence[Tensor], factor: float
    ) -> Tensor:
        """The gradient of the views, (n, B, F) float32, times `factor`. parts: lengths, and the gradients of sums and
        operands.
        """
        norms, d_sums, *d_operands = parts
        shape, dtype = views[0].shape, d_operands[0].dtype
        out = torch.empty(self.views, *shape, dtype=torch.float32, device="cpu")
        statistics = (
            ctypes.c_void_p(address(part, (count, shape[0]), torch.float64))
            for part, count in ((norms, self.views), (d_sums, self.sums))
        )
        shared = self._shared(views, eps, normalised)
        read = addresses(d_operands, self.operands, shape, dtype)
        entry(self._backward, dtype)(
            *shared, ctypes.c_double(factor), *statistics, read, ctypes.c_void_p(out.data_ptr())
        )
        return out

    def _shared(self, views: Sequence[Tensor], eps: float, normalised: bool) -> list[object]:
        shape = views[0].shape
        sizes = [ctypes.c_int64(size) for size in shape]
        read = addresses(views, self.views, shape, torch.float32)
        return [read, *sizes, ctypes.c_double(eps), ctypes.c_int64(normalised), ctypes.c_int64(torch.get_num_threads())]


@cached_with_owner
def row_kernel(score: RowSumScore, n: int) -> RowKernel | None:
    """The passes of a score of n views; None where its rows need more than sums over features, or nothing can compile
    them.
    """
    inputs = [input_symbol(f"x{k}") for k in range(n)]
    sums = score.row_sums(inputs)
    cross_terms: list[list[Product]] = [list(direction) for direction in score.cross_terms(inputs)]
    operands = list(
        dict.fromkeys(
            side for direction in cross_terms for cross in direction for side in (cross.row_operand, cross.col_operand)
        )
    )
    place = {operand: k for k, operand in enumerate(operands)}
    made = library(source(n, sums, operands, inputs))
    products = [
        [(place[cross.row_operand], place[cross.col_operand]) for cross in direction] for direction in cross_terms
    ]
    return RowKernel(made, n, len(sums), len(operands), products) if made is not None else None
