"""The C++ of a feature sum: the integrand, called with symbols, between loops that keep a block of cells in registers.

Shapes: T rows, B candidates, F features. A vector holds as many features as the processor's registers do.
"""

from __future__ import annotations

from collections.abc import Sequence

from model.losses.integrands import Integrand
from model.losses.symbols import HELPERS, Program, Symbol, named

# Blocks of TALL rows by WIDE candidates: what is loaded for one feature serves all their cells, so that the loops are
# bound by arithmetic. Forward: threads share the rows. Backward: they share the features, so that no two write to one
# number. CLOSE candidates stay in the second cache while all rows pass.
# A root that is the whole integrand is summed as head + tail: head = x * near, near about 1 / sqrt(x), is exact less the
# head at the match, and tail, the rest of a Newton step, is small. So nothing is rounded to the digits of the root itself.
SOURCE = """
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>
#ifdef __SSE__
#include <immintrin.h>
#endif
typedef int64_t I;
#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif
const I TALL = 4, WIDE = 4, CLOSE = 64, ROWS = %(row_count)s, COLS = %(col_count)s;
const bool ROOTED = %(rooted)s;

template <class T, int N> struct Vector {
    typedef T Value __attribute__((vector_size(N * sizeof(T))));
    typedef T Stored __attribute__((vector_size(N * sizeof(T)), aligned(sizeof(T)), may_alias));
};
template <class T> using Wide = typename Vector<T, BYTES / sizeof(T)>::Value;
template <class T> static inline Wide<T> load(const T* from) { return *(const typename Vector<T, BYTES / sizeof(T)>::Stored*)from; }
template <class T> static inline void store(T* to, Wide<T> x) { *(typename Vector<T, BYTES / sizeof(T)>::Stored*)to = x; }

template <class T, int N> struct Total {
    static inline double of(const T* x) {
        double sums[N / 2];
        for (int k = 0; k < N / 2; ++k) sums[k] = double(x[k]) + double(x[k + N / 2]);
        return Total<double, N / 2>::of(sums);
    }
};
template <class T> struct Total<T, 1> { static inline double of(const T* x) { return x[0]; } };
template <class T> static inline double total(Wide<T> x) {
    T lanes[BYTES / sizeof(T)];
    store<T>(lanes, x);
    return Total<T, BYTES / sizeof(T)>::of(lanes);
}

%(helpers)s
// About 1 / sqrt(x): to 13 bits or more in float, 26 in double. One Newton step makes it, or the root, as exact as the type.
template <class V> static inline V refined(V x, V near) { return near * 0.5f * (3 - x * near * near); }
#if defined(__AVX512F__)
static inline Wide<float> estimate(Wide<float> x) { return (Wide<float>)_mm512_rsqrt14_ps((__m512)x); }
static inline Wide<double> estimate(Wide<double> x) { return refined(x, (Wide<double>)_mm512_rsqrt14_pd((__m512d)x)); }
#else
#if defined(__AVX__)
static inline Wide<float> estimate(Wide<float> x) { return refined(x, (Wide<float>)_mm256_rsqrt_ps((__m256)x)); }
#else
static inline Wide<float> estimate(Wide<float> x) {
    for (int k = 0; k < int(BYTES / sizeof(float)); ++k) x[k] = 1 / std::sqrt(x[k]);
    return x;
}
#endif
static inline Wide<double> estimate(Wide<double> x) {
    for (int k = 0; k < int(BYTES / sizeof(double)); ++k) x[k] = 1 / std::sqrt(x[k]);
    return x;
}
#endif
static inline Wide<float> inverse_root(Wide<float> x) { return refined(x, estimate(x)); }
static inline Wide<double> inverse_root(Wide<double> x) { return refined(x, estimate(x)); }
#if defined(__AVX512F__)
static inline Wide<float> fabs(Wide<float> x) { return (Wide<float>)_mm512_abs_ps((__m512)x); }
static inline Wide<double> fabs(Wide<double> x) { return (Wide<double>)_mm512_abs_pd((__m512d)x); }
// By class of x: NaN (0, 1) stays; 0 (2) -> 0; 1, +inf and positive (3, 5, 7) -> 1; -inf and negative (4, 6) -> -1.
static inline Wide<float> sign(Wide<float> x) {
    return (Wide<float>)_mm512_fixupimm_ps((__m512)x, (__m512)x, _mm512_set1_epi32(0xa9a9a811), 0);
}
#else
static inline Wide<float> fabs(Wide<float> x) { return x < 0 ? -x : x; }
static inline Wide<double> fabs(Wide<double> x) { return x < 0 ? -x : x; }
#endif

template <class T> static inline Wide<T> value(const Wide<T>* row, const Wide<T>* col) {
    typedef Wide<T> V;
    %(inputs)s
    %(value)s
    return result;
}

template <class T>
static void cells(T** rows, T** cols, I count, I size, I features, I first, I threads, T* out) {
    typedef Wide<T> V;
    const I lanes = sizeof(V) / sizeof(T), groups = (count + TALL - 1) / TALL, share = (groups + threads - 1) / threads;
    #pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (I part = 0; part < threads; ++part) {
        const I low = part * share * TALL, high = std::min(count, low + share * TALL);
        std::vector<T> anchors(TALL * features);
        for (I start = 0; start < size; start += CLOSE)
            for (I i = low; i < high; i += TALL) {
                const T* r[ROWS][TALL];
                double tails[TALL];
                for (I k = 0; k < TALL; ++k) {
                    const I own = std::min(i + k, high - 1);
                    for (I j = 0; j < ROWS; ++j) r[j][k] = rows[j] + own * features;
                    V tail = {};
                    for (I z = 0; z < features; z += lanes) {
                        V row[ROWS], col[COLS];
                        for (I j = 0; j < ROWS; ++j) row[j] = load<T>(r[j][k] + z);
                        for (I j = 0; j < COLS; ++j) col[j] = load<T>(cols[j] + (first + own) * features + z);
                        const V x = value<T>(row, col), near = ROOTED ? estimate(x) : V{} + 1, head = x * near;
                        if (ROOTED) tail += (x - head * head) * near;
                        store<T>(anchors.data() + k * features + z, head);
                    }
                    tails[k] = total<T>(tail);
                }
                for (I c = start; c < std::min(size, start + CLOSE); c += WIDE) {
                    const T* y[COLS][WIDE];
                    for (I j = 0; j < COLS; ++j)
                        for (I m = 0; m < WIDE; ++m) y[j][m] = cols[j] + std::min(c + m, size - 1) * features;
                    V sums[TALL][WIDE] = {};
                    for (I z = 0; z < features; z += lanes) {
                        V row[TALL][ROWS], anchor[TALL];
                        for (I k = 0; k < TALL; ++k) {
                            for (I j = 0; j < ROWS; ++j) row[k][j] = load<T>(r[j][k] + z);
                            anchor[k] = load<T>(anchors.data() + k * features + z);
                        }
                        for (I m = 0; m < WIDE; ++m) {
                            V col[COLS];
                            for (I j = 0; j < COLS; ++j) col[j] = load<T>(y[j][m] + z);
                            for (I k = 0; k < TALL; ++k) {
                                const V x = value<T>(row[k], col);
                                if (ROOTED) {
                                    const V near = estimate(x), head = x * near;
                                    sums[k][m] += (head - anchor[k]) * 2;
                                    sums[k][m] += (x - head * head) * near;
                                } else sums[k][m] += x - anchor[k];
                            }
                        }
                    }
                    for (I k = 0; k < std::min(TALL, high - i); ++k)
                        for (I m = 0; m < std::min(WIDE, size - c); ++m)
                            out[(i + k) * size + c + m] = ROOTED ? (total<T>(sums[k][m]) - tails[k]) / 2 : total<T>(sums[k][m]);
                }
            }
    }
}

template <class T>
static void pull(T** rows, T** cols, const T* grad, I count, I size, I features, I threads, T** d_rows, T** d_cols) {
    typedef Wide<T> V;
    const I lanes = sizeof(V) / sizeof(T), share = ((features + threads - 1) / threads + 15) / 16 * 16;
    #pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (I part = 0; part < threads; ++part) {
        const I low = std::min(features, part * share), high = std::min(features, low + share);
        std::vector<T> spare(features);  // takes what rows and candidates beyond the last would get
        for (I start = 0; start < size; start += CLOSE)
            for (I i = 0; i < count; i += TALL)
                for (I c = start; c < std::min(size, start + CLOSE); c += WIDE) {
                    T *r[ROWS][TALL], *y[COLS][WIDE], *d_r[ROWS][TALL], *d_y[COLS][WIDE], weight[TALL][WIDE];
                    bool any = false;
                    for (I k = 0; k < TALL; ++k) {
                        for (I j = 0; j < ROWS; ++j) {
                            r[j][k] = rows[j] + std::min(i + k, count - 1) * features;
                            d_r[j][k] = i + k < count ? d_rows[j] + (i + k) * features : spare.data();
                        }
                        for (I m = 0; m < WIDE; ++m) {
                            weight[k][m] = i + k < count && c + m < size ? grad[(i + k) * size + c + m] * T(%(scale)s) : T(0);
                            any |= weight[k][m] != 0;
                        }
                    }
                    if (!any) continue;
                    for (I m = 0; m < WIDE; ++m)
                        for (I j = 0; j < COLS; ++j) {
                            y[j][m] = cols[j] + std::min(c + m, size - 1) * features;
                            d_y[j][m] = c + m < size ? d_cols[j] + (c + m) * features : spare.data();
                        }
                    for (I z = low; z < high; z += lanes) {
                        V all[TALL][ROWS], d_all[TALL][ROWS];
                        for (I k = 0; k < TALL; ++k)
                            for (I j = 0; j < ROWS; ++j) all[k][j] = load<T>(r[j][k] + z), d_all[k][j] = load<T>(d_r[j][k] + z);
                        for (I m = 0; m < WIDE; ++m) {
                            V col[COLS], d_col[COLS];
                            for (I j = 0; j < COLS; ++j) col[j] = load<T>(y[j][m] + z), d_col[j] = load<T>(d_y[j][m] + z);
                            for (I k = 0; k < TALL; ++k) {
                                const V *row = all[k];
                                V* d_row = d_all[k];
                                %(inputs)s
                                %(value)s
                                V seed = V{} + weight[k][m];
                                if (ROOTED) {
                                    const V near = estimate(result);
                                    seed = seed * near * (3 - result * near * near);
                                }
                                %(derivatives)s
                                %(outputs)s
                            }
                            for (I j = 0; j < COLS; ++j) store<T>(d_y[j][m] + z, d_col[j]);
                        }
                        for (I k = 0; k < TALL; ++k)
                            for (I j = 0; j < ROWS; ++j) store<T>(d_r[j][k] + z, d_all[k][j]);
                    }
                }
    }
}

#define EXPORT(T) \\
    extern "C" void cells_##T(T** rows, T** cols, I count, I size, I features, I first, I threads, T* out) { \\
        cells<T>(rows, cols, count, size, features, first, threads, out); \\
    } \\
    extern "C" void pull_##T(T** rows, T** cols, const T* grad, I count, I size, I features, I threads, T** d_rows, T** d_cols) { \\
        pull<T>(rows, cols, grad, count, size, features, threads, d_rows, d_cols); \\
    }
EXPORT(float)
EXPORT(double)
"""


