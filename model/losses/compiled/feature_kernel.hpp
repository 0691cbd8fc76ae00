// Sums over features of an integrand of row operands and candidate operands, forward and backward. The loops keep a
// block of cells in registers. Needs functions.hpp, vectors.hpp and the generated definitions of the integrand:
//
//   FORMULA_ROWS, FORMULA_COLS     how many row operands and candidate operands it has
//   FORMULA_ROOTED, FORMULA_PLAIN  whether it has the term sqrt(x), and whether it has another term, `plain`
//   READ_INPUTS                    declares its inputs, vectors, from row[] and col[]
//   RADICAND, PLAIN_VALUE          declare `result`: x, and plain
//   VALUE                          declares `result`: the integrand
//   DERIVATIVES, DERIVATIVE_SCALE  declare d_<input> from `seed`, which has the factor DERIVATIVE_SCALE
//   ADD_GRADS                      adds the derivatives to d_row[] and d_col[]
//
// A block has TALL rows and WIDE candidates: the values loaded for one feature serve all its cells, so that arithmetic,
// not memory, limits the loops. Threads share the rows. In backward they also take turns at the candidates, so that no
// two threads write to the same element. CLOSE candidates stay in the L2 cache while a thread processes all its rows.
//
// sqrt(x) + plain is summed as head + plain + tail: head = x * near, near is about 1 / sqrt(x), and tail, the rest of a
// Newton step, is small. Subtracting the head at the match loses no digits; a rounded root would lose some.
const I TALL = 4, WIDE = 4, CLOSE = 128, ROWS = FORMULA_ROWS, COLS = FORMULA_COLS;
const bool ROOTED = FORMULA_ROOTED, PLAIN = FORMULA_PLAIN;

// rows: arrays of (count, features), of the rows of a tile, row i of which matches candidate first + i; cols: arrays of
// (size, features). Forward writes the sums `cells` (count, size), less those at the match. Backward reads the gradient
// `cells` and adds to d_rows and d_cols. features: a multiple of the lanes of a vector.
struct FeatureArguments {
    void* const* rows; void* const* cols;
    I count, size, features, first, threads;
    void* cells;
    void* const* d_rows; void* const* d_cols;
};

template <class T> static inline V<T> radicand([[maybe_unused]] const V<T>* row, [[maybe_unused]] const V<T>* col) {
    READ_INPUTS
    RADICAND
    return result;
}

template <class T> static inline V<T> plain([[maybe_unused]] const V<T>* row, [[maybe_unused]] const V<T>* col) {
    READ_INPUTS
    PLAIN_VALUE
    return result;
}

// Copies TALL rows of some arrays next to each other by vectors: [feature / lanes][array][row][lane]. Rows beyond the
// last repeat the last.
template <class T> static void pack(T* const* from, I arrays, I count, I features, I room, T* to) {
    for (I z = 0; z < features; z += LANES<T>, to += room * TALL * LANES<T>)
        for (I j = 0; j < arrays; ++j)
            for (I k = 0; k < TALL; ++k)
                store<T>(to + (j * TALL + k) * LANES<T>, load<T>(from[j] + std::min(k, count - 1) * features + z));
}

// Prefetches a share of the next TALL rows after r. The shares of CLOSE candidates together are all of these rows.
template <class T> static inline void fetch_next(T* const* r, I arrays, I features, I done) {
    const I share = TALL * features * I(sizeof(T)) * WIDE / CLOSE;
    for (I j = 0; j < arrays; ++j)
        for (I k = 0; k < share; k += 64)
            __builtin_prefetch((const char*)(r[j] + TALL * features) + done / WIDE * share + k);
}

// The number of rows or candidates out of `count` for each thread, a multiple of BLOCK.
template <I BLOCK> static I share(I count, I threads) {
    return (count + BLOCK * threads - 1) / (BLOCK * threads) * BLOCK;
}

