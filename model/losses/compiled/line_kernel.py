"""One pass over a tile of a line: formula, cross-entropy against the match, and the derivatives of both, in float64
registers.

The formula is the score's own `line`, called with symbols. Shapes: T rows of a tile, B candidates.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from model.losses.compiled.native import library
from model.losses.compiled.native_arguments import address, entry, match_range
from model.losses.compiled.program import HELPERS, Program
from model.losses.compiled.weak_cache import cached_with_owner
from model.losses.cross_terms import Cells
from model.losses.score import Score
from model.losses.symbols import Symbol, input_symbol

# Over `cells` the kernel writes their gradients; sums: loss, derivative by off, derivative by diagonal.
SOURCE = """
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>
typedef double T;
typedef int64_t I;

// 1 / sqrt(x), 0 for x <= 0, and 1 / x, exact for cells of double; beside float cells from a float by a Newton step, right to 1e-14 between
// 1e-36 and 1e36, and finite below: three times as fast as the processor's own in double.
template <class C> struct Inverse {
    static inline T root(T x) { return x > 0 ? T(1) / std::sqrt(x) : T(0); }
    static inline T of(T x) { return T(1) / x; }
};
template <> struct Inverse<float> {
    static inline T root(T x) {
        const T safe = x > 1e-36 ? x : T(1e-36);
        const T y = T(1.0f / std::sqrt(float(safe)));
        return x > 0 ? y * (T(1.5) - T(0.5) * safe * y * y) : T(0);
    }
    static inline T of(T x) {
        const T safe = std::fabs(x) > 1e-36 ? x : std::copysign(T(1e-36), x);
        const T y = T(1.0f / float(safe));
        return y * (2 - safe * y);
    }
};

static inline T root(T x, T near) { return x * near; }
static inline T slope(T, T near) { return 2 * near; }
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

// Columns of a matrix whose rows are `stride` apart become rows (`turn`), and rows are added to columns (`turn_back`): by squares of
// 8 in registers where the compiler has shuffles, one by one elsewhere.
static const I BLOCK = 16, SIDE = 8;
#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define SHUFFLES
#endif
#endif
#ifdef SHUFFLES
template <class C> struct Lanes { typedef C Row __attribute__((vector_size(SIDE * sizeof(C)), aligned(sizeof(C)), may_alias)); };
template <class V> static inline void swap1(V& a, V& b) {
    const V x = a, y = b;
    a = __builtin_shufflevector(x, y, 0, 8, 2, 10, 4, 12, 6, 14);
    b = __builtin_shufflevector(x, y, 1, 9, 3, 11, 5, 13, 7, 15);
}
template <class V> static inline void swap2(V& a, V& b) {
    const V x = a, y = b;
    a = __builtin_shufflevector(x, y, 0, 1, 8, 9, 4, 5, 12, 13);
    b = __builtin_shufflevector(x, y, 2, 3, 10, 11, 6, 7, 14, 15);
}
template <class V> static inline void swap4(V& a, V& b) {
    const V x = a, y = b;
    a = __builtin_shufflevector(x, y, 0, 1, 2, 3, 8, 9, 10, 11);
    b = __builtin_shufflevector(x, y, 4, 5, 6, 7, 12, 13, 14, 15);
}
template <class C> static inline void square(const C* from, I stride, C* to, I step, bool add) {
    typedef typename Lanes<C>::Row Row;
    Row r[SIDE];
    for (I k = 0; k < SIDE; ++k) r[k] = *reinterpret_cast<const Row*>(from + k * stride);
    for (I k = 0; k < SIDE; k += 2) swap1(r[k], r[k + 1]);
    for (I k = 0; k < SIDE; k += 4) { swap2(r[k], r[k + 2]); swap2(r[k + 1], r[k + 3]); }
    for (I k = 0; k < SIDE / 2; ++k) swap4(r[k], r[k + 4]);
    for (I k = 0; k < SIDE; ++k) {
        Row* place = reinterpret_cast<Row*>(to + k * step);
        *place = add ? *place + r[k] : r[k];
    }
}
static inline I whole(I length) { return length / SIDE * SIDE; }
#else
template <class C> static inline void square(const C*, I, C*, I, bool) {}
static inline I whole(I) { return 0; }
#endif
template <class C> static void turn(const C* from, I stride, I width, I size, C* to) {
    for (I c = 0; c < whole(size); c += SIDE)
        for (I r = 0; r < whole(width); r += SIDE) square(from + c * stride + r, stride, to + r * size + c, size, false);
    for (I r = 0; r < width; ++r)
        for (I c = r < whole(width) ? whole(size) : 0; c < size; ++c) to[r * size + c] = from[c * stride + r];
}
template <class C> static void turn_back(const C* from, I stride, I width, I size, C* to) {
    for (I c = 0; c < whole(size); c += SIDE)
        for (I r = 0; r < whole(width); r += SIDE) square(from + r * size + c, size, to + c * stride + r, stride, true);
    for (I r = 0; r < width; ++r)
        for (I c = r < whole(width) ? whole(size) : 0; c < size; ++c) to[c * stride + r] += from[r * size + c];
}