def source(integrand: Integrand, row_count: int, col_count: int) -> str:
    """C++ of both loops for an integrand of so many numbers of a row and of a candidate."""
    rows, cols = ([named(f"{letter}{j}") for j in range(count)] for letter, count in (("r", row_count), ("c", col_count)))
    result = integrand(*rows, *cols)
    rooted = result.operation == "sqrt"
    program = Program(result.arguments[0] if rooted else result, [*rows, *cols])
    derivatives, factors = program.unscaled_derivatives()
    scale = factors[cols[0]]
    outputs = [_sum("row", rows, factors, scale), _sum("col", cols, factors, scale)]
    return SOURCE % {
        "row_count": row_count,
        "col_count": col_count,
        "rooted": "true" if rooted else "false",
        "helpers": HELPERS,
        "inputs": _inputs("row", rows) + _inputs("col", cols),
        "value": program.value(),
        "scale": repr(scale / 4 if rooted else scale),  # a Newton step without its half, and the half of a root's slope
        "derivatives": derivatives,
        "outputs": "".join(outputs),
    }


def _inputs(side: str, symbols: Sequence[Symbol]) -> str:
    return "".join(f"const V {symbol.data[0]} = {side}[{j}]; " for j, symbol in enumerate(symbols))


def _sum(side: str, symbols: Sequence[Symbol], factors: dict[Symbol, float], scale: float) -> str:
    ratios = [factors[symbol] / scale for symbol in symbols]
    return "".join(
        f"d_{side}[{j}] += d_{symbol.data[0]}{'' if ratio == 1 else f' * T({ratio!r})'}; "
        for j, (symbol, ratio) in enumerate(zip(symbols, ratios, strict=True))
    )
