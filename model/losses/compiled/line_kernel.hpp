// One pass over a tile of line scores: formula, cross-entropy against the match, and the gradients of both, in double.
// Needs functions.hpp, scalar.hpp, transpose.hpp and the generated definitions of the formula:
//
//   FORMULA_CELLS, FORMULA_ROWS, FORMULA_COLS   how many cross terms, and statistics of a row and of a candidate, it has
//   FORMULA_SAVED                 how many roots, reciprocals and powers the first pass over a row saves for the second
//   POINT_TO_CELLS                declares pointers to the values and the gradients of a row's cells
//   POINT_TO_COL_GRADS            declares pointers to a thread's gradients of the candidates' statistics
//   POINT_TO_SAVED                declares pointers to the saved values
//   READ_ROW, READ_CELL           declare the inputs of the formula: those of row i, and those of candidate c
//   VALUE                         declares `result`, the score of row i and candidate c
//   SAVE, READ_SAVED              write and read the saved values
//   VALUE_FROM_SAVED              declares `result` again, from the saved values
//   DERIVATIVES                   declares d_<input> from `seed`, the gradient of `result`
//   DECLARE_ROW_GRADS             declares sums over candidates of the gradients of the row's statistics
//   ROW_GRADS                     the names of those sums, each after a comma
//   ADD_GRADS                     writes the gradients of the cells, and adds the other gradients to their sums
//   WRITE_ROW_GRADS, WRITE_COL_GRADS   add the sums to the results of the tile

// The cells of one cross term in one direction. Those of the first `turned_count` candidates are `turned`: row t of the
// tile is a column, and the rows of memory are `turned_stride` apart. Their gradients are added to `turned_grads`. Those
// of the other candidates are `values`, (rows, size - turned_count), whose rows are `stride` apart. Their gradients are
// written to `grads`, which has the same layout and may be the same memory.
struct CrossTermCells {
    void *values, *grads, *turned, *turned_grads;
    I stride, turned_stride, turned_count;
};

// The rows first … first + rows - 1 of some directions, of which `directions` has the indices and `weights` the weights.
// size: B, the number of rows and candidates of the batch, of which row i matches candidate i. cells: for each direction,
// its cross terms. `matched` (D, B), `row` (D, r, B), `col` (D, q, B): the statistics of the batch.
// Added to: `sums` (3,), the loss and its gradients with respect to the two scales, and d_matched, d_row, d_col, if
// need_grad.
struct LineTile {
    const CrossTermCells* cells;
    const I* directions; const T* weights;
    I direction_count, first, rows, size, need_grad, threads;
    T negative_scale, match_scale, features;
    const T *matched, *row, *col;
    T *sums, *d_matched, *d_row, *d_col;
};

// The rows of a block, which one thread processes; turned cells are copied one block at a time.
static const I BLOCK = 16;

// Copies the cells of some rows of the tile from `start`, all candidates in their order, to rows of length `size`.
template <class C>
static void gather_rows(const CrossTermCells& term, I start, I count, I size, C* to) {
    const I turned = term.turned_count;
    columns_to_rows(static_cast<const C*>(term.turned) + start, term.turned_stride, count, turned, to, size);
    for (I t = 0; t < count && turned < size; ++t)
        std::memcpy(to + t * size + turned, static_cast<const C*>(term.values) + (start + t) * term.stride,
                    (size - turned) * sizeof(C));
}

// Adds gradients in the layout of `gather_rows` to the turned cells, and writes those of the other cells.
template <class C>
static void scatter_rows(const C* from, I start, I count, I size, const CrossTermCells& term) {
    const I turned = term.turned_count;
    add_rows_to_columns(from, size, count, turned, static_cast<C*>(term.turned_grads) + start, term.turned_stride);
    for (I t = 0; t < count && turned < size; ++t)
        std::memcpy(static_cast<C*>(term.grads) + (start + t) * term.stride, from + t * size + turned,
                    (size - turned) * sizeof(C));
}