struct Tile {
    void* const* cells; void* const* grads; const I* flipped;
    I rows, size, first, want, threads;
    T off, diagonal, weight, features;
    const T *matched, *row, *col;
    T *sums, *d_matched, *d_row, *d_col;
};

template <class C>
static void line(const Tile& tile) {
    const I rows = tile.rows, size = tile.size, first = tile.first, want = tile.want, threads = tile.threads, *flipped = tile.flipped;
    const T off = tile.off, diagonal = tile.diagonal, weight = tile.weight, features = tile.features;
    const T *matched = tile.matched, *row = tile.row, *col = tile.col;
    C *const *cells = reinterpret_cast<C* const*>(tile.cells), *const *grads = reinterpret_cast<C* const*>(tile.grads);
    T *d_matched = tile.d_matched, *d_row = tile.d_row, *d_col = tile.d_col;
    const auto near_inverse_root = [](T x) { return Inverse<C>::root(x); };
    const auto reciprocal = [](T x) { return Inverse<C>::of(x); };
    (void)near_inverse_root; (void)reciprocal; (void)row; (void)col; (void)d_row; (void)d_col; (void)features;
    T loss = 0, d_off = 0, d_diagonal = 0;
    I any_flipped = 0;
    for (I k = 0; k < %(cells)s; ++k) any_flipped |= flipped[k];
    #pragma omp parallel num_threads(threads) reduction(+ : loss, d_off, d_diagonal)
    {
        std::vector<T> logits(size), shares(%(cols)s * size, T(0)), kept(%(kept)s * size);
        T* z = logits.data();
        %(share_pointers)s
        %(kept_pointers)s
        std::vector<C> turned(any_flipped ? %(cells)s * BLOCK * size : 0);
        #pragma omp for schedule(static)
        for (I start = 0; start < rows; start += BLOCK) {
        const I stop = std::min(rows, start + BLOCK);
        const C* from[%(cells)s];
        C* to[%(cells)s];
        for (I k = 0; k < %(cells)s; ++k) {
            C* block = turned.data() + k * BLOCK * size;
            if (flipped[k]) turn(cells[k] + start, rows, stop - start, size, block);
            from[k] = flipped[k] ? block : cells[k] + start * size;
            to[k] = flipped[k] ? block : grads[k] + start * size;
        }
        for (I i = start; i < stop; ++i) {
            const I own = first + i, here = (i - start) * size;
            %(cell_pointers)s
            %(row_inputs)s
            const T base = diagonal * matched[i];
            #pragma omp simd
            for (I c = 0; c < size; ++c) {
                %(cell_inputs)s
                %(value)s
                %(keep)s
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
                %(kept_inputs)s
                %(kept_value)s
                const T push = z[c] * share;
                const T seed = push * weight * off;
                along += push * result;
                %(derivatives)s
                %(outputs)s
            }
            d_off += along;
            %(row_outputs)s
        }
        for (I k = 0; k < %(cells)s && want; ++k) if (flipped[k]) turn_back(to[k], rows, stop - start, size, grads[k] + start);
        }
        #pragma omp critical
        { %(col_outputs)s }
    }
    tile.sums[0] += weight * loss; tile.sums[1] += weight * d_off; tile.sums[2] += weight * d_diagonal;
}

