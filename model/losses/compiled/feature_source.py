"""The C++ of a feature sum: the integrand, called with symbols, between loops that keep a block of cells in registers.

Shapes: T rows, B candidates, F features. A vector holds as many features as the processor's registers do.
"""

from __future__ import annotations

from collections.abc import Sequence

from model.losses.compiled.program import HELPERS, Program
from model.losses.compiled.vectors import VECTORS
from model.losses.integrands import Integrand
from model.losses.symbols import Symbol, input_symbol

# Blocks of TALL rows by WIDE candidates: what is loaded for one feature serves all their cells, so that the loops are
# bound by arithmetic. Threads share the rows; backward they also take turns at the candidates, so that no two write to
# one number. CLOSE candidates stay in the second cache while all rows of a thread pass. An integrand sqrt(x) or sqrt(x)
# + plain is summed as head + plain + tail: head = x * near, near about 1 / sqrt(x), is exact less that at the match,
# and tail, the rest of a Newton step, is small: no root is rounded to its own digits.
SOURCE = """
%(vectors)s
%(helpers)s
const I TALL = 4, WIDE = 4, CLOSE = 128, ROWS = %(row_count)s, COLS = %(col_count)s;
const bool ROOTED = %(rooted)s, PLAIN = %(with_plain)s;

template <class T> static inline V<T> radicand(const V<T>* row, const V<T>* col) {
    %(inputs)s
    %(radicand)s
    return result;
}

template <class T> static inline V<T> plain(const V<T>* row, const V<T>* col) {
    %(inputs)s
    %(plain)s
    return result;
}

// TALL rows of some arrays, side by side by vectors: [feature / lanes][array][row][lane]. Rows beyond the last repeat it.
template <class T> static void pack(T** from, I arrays, I count, I features, I room, T* to) {
    for (I z = 0; z < features; z += LANES<T>, to += room * TALL * LANES<T>)
        for (I j = 0; j < arrays; ++j)
            for (I k = 0; k < TALL; ++k) store<T>(to + (j * TALL + k) * LANES<T>, load<T>(from[j] + std::min(k, count - 1) * features + z));
}

// Asks for a share of the TALL rows after those at r: all of them, by the time that CLOSE candidates are done.
template <class T> static inline void fetch_next(T** r, I arrays, I features, I done) {
    const I share = TALL * features * I(sizeof(T)) * WIDE / CLOSE;
    for (I j = 0; j < arrays; ++j)
        for (I k = 0; k < share; k += 64) __builtin_prefetch((const char*)(r[j] + TALL * features) + done / WIDE * share + k);
}

// How many of `count` each thread takes, in whole blocks.
template <I BLOCK> static I share(I count, I threads) { return (count + BLOCK * threads - 1) / (BLOCK * threads) * BLOCK; }

// The sums of a block of cells, but for what belongs to its rows. packed: rows and anchors. y: WIDE candidates an array.
template <class T> static inline void sum_block(const T* packed, T** y, I features, V<T> sums[TALL][WIDE]) {
    for (I z = 0; z < features; z += LANES<T>, packed += (ROWS + 1) * TALL * LANES<T>) {
        #pragma GCC unroll 8
        for (I m = 0; m < WIDE; ++m) {
            V<T> col[COLS];
            for (I j = 0; j < COLS; ++j) col[j] = load<T>(y[j] + m * features + z);
            #pragma GCC unroll 8
            for (I k = 0; k < TALL; ++k) {
                V<T> row[ROWS];
                for (I j = 0; j < ROWS; ++j) row[j] = load<T>(packed + (j * TALL + k) * LANES<T>);
                const V<T> anchor = load<T>(packed + (ROWS * TALL + k) * LANES<T>);
                if (ROOTED) {
                    const V<T> x = radicand<T>(row, col), near = near_inverse_root(x), head = x * near;
                    V<T> change = head - anchor;
                    if (PLAIN) change += plain<T>(row, col);
                    sums[k][m] += change * 2;
                    sums[k][m] += (x - head * head) * near;
                } else sums[k][m] += plain<T>(row, col) - anchor;
            }
        }
    }
}

// Writes the values at the match into the packed rows; returns what they leave out, summed.
template <class T> static void anchor_rows(T* packed, T** y, I count, I features, double* tails) {
    for (I k = 0; k < TALL; ++k) {
        V<T> tail = {};
        T* at = packed + k * LANES<T>;
        for (I z = 0; z < features; z += LANES<T>, at += (ROWS + 1) * TALL * LANES<T>) {
            V<T> row[ROWS], col[COLS];
            for (I j = 0; j < ROWS; ++j) row[j] = load<T>(at + j * TALL * LANES<T>);
            for (I j = 0; j < COLS; ++j) col[j] = load<T>(y[j] + std::min(k, count - 1) * features + z);
            V<T> anchor = plain<T>(row, col);
            if (ROOTED) {
                const V<T> x = radicand<T>(row, col), near = near_inverse_root(x), head = x * near, sum = head + anchor;
                tail += ((head - sum) + anchor) * 2;
                tail += (x - head * head) * near;
                anchor = sum;
            }
            store<T>(at + ROWS * TALL * LANES<T>, anchor);
        }
        tails[k] = total<T, LANES<T>>(tail);
    }
}

// Candidates c … c + WIDE - 1 of some arrays: where they are, or, beyond the last, a copy of those there are.
template <class T> static void candidates(T** from, I arrays, I c, I count, I features, std::vector<T>& copy, T** to) {
    for (I j = 0; j < arrays; ++j) {
        to[j] = from[j] + c * features;
        if (count == WIDE) continue;
        copy.resize(COLS * WIDE * features);
        to[j] = copy.data() + j * WIDE * features;
        for (I m = 0; m < WIDE; ++m) std::copy_n(from[j] + (c + std::min(m, count - 1)) * features, features, to[j] + m * features);
    }
}

template <class T>
static void cells(T** rows, T** cols, I count, I size, I features, I first, I threads, T* out) {
    const I tall_share = share<TALL>(count, threads);
    #pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (I part = 0; part < threads; ++part) {
        const I low = part * tall_share, high = std::min(count, low + tall_share);
        std::vector<T> packed((ROWS + 1) * TALL * features), copy;
        for (I start = 0; start < size; start += CLOSE)
            for (I i = low; i < high; i += TALL) {
                const I tall = std::min(TALL, high - i);
                T *r[ROWS], *y[COLS];
                double tails[TALL];
                for (I j = 0; j < ROWS; ++j) r[j] = rows[j] + i * features;
                for (I j = 0; j < COLS; ++j) y[j] = cols[j] + (first + i) * features;
                pack(r, ROWS, tall, features, ROWS + 1, packed.data());
                anchor_rows(packed.data(), y, tall, features, tails);
                for (I c = start; c < std::min(size, start + CLOSE); c += WIDE) {
                    const I wide = std::min(WIDE, size - c);
                    candidates(cols, COLS, c, wide, features, copy, y);
                    fetch_next(r, ROWS, features, c - start);
                    V<T> sums[TALL][WIDE] = {};
                    sum_block(packed.data(), y, features, sums);
                    for (I k = 0; k < tall; ++k)
                        for (I m = 0; m < wide; ++m)
                            out[(i + k) * size + c + m] = ROOTED ? (total<T, LANES<T>>(sums[k][m]) - tails[k]) / 2 : total<T, LANES<T>>(sums[k][m]);
                }
            }
    }
}

// The derivatives of a block of cells, added to d_y and to those beside the packed rows. Stores come last: a load that
// follows a store a multiple of 4096 bytes away waits for it, and rows of candidates often are that far apart.
template <class T> static inline void backward_block(T* packed, T** y, T** d_y, I features, const T weight[TALL][WIDE]) {
    for (I z = 0; z < features; z += LANES<T>, packed += 2 * ROWS * TALL * LANES<T>) {
        V<T> d_rows[TALL][ROWS], d_cols[WIDE][COLS];
        for (I j = 0; j < ROWS; ++j)
            for (I k = 0; k < TALL; ++k) d_rows[k][j] = load<T>(packed + ((ROWS + j) * TALL + k) * LANES<T>);
        for (I j = 0; j < COLS; ++j)
            for (I m = 0; m < WIDE; ++m) d_cols[m][j] = load<T>(d_y[j] + m * features + z);
        #pragma GCC unroll 8
        for (I m = 0; m < WIDE; ++m) {
            V<T> col[COLS], *d_col = d_cols[m];
            for (I j = 0; j < COLS; ++j) col[j] = load<T>(y[j] + m * features + z);
            #pragma GCC unroll 8
            for (I k = 0; k < TALL; ++k) {
                V<T> row[ROWS], *d_row = d_rows[k];
                for (I j = 0; j < ROWS; ++j) row[j] = load<T>(packed + (j * TALL + k) * LANES<T>);
                const V<T> seed = weight[k][m] - V<T>{};
                %(inputs)s
                %(value)s
                %(derivatives)s
                %(outputs)s
            }
        }
        for (I j = 0; j < ROWS; ++j)
            for (I k = 0; k < TALL; ++k) store<T>(packed + ((ROWS + j) * TALL + k) * LANES<T>, d_rows[k][j]);
        for (I j = 0; j < COLS; ++j)
            for (I m = 0; m < WIDE; ++m) store<T>(d_y[j] + m * features + z, d_cols[m][j]);
    }
}

// The weights of a block, 0 beyond the last row and candidate; whether there are any.
template <class T> static bool weigh(const T* grad, I size, I tall, I wide, T weight[TALL][WIDE]) {
    bool any = false;
    for (I k = 0; k < TALL; ++k)
        for (I m = 0; m < WIDE; ++m) {
            weight[k][m] = k < tall && m < wide ? grad[k * size + m] * T(%(scale)s) : T(0);
            any |= weight[k][m] != 0;
        }
    return any;
}

// The derivatives of some rows by some candidates.
template <class T>
static void backward_part(T** rows, T** cols, const T* grad, I low, I high, I from, I to, I size, I features, T** d_rows, T** d_cols) {
    const I room = 2 * ROWS;
    std::vector<T> packed(room * TALL * features), copy, d_copy;
    for (I start = from; start < to; start += CLOSE)
        for (I i = low; i < high; i += TALL) {
            const I tall = std::min(TALL, high - i);
            T *r[2 * ROWS], *y[COLS], *d_y[COLS], weight[TALL][WIDE];
            for (I j = 0; j < ROWS; ++j) r[j] = rows[j] + i * features, r[ROWS + j] = d_rows[j] + i * features;
            pack(r, room, tall, features, room, packed.data());
            for (I c = start; c < std::min(to, start + CLOSE); c += WIDE) {
                const I wide = std::min(WIDE, to - c);
                if (!weigh(grad + i * size + c, size, tall, wide, weight)) continue;
                candidates(cols, COLS, c, wide, features, copy, y);
                candidates(d_cols, COLS, c, wide, features, d_copy, d_y);
                fetch_next(r, room, features, c - start);
                backward_block(packed.data(), y, d_y, features, weight);
                for (I j = 0; wide < WIDE && j < COLS; ++j) std::copy_n(d_y[j], wide * features, d_cols[j] + c * features);
            }
            const T* at = packed.data();
            for (I z = 0; z < features; z += LANES<T>, at += room * TALL * LANES<T>)
                for (I j = 0; j < ROWS; ++j)
                    for (I k = 0; k < tall; ++k) store<T>(r[ROWS + j] + k * features + z, load<T>(at + ((ROWS + j) * TALL + k) * LANES<T>));
        }
}

template <class T>
static void backward(T** rows, T** cols, const T* grad, I count, I size, I features, I threads, T** d_rows, T** d_cols) {
    const I tall = share<TALL>(count, threads), wide = share<WIDE>(size, threads);
    for (I turn = 0; turn < threads; ++turn) {
        #pragma omp parallel for num_threads(threads) schedule(static, 1)
        for (I part = 0; part < threads; ++part) {
            const I low = part * tall, from = (part + turn) %% threads * wide;
            backward_part(rows, cols, grad, low, std::min(count, low + tall), from, std::min(size, from + wide), size, features, d_rows, d_cols);
        }
    }
}

#define EXPORT(T) \\
    extern "C" void cells_##T(T** rows, T** cols, I count, I size, I features, I first, I threads, T* out) { \\
        cells<T>(rows, cols, count, size, features, first, threads, out); \\
    } \\
    extern "C" void backward_##T(T** rows, T** cols, const T* grad, I count, I size, I features, I threads, T** d_rows, T** d_cols) { \\
        backward<T>(rows, cols, grad, count, size, features, threads, d_rows, d_cols); \\
    }
EXPORT(float)
EXPORT(double)
"""


