"""One pass over a tile of a line: formula, cross-entropy against the match, and the derivatives of both, in float64 registers.

The formula is the score's own `line`, called with symbols. Shapes: T rows of a tile, B candidates.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from model.losses.native import library
from model.losses.score import Score
from model.losses.symbols import HELPERS, Program, Symbol, named

# Over `cells` the kernel writes their gradients; sums: loss, derivative by off, derivative by diagonal.
SOURCE = """
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>
typedef double T;
typedef int64_t I;

static inline T near_inverse_root(T x) { return x > 0 ? T(1) / std::sqrt(x) : T(0); }
static inline T root(T x, T near) { return x * near; }
static inline T slope(T x, T near) { return (void)x, 2 * near; }

%(helpers)s
// exp(x) for x <= 0, 0 below -700: Cody and Waite's reduction and a polynomial of degree 11.
static inline T exponential(T x) {
    const T y = x < -700 ? T(-700) : x;
    const T shift = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to an integer, held in the low bits
    const T k = y * 1.4426950408889634 + shift;
    uint64_t bits;
    std::memcpy(&bits, &k, 8);
    const T n = k - shift;
    const T r = (y - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
    T p = 1.0 / 39916800;
    p = p * r + 1.0 / 3628800; p = p * r + 1.0 / 362880; p = p * r + 1.0 / 40320; p = p * r + 1.0 / 5040;
    p = p * r + 1.0 / 720; p = p * r + 1.0 / 120; p = p * r + 1.0 / 24; p = p * r + 1.0 / 6;
    p = p * r + 0.5; p = p * r + 1.0; p = p * r + 1.0;
    const uint64_t power = (bits + 1023) << 52;
    T scale;
    std::memcpy(&scale, &power, 8);
    return x < -700 ? T(0) : p * scale;
}

template <class C>
static void line(C** cells, I rows, I size, I first, const T* row, const T* col, const T* matched, T off, T diagonal, T weight, T features,
                 I want, I threads, T* sums, T* d_matched, T* d_row, T* d_col) {
    (void)row; (void)col; (void)d_row; (void)d_col; (void)features;
    T loss = 0, d_off = 0, d_diagonal = 0;
    #pragma omp parallel num_threads(threads) reduction(+ : loss, d_off, d_diagonal)
    {
        std::vector<T> logits(size), shares(%(cols)s * size, T(0));
        T* z = logits.data();
        %(share_pointers)s
        #pragma omp for schedule(static)
        for (I i = 0; i < rows; ++i) {
            const I own = first + i;
            %(row_inputs)s
            const T base = diagonal * matched[i];
            #pragma omp simd
            for (I c = 0; c < size; ++c) {
                %(cell_inputs)s
                %(value)s
                z[c] = off * result - base;
            }
            z[own] = -1e308;
            T top = -1e308;
            #pragma omp simd reduction(max : top)
            for (I c = 0; c < size; ++c) top = z[c] > top ? z[c] : top;
            T total = 0;
            #pragma omp simd reduction(+ : total)
            for (I c = 0; c < size; ++c) { z[c] = exponential(z[c] - top); total += z[c]; }
            if (size == 1) continue;
            const T lse = top + std::log(total);
            const T small = std::exp(-std::fabs(lse));
            const T pull = (lse > 0 ? T(1) : small) / (1 + small);
            loss += (lse > 0 ? lse : T(0)) + std::log1p(small);
            if (!want) continue;
            const T share = pull / total;
            d_diagonal -= pull * matched[i];
            d_matched[i] -= weight * diagonal * pull;
            T along = 0;
            %(row_sums)s
            #pragma omp simd reduction(+ : along%(row_reductions)s)
            for (I c = 0; c < size; ++c) {
                %(cell_inputs)s
                %(value)s
                const T push = z[c] * share;
                const T seed = push * weight * off;
                along += push * result;
                %(derivatives)s
                %(outputs)s
            }
            d_off += along;
            %(row_outputs)s
        }
        #pragma omp critical
        { %(col_outputs)s }
    }
    sums[0] += weight * loss; sums[1] += weight * d_off; sums[2] += weight * d_diagonal;
}

#define EXPORT(name, C) \\
    extern "C" void name(C** cells, I rows, I size, I first, const T* row, const T* col, const T* matched, T off, T diagonal, T weight, \\
                         T features, I want, I threads, T* sums, T* d_matched, T* d_row, T* d_col) { \\
        line<C>(cells, rows, size, first, row, col, matched, off, diagonal, weight, features, want, threads, sums, d_matched, d_row, d_col); \\
    }
EXPORT(line_float, float)
EXPORT(line_double, double)
"""

Formula = Callable[[Sequence[Symbol], Sequence[Symbol], Sequence[Symbol], Symbol], Symbol]


def source(formula: Formula, cells: int, rows: int, cols: int) -> str:
    """C++ of the kernel for a formula of so many cells, row statistics and column statistics, and the number of features."""
    g, r, c = ([named(f"{letter}{k}") for k in range(count)] for letter, count in (("g", cells), ("r", rows), ("c", cols)))
    features = named("features")
    program = Program(formula(g, r, c, features), [*g, *r, *c, features])
    used = [[(k, symbol.data[0]) for k, symbol in enumerate(group) if program.uses(symbol)] for group in (g, r, c)]
    return SOURCE % ({"helpers": HELPERS, "cols": cols, "value": program.value(), "derivatives": program.derivatives()} | _plumbing(*used))


Inputs = list[tuple[int, str]]


def _plumbing(g: Inputs, r: Inputs, c: Inputs) -> dict[str, str]:
    """How inputs get from the arrays into scalars, and derivatives back."""
    cells = [f"const T {name} = cells[{k}][i * size + c];" for k, name in g]
    return {
        "share_pointers": " ".join(f"T* s_{name} = shares.data() + {k} * size;" for k, name in c),
        "row_inputs": " ".join(f"const T {name} = row[{k} * rows + i];" for k, name in r),
        "cell_inputs": " ".join([*cells, *(f"const T {name} = col[{k} * size + c];" for k, name in c)]),
        "row_sums": " ".join(f"T n_{name} = 0;" for _, name in r),
        "row_reductions": "".join(f", n_{name}" for _, name in r),
        "outputs": " ".join(
            [f"cells[{k}][i * size + c] = C(d_{name});" for k, name in g]
            + [f"n_{name} += d_{name};" for _, name in r]
            + [f"s_{name}[c] += d_{name};" for _, name in c]
        ),
        "row_outputs": " ".join(f"d_row[{k} * rows + i] += n_{name};" for k, name in r),
        "col_outputs": " ".join(f"for (I c = 0; c < size; ++c) d_col[{k} * size + c] += s_{name}[c];" for k, name in c),
    }


class LineKernel:
    """The compiled kernel. Called with a tile, it adds to the sums and writes the cells' gradients over the cells."""

    def __init__(self, made: ctypes.CDLL):
        self._calls = {torch.float32: made.line_float, torch.float64: made.line_double}

    def __call__(
        self, cells: Sequence[Tensor], first: int, stats: Sequence[Tensor], factors: Sequence[float], want: bool, sums: Sequence[Tensor]
    ) -> None:
        """cells: each (T, B) contiguous; stats: rows (r, T), cols (q, B), matched (T,); factors: off, diagonal, weight, F;
        sums: (3,) of loss and derivatives by off and diagonal, then the gradients of matched, rows and cols. Stats and sums are float64."""
        pointers = (ctypes.c_void_p * len(cells))(*(cell.data_ptr() for cell in cells))
        sizes = [ctypes.c_int64(size) for size in (*cells[0].shape, first)]
        flags = [ctypes.c_int64(flag) for flag in (want, torch.get_num_threads())]
        address = [[ctypes.c_void_p(tensor.data_ptr()) for tensor in group] for group in (stats, sums)]
        self._calls[cells[0].dtype](pointers, *sizes, *address[0], *(ctypes.c_double(factor) for factor in factors), *flags, *address[1])


@lru_cache(maxsize=64)
def line_kernel(score: Score, n: int, cells: int, rows: int, cols: int) -> LineKernel | None:
    """The kernel of a score of n views, whose lines have so many cells and statistics; None where nothing can compile it."""
    made = library(source(lambda g, r, c, features: score.line(g, r, c, n, features), cells, rows, cols))
    return LineKernel(made) if made is not None else None
