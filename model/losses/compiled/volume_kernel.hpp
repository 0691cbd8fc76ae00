// The determinant of each sample's Gram matrix, and the determinant and the inverse of the Gram matrix of all views but
// one, forward and backward, in double. A vector holds the same entry of several samples. Needs functions.hpp,
// vectors.hpp and FORMULA_VIEWS, the number of views n.
typedef V<double> Entry;
static const I N = FORMULA_VIEWS, M = N - 1, WIDTH = LANES<double>;
static const I STATISTICS = 1 + M * (M + 1) / 2;

// sums (n (n + 1) / 2, size): the products x_j.x_k of the views of a sample, j <= k, by j and then by k. ridge: added to x_k.x_k.
// Forward writes `det` (size,) of all views, and `rest` (n, STATISTICS, size): for each view a the determinant of the
// matrix of the others, and the coefficients of x_j x_k, j <= k, in the quadratic form of its inverse. Backward reads their
// gradients, and writes d_sums.
struct VolumeArguments {
    const double* sums;
    I size, threads;
    double ridge;
    double *det, *rest, *d_sums;
};

// Copies `count` numbers into a vector, whose other lanes repeat the last, and back.
static inline Entry read(const double* from, I count) {
    if (count == WIDTH) return load<double>(from);
    Entry x;
    for (I k = 0; k < WIDTH; ++k) x[k] = from[std::min(k, count - 1)];
    return x;
}
static inline void write(double* to, Entry x, I count) {
    for (I k = 0; k < count; ++k) to[k] = x[k];
}

static inline void read_matrix(const VolumeArguments& arguments, I b, I count, Entry g[N][N]) {
    const double* at = arguments.sums + b;
    for (I j = 0; j < N; ++j)
        for (I k = j; k < N; ++k, at += arguments.size)
            g[j][k] = g[k][j] = read(at, count) + (j == k ? arguments.ridge : 0);
}

// The index of the j-th view that is not a.
static inline I rest_view(I a, I j) { return j < a ? j : j + 1; }

static inline void without(const Entry g[N][N], I a, Entry m[M][M]) {
    for (I j = 0; j < M; ++j)
        for (I k = 0; k < M; ++k) m[j][k] = g[rest_view(a, j)][rest_view(a, k)];
}

// Replaces a symmetric matrix by its inverse, which is exactly symmetric, and returns its determinant. With L D L' the
// matrix and X = inverse(L), the inverse is X' inverse(D) X. The matrix is the sum of a positive semidefinite one and of
// the ridge, so that exact pivots are not below the ridge.
template <I SIDE> static inline Entry invert(Entry a[SIDE][SIDE], double ridge) {
    Entry det = Entry{} + 1, x[SIDE][SIDE], inverse_pivot[SIDE];
    for (I k = 0; k < SIDE; ++k) {
        const Entry least = Entry{} + ridge, pivot = a[k][k] < least ? least : a[k][k];
        det *= pivot;
        inverse_pivot[k] = 1 / pivot;
        for (I i = k + 1; i < SIDE; ++i) a[k][i] = a[i][k] * inverse_pivot[k];  // L[i][k], above the diagonal
        for (I i = k + 1; i < SIDE; ++i)
            for (I j = k + 1; j <= i; ++j) a[i][j] -= a[i][k] * a[k][j];
    }
    for (I j = 0; j < SIDE; ++j) {
        x[j][j] = Entry{} + 1;
        for (I i = j + 1; i < SIDE; ++i) {
            x[i][j] = -a[j][i];
            for (I k = j + 1; k < i; ++k) x[i][j] -= a[k][i] * x[k][j];
        }
    }
    for (I j = 0; j < SIDE; ++j)
        for (I k = j; k < SIDE; ++k) {
            Entry sum = Entry{};
            for (I i = k; i < SIDE; ++i) sum += x[i][j] * x[i][k] * inverse_pivot[i];
            a[j][k] = a[k][j] = sum;
        }
    return det;
}

static void volumes(const VolumeArguments& arguments) {
    const I size = arguments.size;
    #pragma omp parallel for num_threads(arguments.threads) schedule(static) if(arguments.threads > 1)
    for (I b = 0; b < size; b += WIDTH) {
        const I count = std::min(WIDTH, size - b);
        Entry g[N][N], m[M][M];
        read_matrix(arguments, b, count, g);
        double* to = arguments.rest + b;
        for (I a = 0; a < N; ++a) {
            without(g, a, m);
            write(to, invert<M>(m, arguments.ridge), count);
            to += size;
            for (I j = 0; j < M; ++j)
                for (I k = j; k < M; ++k, to += size) write(to, m[j][k] * (j == k ? 1.0 : 2.0), count);
        }
        write(arguments.det + b, invert<N>(g, arguments.ridge), count);
    }
}

// Adds det * d_det * inverse - inverse * D * inverse, the gradient with respect to the matrix of all views but a, where D
// is that with respect to the inverse. A coefficient of j < k is the sum of two entries, and a sum of products j < k is
// two entries.
static inline void add_rest_gradient(const Entry g[N][N], I a, I count, const VolumeArguments& arguments,
                                     const double* from, Entry d_g[N][N]) {
    Entry m[M][M], d[M][M], half[M][M];
    without(g, a, m);
    const Entry by_det = invert<M>(m, arguments.ridge) * read(from, count);
    from += arguments.size;
    for (I j = 0; j < M; ++j)
        for (I k = j; k < M; ++k, from += arguments.size)
            d[j][k] = d[k][j] = read(from, count);
    for (I i = 0; i < M; ++i)
        for (I k = 0; k < M; ++k) {
            half[i][k] = Entry{};
            for (I j = 0; j < M; ++j) half[i][k] += m[i][j] * d[j][k];
        }
    for (I i = 0; i < M; ++i)
        for (I k = i; k < M; ++k) {
            Entry sum = by_det * m[i][k];
            for (I j = 0; j < M; ++j) sum -= half[i][j] * m[j][k];
            d_g[rest_view(a, i)][rest_view(a, k)] += sum;
        }
}

static void volumes_backward(const VolumeArguments& arguments) {
    const I size = arguments.size;
    #pragma omp parallel for num_threads(arguments.threads) schedule(static) if(arguments.threads > 1)
    for (I b = 0; b < size; b += WIDTH) {
        const I count = std::min(WIDTH, size - b);
        Entry g[N][N], d_g[N][N] = {};
        read_matrix(arguments, b, count, g);
        for (I a = 0; a < N; ++a)
            add_rest_gradient(g, a, count, arguments, arguments.rest + a * STATISTICS * size + b, d_g);
        const Entry by_det = invert<N>(g, arguments.ridge) * read(arguments.det + b, count);
        double* to = arguments.d_sums + b;
        for (I j = 0; j < N; ++j)
            for (I k = j; k < N; ++k, to += size)
                write(to, (d_g[j][k] + by_det * g[j][k]) * (j == k ? 1.0 : 2.0), count);
    }
}

extern "C" void forward(const VolumeArguments* arguments) { volumes(*arguments); }
extern "C" void backward(const VolumeArguments* arguments) { volumes_backward(*arguments); }
