// One pass over a tile of scores of pairs of rows: the sigmoid loss of every pair and its gradients, in double. Needs
// functions.hpp and scalar.hpp.
//
// rows: T rows of the tile, row t of which matches candidate first + t; size: B candidates. A logit is scale * score +
// bias. `matched` (T,): the scores of the matches, which replace those in `cells` (T, B). Written: `cells`, the
// gradients with respect to the scores, 0 at a match, and d_matched (T,). Added to: `sums` (3,), the loss and its
// gradients with respect to scale and bias.
struct SigmoidTile {
    void* cells;
    I rows, size, first, threads;
    T scale, bias;
    const T* matched;
    T *sums, *d_matched;
};

// log(1 + e) is added as the logarithm of a product of factors 1 + e, of which each is at most 2, so that GROUP of them
// stay within the range of double. The product less 1 keeps the digits of a small e.
static const I GROUP = 1000;
#pragma omp declare reduction(product_less_1 : T : omp_out = omp_out + omp_in + omp_out * omp_in) \
    initializer(omp_priv = T(0))

// Adds the loss log(1 + exp(logit)) of `count` pairs that do not match and its gradients to `sums`, and writes the
// gradients with respect to the scores.
template <class C> static inline void others(C* scores, I count, T scale, T bias, T* sums) {
    for (I start = 0; start < count; start += GROUP) {
        const I stop = std::min(count, start + GROUP);
        T positive = 0, product = 0, d_scale = 0, d_bias = 0;
        #pragma omp simd reduction(+ : positive, d_scale, d_bias) reduction(product_less_1 : product)
        for (I c = start; c < stop; ++c) {
            const T score = T(scores[c]), logit = scale * score + bias;
            const T e = exponential(-std::fabs(logit)), inverse = Inverse<C>::of(1 + e);
            const T sigmoid = logit > 0 ? inverse : e * inverse;
            positive += logit > 0 ? logit : T(0);
            product = product + e + product * e;
            d_scale += sigmoid * score;
            d_bias += sigmoid;
            scores[c] = C(scale * sigmoid);
        }
        sums[0] += positive + std::log1p(product);
        sums[1] += d_scale;
        sums[2] += d_bias;
    }
}

template <class C> static void sigmoid(const SigmoidTile& tile) {
    const I rows = tile.rows, size = tile.size, first = tile.first, threads = tile.threads;
    const T scale = tile.scale, bias = tile.bias;
    const T* matched = tile.matched;
    T loss = 0, d_scale = 0, d_bias = 0;
    #pragma omp parallel for num_threads(threads) schedule(static) if(threads > 1) reduction(+ : loss, d_scale, d_bias)
    for (I i = 0; i < rows; ++i) {
        C* scores = reinterpret_cast<C*>(tile.cells) + i * size;
        const I match = first + i;
        T sums[3] = {};
        others(scores, match, scale, bias, sums);
        others(scores + match + 1, size - match - 1, scale, bias, sums);
        const T logit = scale * matched[i] + bias, e = std::exp(-std::fabs(logit));
        const T d_logit = -(logit > 0 ? e : T(1)) / (1 + e);
        scores[match] = 0;
        tile.d_matched[i] = scale * d_logit;
        loss += sums[0] + (logit > 0 ? T(0) : -logit) + std::log1p(e);
        d_scale += sums[1] + d_logit * matched[i];
        d_bias += sums[2] + d_logit;
    }
    tile.sums[0] += loss;
    tile.sums[1] += d_scale;
    tile.sums[2] += d_bias;
}

EXPORT(sigmoid, SigmoidTile)
