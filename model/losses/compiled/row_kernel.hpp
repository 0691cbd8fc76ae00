// The row-wise part of a loss in two passes over the views, forward and backward. All views of a sample are processed
// together, in double, so that each is read once. Needs functions.hpp, scalar.hpp and the generated
// definitions of the formula:
//
//   FORMULA_VIEWS                 how many views there are
//   POINT_TO_VIEWS                declares pointers to a sample's views, and the inverses of their norms
//   POINT_TO_OPERANDS             declares pointers to a sample's operands, or to their gradients
//   READ_VIEWS                    declares the inputs of the formula: feature z of each normalised view
//   VALUE                         declares the results: the terms of the sums, then the operands
//   DECLARE_SUMS, SUM_REDUCTION, ADD_TO_SUMS, WRITE_SUMS   the sums over features of the first results
//   WRITE_OPERANDS                writes the other results
//   READ_SUM_GRADS, READ_OPERAND_GRADS   declare the gradients of the results, the seeds
//   DERIVATIVES                   declares d_<input> from the seeds
//   DECLARE_DOTS, DOT_REDUCTION, WRITE_DOTS   the inner product of each normalised view with its gradient
//   WRITE_GRADS                   writes the gradients of the normalised views, and adds to the inner products

static inline T near_inverse_root(T x) { return Inverse<T>::root(x); }

// views: of (size, features). Forward writes norms (views, size), sums (s, size), and the operands, each (size,
// features), of type O. Backward reads norms, the gradients `sums` and `operands`, and writes `out` (views, size,
// features): the gradient of the views times `factor`, within the range of float.
struct RowArguments {
    const float* const* views; void* const* operands;
    I size, features, normalised, threads;
    T eps, factor;
    T *norms, *sums;
    float* out;
};

// Starting a thread takes as long as computing some ten thousand elements.
static I useful_threads(const RowArguments& arguments) {
    return std::min(arguments.threads, 1 + arguments.size * arguments.features * FORMULA_VIEWS / 32768);
}

template <class O>
static void forward(const RowArguments& arguments) {
    const float* const* views = arguments.views;
    O* const* operands = reinterpret_cast<O* const*>(arguments.operands);
    const I size = arguments.size, features = arguments.features, normalised = arguments.normalised;
    const I threads = useful_threads(arguments);
    const T eps = arguments.eps;
    T *norms = arguments.norms, *sums = arguments.sums;
    #pragma omp parallel for num_threads(threads) schedule(static) if(threads > 1)
    for (I b = 0; b < size; ++b) {
        T inverse[FORMULA_VIEWS];
        for (I k = 0; k < FORMULA_VIEWS; ++k) {
            const float* v = views[k] + b * features;
            T square = 0;
            #pragma omp simd reduction(+ : square)
            for (I z = 0; z < features; ++z) square += T(v[z]) * T(v[z]);
            norms[k * size + b] = std::sqrt(square);
            inverse[k] = normalised ? 1 / (norms[k * size + b] + eps) : T(1);
        }
        POINT_TO_VIEWS
        POINT_TO_OPERANDS
        DECLARE_SUMS
        #pragma omp simd SUM_REDUCTION
        for (I z = 0; z < features; ++z) {
            READ_VIEWS
            VALUE
            ADD_TO_SUMS
            WRITE_OPERANDS
        }
        WRITE_SUMS
    }
}

template <class O>
static void backward(const RowArguments& arguments) {
    const float* const* views = arguments.views;
    const O* const* operands = reinterpret_cast<const O* const*>(arguments.operands);
    const I size = arguments.size, features = arguments.features, normalised = arguments.normalised;
    const I threads = useful_threads(arguments);
    const T eps = arguments.eps, factor = arguments.factor;
    const T *norms = arguments.norms, *d_sums = arguments.sums;
    float* out = arguments.out;
    const T limit = 3.4028234663852886e38;
    #pragma omp parallel num_threads(threads) if(threads > 1)
    {
        std::vector<T> scratch(FORMULA_VIEWS * features);
        #pragma omp for schedule(static)
        for (I b = 0; b < size; ++b) {
            T inverse[FORMULA_VIEWS], dots[FORMULA_VIEWS];
            for (I k = 0; k < FORMULA_VIEWS; ++k) inverse[k] = normalised ? 1 / (norms[k * size + b] + eps) : T(1);
            POINT_TO_VIEWS
            POINT_TO_OPERANDS
            READ_SUM_GRADS
            T* g = scratch.data();
            DECLARE_DOTS
            #pragma omp simd DOT_REDUCTION
            for (I z = 0; z < features; ++z) {
                READ_VIEWS
                VALUE
                READ_OPERAND_GRADS
                DERIVATIVES
                WRITE_GRADS
            }
            WRITE_DOTS
            for (I k = 0; k < FORMULA_VIEWS; ++k) {
                const float* v = views[k] + b * features;
                const T* gk = g + k * features;
                float* o = out + (k * size + b) * features;
                const T norm = norms[k * size + b];
                // The unit vector is x (norm + eps) / norm; a zero row has none, and its gradient is zero.
                const T shrink = normalised && norm == 0 ? T(0) : factor * inverse[k];
                const T along = normalised && norm > 0 ? factor * inverse[k] * dots[k] / norm : T(0);
                #pragma omp simd
                for (I z = 0; z < features; ++z) {
                    const T d = gk[z] * shrink - T(v[z]) * along;
                    o[z] = float(d > limit ? limit : d < -limit ? -limit : d);
                }
            }
        }
    }
}

EXPORT(forward, RowArguments)
EXPORT(backward, RowArguments)
