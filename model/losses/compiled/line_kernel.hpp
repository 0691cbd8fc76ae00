// One pass over a tile of line scores: formula, cross-entropy against the match, and the gradients of both, in double.
// Needs functions.hpp, scalar.hpp, transpose.hpp and the generated definitions of the formula:
//
//   FORMULA_CELLS, FORMULA_COLS   how many cross terms and statistics of a candidate the formula has
//   FORMULA_SAVED                 how many roots and reciprocals the first pass over a row saves for the second
//   POINT_TO_CELLS                declares pointers to the values and the gradients of a row's cells
//   POINT_TO_COL_GRADS            declares pointers to a thread's gradients of the candidates' statistics
//   POINT_TO_SAVED                declares pointers to saved roots and reciprocals
//   READ_ROW, READ_CELL           declare the inputs of the formula: those of row i, and those of candidate c
//   VALUE                         declares `result`, the score of row i and candidate c
//   SAVE, READ_SAVED              write and read saved roots and reciprocals
//   VALUE_FROM_SAVED              declares `result` again, from saved roots and reciprocals
//   DERIVATIVES                   declares d_<input> from `seed`, the gradient of `result`
//   DECLARE_ROW_GRADS             declares sums over candidates of the gradients of the row's statistics
//   ROW_GRADS                     the names of those sums, each after a comma
//   ADD_GRADS                     writes the gradients of the cells, and adds the other gradients to their sums
//   WRITE_ROW_GRADS, WRITE_COL_GRADS   add the sums to the results of the tile

// rows: T rows of the tile, row t of which matches candidate first + t; size: B candidates; transposed: for each cross
// term, whether its cells are (B, T) instead of (T, B). `matched` (T,), `row` (r, T), `col` (q, B): the statistics.
// Written, if need_grad: the gradients `grads` of the cells; where transposed, they are added to the present values.
// Added to: `sums` (3,), the loss and its gradients with respect to the two scales, and d_matched, d_row, d_col.
struct LineTile {
    void* const* cells; void* const* grads; const I* transposed;
    I rows, size, first, need_grad, threads;
    T negative_scale, match_scale, weight, features;
    const T *matched, *row, *col;
    T *sums, *d_matched, *d_row, *d_col;
};

// The rows of a block, which one thread processes; transposed cells are copied one block at a time.
static const I BLOCK = 16;

template <class C>
static void line(const LineTile& tile) {
    const I rows = tile.rows, size = tile.size, first = tile.first, need_grad = tile.need_grad, threads = tile.threads;
    const I* transposed = tile.transposed;
    const T negative_scale = tile.negative_scale, match_scale = tile.match_scale, weight = tile.weight;
    [[maybe_unused]] const T features = tile.features;
    const T* matched = tile.matched;
    [[maybe_unused]] const T *row = tile.row, *col = tile.col;
    C* const* cells = reinterpret_cast<C* const*>(tile.cells);
    C* const* grads = reinterpret_cast<C* const*>(tile.grads);
    T* d_matched = tile.d_matched;
    [[maybe_unused]] T *d_row = tile.d_row, *d_col = tile.d_col;
    [[maybe_unused]] const auto near_inverse_root = [](T x) { return Inverse<C>::root(x); };
    [[maybe_unused]] const auto reciprocal = [](T x) { return Inverse<C>::of(x); };
    T loss = 0, d_negative_scale = 0, d_match_scale = 0;
    I any_transposed = 0;
    for (I k = 0; k < FORMULA_CELLS; ++k) any_transposed |= transposed[k];
    #pragma omp parallel num_threads(threads) reduction(+ : loss, d_negative_scale, d_match_scale)
    {
        std::vector<T> logits(size), col_grads(FORMULA_COLS * size, T(0)), saved(FORMULA_SAVED * size);
        T* z = logits.data();
        POINT_TO_COL_GRADS
        POINT_TO_SAVED
        std::vector<C> row_major(any_transposed ? FORMULA_CELLS * BLOCK * size : 0);
        #pragma omp for schedule(static)
        for (I start = 0; start < rows; start += BLOCK) {
        const I stop = std::min(rows, start + BLOCK);
        const C* from[FORMULA_CELLS];
        C* to[FORMULA_CELLS];
        for (I k = 0; k < FORMULA_CELLS; ++k) {
            C* block = row_major.data() + k * BLOCK * size;
            if (transposed[k]) columns_to_rows(cells[k] + start, rows, stop - start, size, block);
            from[k] = transposed[k] ? block : cells[k] + start * size;
            to[k] = transposed[k] ? block : grads[k] + start * size;
        }
        for (I i = start; i < stop; ++i) {
            const I match = first + i, offset = (i - start) * size;
            POINT_TO_CELLS
            READ_ROW
            const T match_logit = match_scale * matched[i];
            #pragma omp simd
            for (I c = 0; c < size; ++c) {
                READ_CELL
                VALUE
                SAVE
                z[c] = negative_scale * result - match_logit;
            }
            z[match] = -1e308;  // in a batch of one row, loss and gradients are then 0
            T top = -1e308;
            #pragma omp simd reduction(max : top)
            for (I c = 0; c < size; ++c) top = z[c] > top ? z[c] : top;
            T total = 0;
            #pragma omp simd reduction(+ : total)
            for (I c = 0; c < size; ++c) { z[c] = exponential(z[c] - top); total += z[c]; }
            const T lse = top + std::log(total);
            const T small = std::exp(-std::fabs(lse));
            const T sigmoid = (lse > 0 ? T(1) : small) / (1 + small);
            loss += (lse > 0 ? lse : T(0)) + std::log1p(small);
            if (!need_grad) continue;
            const T share = sigmoid / total;
            d_match_scale -= sigmoid * matched[i];
            d_matched[i] -= weight * match_scale * sigmoid;
            T d_scale = 0;
            DECLARE_ROW_GRADS
            #pragma omp simd reduction(+ : d_scale ROW_GRADS)
            for (I c = 0; c < size; ++c) {
                READ_CELL
                READ_SAVED
                VALUE_FROM_SAVED
                const T d_logit = z[c] * share;
                const T seed = d_logit * weight * negative_scale;
                d_scale += d_logit * result;
                DERIVATIVES
                ADD_GRADS
            }
            d_negative_scale += d_scale;
            WRITE_ROW_GRADS
        }
        for (I k = 0; k < FORMULA_CELLS && need_grad; ++k)
            if (transposed[k]) add_rows_to_columns(to[k], rows, stop - start, size, grads[k] + start);
        }
        #pragma omp critical
        { WRITE_COL_GRADS }
    }
    tile.sums[0] += weight * loss;
    tile.sums[1] += weight * d_negative_scale;
    tile.sums[2] += weight * d_match_scale;
}

EXPORT(line, LineTile)