def source(integrand: Integrand, row_count: int, col_count: int) -> str:
    """C++ of both loops for an integrand of so many numbers of a row and of a candidate."""
    rows, cols = (
        [input_symbol(f"{letter}{j}") for j in range(count)] for letter, count in (("r", row_count), ("c", col_count))
    )
    result = integrand(*rows, *cols)
    radicand, plain = _parts(result)
    program = Program(result, [*rows, *cols])
    derivatives, factors = program.unscaled_derivatives()
    scale = factors[cols[0]]
    return SOURCE % {
        "row_count": row_count,
        "col_count": col_count,
        "rooted": str(radicand is not None).lower(),
        "with_plain": str(plain is not None).lower(),
        "vectors": VECTORS,
        "helpers": HELPERS,
        "inputs": _inputs("row", rows) + _inputs("col", cols),
        "radicand": _value(radicand),
        "plain": _value(plain),
        "value": program.value(),
        "scale": repr(scale),
        "derivatives": derivatives,
        "outputs": _outputs("row", rows, factors, scale) + _outputs("col", cols, factors, scale),
    }


def _parts(result: Symbol) -> tuple[Symbol | None, Symbol | None]:
    """x and plain of sqrt(x) + plain; None for what there is not."""
    if result.operation == "sqrt":
        return result.arguments[0], None
    first, *rest = result.arguments
    if result.operation in ("add", "sub") and first.operation == "sqrt":
        return first.arguments[0], rest[0] if result.operation == "add" else rest[0] * -1
    return None, result


def _value(symbol: Symbol | None) -> str:
    return Program(symbol, []).value() if symbol is not None else "const V<T> result = {};"


def _inputs(side: str, symbols: Sequence[Symbol]) -> str:
    return "".join(f"const V<T> {symbol.data[0]} = {side}[{j}]; " for j, symbol in enumerate(symbols))


def _outputs(side: str, symbols: Sequence[Symbol], factors: dict[Symbol, float], scale: float) -> str:
    return "".join(
        _output(f"d_{side}[{j}]", f"d_{symbol.data[0]}", factors[symbol] / scale) for j, symbol in enumerate(symbols)
    )


def _output(total: str, term: str, ratio: float) -> str:
    return f"{total} {'-' if ratio < 0 else '+'}= {term}{'' if abs(ratio) == 1 else f' * T({abs(ratio)!r})'}; "