// Adds the sums of a block of cells, without the `tails`. packed: rows and anchors; y: WIDE candidates of each array.
template <class T> static inline void sum_block(const T* packed, T* const* y, I features, V<T> sums[TALL][WIDE]) {
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

// Writes the values at the match, head + plain, into the packed rows as their anchors, and the sums over features of
// the rest, tail and rounding error, to `tails`.
template <class T> static void anchor_rows(T* packed, T* const* y, I count, I features, double* tails) {
    for (I k = 0; k < TALL; ++k) {
        V<T> tail = {};
        T* at = packed + k * LANES<T>;
        for (I z = 0; z < features; z += LANES<T>, at += (ROWS + 1) * TALL * LANES<T>) {
            V<T> row[ROWS], col[COLS];
            for (I j = 0; j < ROWS; ++j) row[j] = load<T>(at + j * TALL * LANES<T>);
            for (I j = 0; j < COLS; ++j) col[j] = load<T>(y[j] + std::min(k, count - 1) * features + z);
            V<T> anchor = plain<T>(row, col);
            if (ROOTED) {
                const V<T> x = radicand<T>(row, col), near = near_inverse_root(x), head = x * near;
                const V<T> sum = head + anchor;
                tail += ((head - sum) + anchor) * 2;
                tail += (x - head * head) * near;
                anchor = sum;
            }
            store<T>(at + ROWS * TALL * LANES<T>, anchor);
        }
        tails[k] = total<T, LANES<T>>(tail);
    }
}

// Points `to` at candidates c … c + WIDE - 1 of some arrays; near the end, at a copy that repeats the last one.
template <class T>
static void candidates(T* const* from, I arrays, I c, I count, I features, std::vector<T>& copy, T** to) {
    for (I j = 0; j < arrays; ++j) {
        to[j] = from[j] + c * features;
        if (count == WIDE) continue;
        copy.resize(COLS * WIDE * features);
        to[j] = copy.data() + j * WIDE * features;
        for (I m = 0; m < WIDE; ++m)
            std::copy_n(from[j] + (c + std::min(m, count - 1)) * features, features, to[j] + m * features);
    }
}

template <class T> static void forward(const FeatureArguments& arguments) {
    T *const *rows = (T* const*)arguments.rows, *const *cols = (T* const*)arguments.cols;
    T* out = (T*)arguments.cells;
    const I count = arguments.count, size = arguments.size, features = arguments.features;
    const I first = arguments.first, threads = arguments.threads;
    const I tall_share = share<TALL>(count, threads);
    #pragma omp parallel for num_threads(threads) schedule(static, 1) if(threads > 1)
    for (I thread = 0; thread < threads; ++thread) {
        const I low = thread * tall_share, high = std::min(count, low + tall_share);
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
                        for (I m = 0; m < wide; ++m) {
                            const double sum = total<T, LANES<T>>(sums[k][m]);
                            out[(i + k) * size + c + m] = ROOTED ? (sum - tails[k]) / 2 : sum;
                        }
                }
            }
    }
}

// Adds the derivatives of a block of cells to d_y and to those packed with the rows. Stores come last: a load after a
// store to an address a multiple of 4096 bytes away waits, and rows of candidates often are that far apart.
template <class T>
static inline void backward_block(T* packed, T* const* y, T* const* d_y, I features, const T weight[TALL][WIDE]) {
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
                READ_INPUTS
                VALUE
                DERIVATIVES
                ADD_GRADS
            }
        }
        for (I j = 0; j < ROWS; ++j)
            for (I k = 0; k < TALL; ++k) store<T>(packed + ((ROWS + j) * TALL + k) * LANES<T>, d_rows[k][j]);
        for (I j = 0; j < COLS; ++j)
            for (I m = 0; m < WIDE; ++m) store<T>(d_y[j] + m * features + z, d_cols[m][j]);
    }
}

// Writes the weights of a block, 0 beyond the last row and candidate. Returns whether any weight is not 0.
template <class T> static bool weigh(const T* grad, I size, I tall, I wide, T weight[TALL][WIDE]) {
    bool any = false;
    for (I k = 0; k < TALL; ++k)
        for (I m = 0; m < WIDE; ++m) {
            weight[k][m] = k < tall && m < wide ? grad[k * size + m] * T(DERIVATIVE_SCALE) : T(0);
            any |= weight[k][m] != 0;
        }
    return any;
}

// Adds the derivatives of rows low … high - 1 with candidates from … to - 1.
template <class T>
static void backward_range(const FeatureArguments& arguments, I low, I high, I from, I to) {
    T *const *rows = (T* const*)arguments.rows, *const *cols = (T* const*)arguments.cols;
    T *const *d_rows = (T* const*)arguments.d_rows, *const *d_cols = (T* const*)arguments.d_cols;
    const T* grad = (const T*)arguments.cells;
    const I size = arguments.size, features = arguments.features, room = 2 * ROWS;
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
                for (I j = 0; wide < WIDE && j < COLS; ++j)
                    std::copy_n(d_y[j], wide * features, d_cols[j] + c * features);
            }
            const T* at = packed.data();
            for (I z = 0; z < features; z += LANES<T>, at += room * TALL * LANES<T>)
                for (I j = 0; j < ROWS; ++j)
                    for (I k = 0; k < tall; ++k)
                        store<T>(r[ROWS + j] + k * features + z, load<T>(at + ((ROWS + j) * TALL + k) * LANES<T>));
        }
}

template <class T> static void backward(const FeatureArguments& arguments) {
    const I count = arguments.count, size = arguments.size, threads = arguments.threads;
    const I tall = share<TALL>(count, threads), wide = share<WIDE>(size, threads);
    for (I turn = 0; turn < threads; ++turn) {
        #pragma omp parallel for num_threads(threads) schedule(static, 1) if(threads > 1)
        for (I thread = 0; thread < threads; ++thread) {
            const I low = thread * tall, from = (thread + turn) % threads * wide;
            backward_range<T>(arguments, low, std::min(count, low + tall), from, std::min(size, from + wide));
        }
    }
}

EXPORT(forward, FeatureArguments)
EXPORT(backward, FeatureArguments)