template <class C>
static void line(const LineTile& tile) {
    const I rows = tile.rows, size = tile.size, first = tile.first, need_grad = tile.need_grad;
    // Starting a thread takes as long as computing some ten thousand cells.
    const I threads = std::min({tile.threads, (rows + BLOCK - 1) / BLOCK, 1 + rows * size * FORMULA_CELLS / 8192});
    const T negative_scale = tile.negative_scale, match_scale = tile.match_scale;
    [[maybe_unused]] const T features = tile.features;
    [[maybe_unused]] const auto near_inverse_root = [](T x) { return Inverse<C>::root(x); };
    [[maybe_unused]] const auto reciprocal = [](T x) { return Inverse<C>::of(x); };
    T loss = 0, d_negative_scale = 0, d_match_scale = 0;
    I any_turned = 0;
    for (I k = 0; k < tile.direction_count * FORMULA_CELLS; ++k) any_turned |= tile.cells[k].turned_count;
    #pragma omp parallel num_threads(threads) reduction(+ : loss, d_negative_scale, d_match_scale) if(threads > 1)
    {
        std::vector<T> scratch((1 + FORMULA_COLS + FORMULA_SAVED) * size);
        std::vector<C> row_major(any_turned ? FORMULA_CELLS * BLOCK * size : 0);
        T *z = scratch.data(), *col_grads = z + size, *saved = col_grads + FORMULA_COLS * size;
        POINT_TO_COL_GRADS
        POINT_TO_SAVED
        for (I s = 0; s < tile.direction_count; ++s) {
            const CrossTermCells* cells = tile.cells + s * FORMULA_CELLS;
            const I direction = tile.directions[s];
            const T weight = tile.weights[s];
            const T* matched = tile.matched + direction * size;
            [[maybe_unused]] const T* row = tile.row + direction * FORMULA_ROWS * size;
            [[maybe_unused]] const T* col = tile.col + direction * FORMULA_COLS * size;
            T* d_matched = tile.d_matched + direction * size;
            [[maybe_unused]] T* d_row = tile.d_row + direction * FORMULA_ROWS * size;
            [[maybe_unused]] T* d_col = tile.d_col + direction * FORMULA_COLS * size;
            std::fill(col_grads, col_grads + FORMULA_COLS * size, T(0));
            // The barrier after this loop separates directions, of which a later one adds to gradients of an earlier one.
            #pragma omp for schedule(static)
            for (I start = 0; start < rows; start += BLOCK) {
                const I count = std::min(rows - start, BLOCK);
                const C* from[FORMULA_CELLS];
                C* to[FORMULA_CELLS];
                I step[FORMULA_CELLS];
                for (I k = 0; k < FORMULA_CELLS; ++k) {
                    C* block = row_major.data() + k * BLOCK * size;
                    const bool turned = cells[k].turned_count > 0;
                    if (turned) gather_rows(cells[k], start, count, size, block);
                    step[k] = turned ? size : cells[k].stride;
                    from[k] = turned ? block : static_cast<const C*>(cells[k].values) + start * step[k];
                    to[k] = turned ? block : static_cast<C*>(cells[k].grads) + start * step[k];
                }
                for (I t = 0; t < count; ++t) {
                    const I i = first + start + t;
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
                    z[i] = -1e308;  // in a batch of one row, loss and gradients are then 0
                    T top = -1e308;
                    #pragma omp simd reduction(max : top)
                    for (I c = 0; c < size; ++c) top = z[c] > top ? z[c] : top;
                    T total = 0;
                    #pragma omp simd reduction(+ : total)
                    for (I c = 0; c < size; ++c) { z[c] = exponential(z[c] - top); total += z[c]; }
                    const T lse = top + std::log(total);
                    const T small = std::exp(-std::fabs(lse));
                    const T sigmoid = (lse > 0 ? T(1) : small) / (1 + small);
                    loss += weight * ((lse > 0 ? lse : T(0)) + std::log1p(small));
                    if (!need_grad) continue;
                    const T share = sigmoid / total;
                    d_match_scale -= weight * sigmoid * matched[i];
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
                    d_negative_scale += weight * d_scale;
                    WRITE_ROW_GRADS
                }
                for (I k = 0; k < FORMULA_CELLS && need_grad; ++k)
                    if (cells[k].turned_count > 0) scatter_rows(to[k], start, count, size, cells[k]);
            }
            if (FORMULA_COLS && need_grad) {
                #pragma omp critical
                { WRITE_COL_GRADS }
            }
        }
    }
    tile.sums[0] += loss;
    tile.sums[1] += d_negative_scale;
    tile.sums[2] += d_match_scale;
}

EXPORT(line, LineTile)