extern "C" void line_float(const Tile* tile) { line<float>(*tile); }
extern "C" void line_double(const Tile* tile) { line<double>(*tile); }
"""

Formula = Callable[[Sequence[Symbol], Sequence[Symbol], Sequence[Symbol], Symbol], Symbol]


def source(formula: Formula, cells: int, rows: int, cols: int) -> str:
    """C++ of the kernel for a formula of so many cells, row statistics and column statistics, and the number of
    features.
    """
    g, r, c = (
        [input_symbol(f"{letter}{k}") for k in range(count)]
        for letter, count in (("g", cells), ("r", rows), ("c", cols))
    )
    features = input_symbol("features")
    program = Program(formula(g, r, c, features), [*g, *r, *c, features])
    used = [[(k, symbol.data[0]) for k, symbol in enumerate(group) if program.uses(symbol)] for group in (g, r, c)]
    parts = {
        "helpers": HELPERS,
        "cells": cells,
        "cols": cols,
        "value": program.value(),
        "kept_value": program.value(kept=True),
        "derivatives": program.derivatives(),
    }
    return SOURCE % (parts | _plumbing(*used) | _keeping(program.auxiliaries()))


def _keeping(names: Sequence[str]) -> dict[str, str]:
    """How roots and quotients are kept from the first pass over a row for the second."""
    return {
        "kept": str(len(names)),
        "kept_pointers": " ".join(f"T* k_{name} = kept.data() + {k} * size;" for k, name in enumerate(names)),
        "keep": " ".join(f"k_{name}[c] = {name};" for name in names),
        "kept_inputs": " ".join(f"const T {name} = k_{name}[c];" for name in names),
    }


Inputs = list[tuple[int, str]]


def _plumbing(g: Inputs, r: Inputs, c: Inputs) -> dict[str, str]:
    """How inputs get from the arrays into scalars, and derivatives back."""
    cells = [f"const T {name} = p_{name}[c];" for _, name in g]
    return {
        "cell_pointers": " ".join(
            f"const C* p_{name} = from[{k}] + here; C* q_{name} = to[{k}] + here;" for k, name in g
        ),
        "share_pointers": " ".join(f"T* s_{name} = shares.data() + {k} * size;" for k, name in c),
        "row_inputs": " ".join(f"const T {name} = row[{k} * rows + i];" for k, name in r),
        "cell_inputs": " ".join([*cells, *(f"const T {name} = col[{k} * size + c];" for k, name in c)]),
        "row_sums": " ".join(f"T n_{name} = 0;" for _, name in r),
        "row_reductions": "".join(f", n_{name}" for _, name in r),
        "outputs": " ".join(
            [f"q_{name}[c] = C(d_{name});" for _, name in g]
            + [f"n_{name} += d_{name};" for _, name in r]
            + [f"s_{name}[c] += d_{name};" for _, name in c]
        ),
        "row_outputs": " ".join(f"d_row[{k} * rows + i] += n_{name};" for k, name in r),
        "col_outputs": " ".join(f"for (I c = 0; c < size; ++c) d_col[{k} * size + c] += s_{name}[c];" for k, name in c),
    }


class _Tile(ctypes.Structure):
    """`Tile` of the source."""

    _fields_ = (
        *[(name, ctypes.c_void_p) for name in ("cells", "grads", "flipped")],
        *[(name, ctypes.c_int64) for name in ("rows", "size", "first", "want", "threads")],
        *[(name, ctypes.c_double) for name in ("off", "diagonal", "weight", "features")],
        *[(name, ctypes.c_void_p) for name in ("matched", "row", "col", "sums", "d_matched", "d_row", "d_col")],
    )


class LineKernel:
    """The compiled kernel. Called with a tile, it adds to the sums and puts the cells' gradients into their places."""

    def __init__(self, made: ctypes.CDLL, cells: int, rows: int, cols: int):
        self._calls = {torch.float32: made.line_float, torch.float64: made.line_double}
        self._counts = cells, rows, cols

    def __call__(
        self,
        tile: Sequence[Cells],
        first: int,
        stats: Sequence[Tensor],
        factors: Sequence[float],
        want: bool,
        sums: Sequence[Tensor],
    ) -> None:
        """tile: contiguous cells; stats: matched (T,), rows (r, T), cols (q, B); factors: off, diagonal, weight, F;
        sums: (3,) of loss and derivatives by off and diagonal, then the gradients of the stats. Stats and sums are
        float64.

        Raises ValueError where a tensor has another shape, dtype or layout than that."""
        count, r, q = self._counts
        rows, size, dtype = len(stats[0]), stats[2].shape[-1], tile[0].values.dtype
        values, grads = (
            (ctypes.c_void_p * count)(
                *(address(part(cells), (size, rows) if cells.transposed else (rows, size), dtype) for cells in tile)
            )
            for part in (lambda cells: cells.values, lambda cells: cells.grad)
        )
        flipped = (ctypes.c_int64 * count)(*(cells.transposed for cells in tile))
        sizes = rows, size, match_range(first, rows, size), want, torch.get_num_threads()
        shapes = (rows,), (r, rows), (q, size)
        places = [
            address(tensor, shape, torch.float64)
            for tensor, shape in zip((*stats, *sums), (*shapes, (3,), *shapes), strict=True)
        ]
        call = _Tile(*(ctypes.addressof(array) for array in (values, grads, flipped)), *sizes, *factors, *places)
        entry(self._calls, dtype)(ctypes.byref(call))


@cached_with_owner
def line_kernel(score: Score, n: int, cells: int, rows: int, cols: int) -> LineKernel | None:
    """The kernel of a score of n views, whose lines have so many cells and statistics; None where nothing can compile
    it.
    """
    made = library(source(lambda g, r, c, features: score.line(g, r, c, n, features), cells, rows, cols))
    return LineKernel(made, cells, rows, cols) if made is not None else None
