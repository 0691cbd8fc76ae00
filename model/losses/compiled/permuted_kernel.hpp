// Products of permuted rows: for each anchor view a, candidate c is the product over the other views of one row of each.
// Needs functions.hpp and FORMULA_VIEWS, the number of views n.

// views: n arrays (size, features). orders (n, n - 1, size): for anchor a and each other view, in order, the row that
// candidate c takes; for fixed a and view they are a permutation, so that no two candidates write to the same row.
// Forward writes the products (n, size, features). Backward reads their gradients `products`, n arrays (size, features),
// and adds to d_views.
struct PermutedArguments {
    void* const* views; const I* orders;
    I size, features, threads;
    void* const* products;
    void* const* d_views;
};

// The number of views that an anchor view leaves, and the index of the j-th of them.
static const I REST = FORMULA_VIEWS - 1;
static inline I rest_view(I anchor, I j) { return j < anchor ? j : j + 1; }

template <class C> static void forward(const PermutedArguments& arguments) {
    const I size = arguments.size, features = arguments.features;
    #pragma omp parallel for collapse(2) num_threads(arguments.threads) schedule(static) if(arguments.threads > 1)
    for (I a = 0; a < FORMULA_VIEWS; ++a)
        for (I c = 0; c < size; ++c) {
            const I* order = arguments.orders + a * REST * size + c;
            const C* rows[REST];
            for (I j = 0; j < REST; ++j)
                rows[j] = static_cast<const C*>(arguments.views[rest_view(a, j)]) + order[j * size] * features;
            C* out = static_cast<C*>(arguments.products[a]) + c * features;
            #pragma omp simd
            for (I z = 0; z < features; ++z) {
                C product = rows[0][z];
                #pragma GCC unroll 16
                for (I j = 1; j < REST; ++j) product *= rows[j][z];
                out[z] = product;
            }
        }
}

template <class C> static void backward(const PermutedArguments& arguments) {
    const I size = arguments.size, features = arguments.features;
    #pragma omp parallel num_threads(arguments.threads) if(arguments.threads > 1)
    for (I a = 0; a < FORMULA_VIEWS; ++a) {
        // The barrier after this loop separates anchors, whose candidates add to the same rows.
        #pragma omp for schedule(static)
        for (I c = 0; c < size; ++c) {
            const I* order = arguments.orders + a * REST * size + c;
            const C* rows[REST];
            C* d_rows[REST];
            for (I j = 0; j < REST; ++j) {
                const I view = rest_view(a, j), at = order[j * size] * features;
                rows[j] = static_cast<const C*>(arguments.views[view]) + at;
                d_rows[j] = static_cast<C*>(arguments.d_views[view]) + at;
            }
            const C* grad = static_cast<const C*>(arguments.products[a]) + c * features;
            #pragma omp simd
            for (I z = 0; z < features; ++z) {
                C after[REST];  // the product of the later rows and the gradient
                after[REST - 1] = grad[z];
                #pragma GCC unroll 16
                for (I j = REST - 1; j > 0; --j) after[j - 1] = after[j] * rows[j][z];
                C before = 1;
                #pragma GCC unroll 16
                for (I j = 0; j < REST; ++j) {
                    d_rows[j][z] += before * after[j];
                    before *= rows[j][z];
                }
            }
        }
    }
}

EXPORT(forward, PermutedArguments)
EXPORT(backward, PermutedArguments)
