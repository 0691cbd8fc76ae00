"""Feature sums in compiled loops: the integrand, called with symbols, becomes the inner loop. Shapes: T rows, B candidates, F features."""

from __future__ import annotations

import ctypes
from functools import cache

import torch
from torch import Tensor

from model.losses.integrands import Integrand
from model.losses.native import library
from model.losses.symbols import Program, named

# Forward: blocks of rows, so that a candidate's features are read from the first cache. Backward: threads share the
# features, so that no two write to one number, and blocks of candidates stay in the second cache while all rows pass.
SOURCE = """
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>
typedef int64_t I;

static inline float inverse_root(float x) { return 1.0f / std::sqrt(x > 1e-35f ? x : 1e-35f); }
static inline float reciprocal(float x) { return 1.0f / x; }
static inline double reciprocal(double x) { return 1.0 / x; }
static inline double inverse_root(double x) { return 1.0 / std::sqrt(x > 1e-290 ? x : 1e-290); }

template <class T>
static void cells(const T* v, const T* u, const T* y, I rows, I size, I features, I first, I threads, T* out) {
    const I block = 8;
    #pragma omp parallel for num_threads(threads) schedule(static)
    for (I start = 0; start < rows; start += block) {
        const I stop = std::min(rows, start + block);
        std::vector<T> anchors((stop - start) * features);
        for (I i = start; i < stop; ++i) {
            const T *vi = v + i * features, *ui = u + i * features, *yi = y + (first + i) * features;
            T* anchor = anchors.data() + (i - start) * features;
            #pragma omp simd
            for (I z = 0; z < features; ++z) {
                const T a0 = vi[z], a1 = yi[z] - ui[z];
                (void)a0;
                %(value)s
                anchor[z] = result;
            }
        }
        for (I c = 0; c < size; ++c) {
            const T* yc = y + c * features;
            for (I i = start; i < stop; ++i) {
                const T *vi = v + i * features, *ui = u + i * features, *anchor = anchors.data() + (i - start) * features;
                T sum = 0;
                #pragma omp simd reduction(+ : sum)
                for (I z = 0; z < features; ++z) {
                    const T a0 = vi[z], a1 = yc[z] - ui[z];
                    (void)a0;
                    %(value)s
                    sum += result - anchor[z];
                }
                out[i * size + c] = sum;
            }
        }
    }
}

template <class T>
static void pull(const T* v, const T* u, const T* y, const T* grad, I rows, I size, I features, I threads, T* d_v, T* d_u, T* d_y) {
    const I block = 32, share = ((features + threads - 1) / threads + 15) / 16 * 16;
    #pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (I part = 0; part < threads; ++part) {
        const I low = std::min(features, part * share), high = std::min(features, low + share);
        for (I start = 0; start < size; start += block) {
            const I stop = std::min(size, start + block);
            for (I i = 0; i < rows; ++i) {
                const T *vi = v + i * features, *ui = u + i * features;
                T *d_vi = d_v + i * features, *d_ui = d_u + i * features;
                for (I c = start; c < stop; ++c) {
                    const T seed = grad[i * size + c];
                    if (seed == 0) continue;
                    const T* yc = y + c * features;
                    T* d_yc = d_y + c * features;
                    #pragma omp simd
                    for (I z = low; z < high; ++z) {
                        const T a0 = vi[z], a1 = yc[z] - ui[z];
                        (void)a0;
                        %(value)s
                        %(derivatives)s
                        %(row)s
                        d_ui[z] -= d_a1;
                        d_yc[z] += d_a1;
                    }
                }
            }
        }
    }
}

#define EXPORT(T) \\
    extern "C" void cells_##T(const T* v, const T* u, const T* y, I rows, I size, I features, I first, I threads, T* out) { \\
        cells<T>(v, u, y, rows, size, features, first, threads, out); \\
    } \\
    extern "C" void pull_##T(const T* v, const T* u, const T* y, const T* grad, I rows, I size, I features, I threads, T* d_v, T* d_u, T* d_y) { \\
        pull<T>(v, u, y, grad, rows, size, features, threads, d_v, d_u, d_y); \\
    }
EXPORT(float)
EXPORT(double)
"""


def source(integrand: Integrand) -> str:
    """C++ of both loops."""
    v, t = named("a0"), named("a1")
    program = Program(integrand(v, t), [v, t])
    row = "d_vi[z] += d_a0;" if program.uses(v) else ""
    return SOURCE % {"value": program.value(), "derivatives": program.derivatives(), "row": row}


class FeatureKernel:
    """The compiled loops of one integrand. All tensors are contiguous and of one dtype."""

    def __init__(self, made: ctypes.CDLL):
        self._cells = {torch.float32: made.cells_float, torch.float64: made.cells_double}
        self._pull = {torch.float32: made.pull_float, torch.float64: made.pull_double}

    def cells(self, v: Tensor, u: Tensor, y: Tensor, first: int) -> Tensor:
        """v, u (T, F), y (B, F) -> (T, B) sums less those at the match, which row r has at first + r."""
        out = v.new_empty(len(v), len(y))
        self._cells[v.dtype](*_addresses(v, u, y), *_sizes(*out.shape, y.shape[1], first, torch.get_num_threads()), *_addresses(out))
        return out

    def pull(self, v: Tensor, u: Tensor, y: Tensor, grad: Tensor, d_v: Tensor, d_u: Tensor, d_y: Tensor) -> None:
        """Adds to d_v, d_u (T, F) and d_y (B, F) what the gradient (T, B) of `cells` means for v, u and y."""
        sizes = _sizes(*grad.shape, y.shape[1], torch.get_num_threads())
        self._pull[v.dtype](*_addresses(v, u, y, grad), *sizes, *_addresses(d_v, d_u, d_y))


def _addresses(*tensors: Tensor) -> list[ctypes.c_void_p]:
    return [ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors]


def _sizes(*sizes: int) -> list[ctypes.c_int64]:
    return [ctypes.c_int64(size) for size in sizes]


@cache
def feature_kernel(integrand: Integrand) -> FeatureKernel | None:
    """The loops of an integrand; None where nothing can compile them."""
    made = library(source(integrand), fast=True)
    return FeatureKernel(made) if made is not None else None
