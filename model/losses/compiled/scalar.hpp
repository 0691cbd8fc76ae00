// Roots, reciprocals and the exponential in double, for kernels that the compiler vectorises.
typedef double T;

// 1 / sqrt(x), 0 for x <= 0, and 1 / x. Inverse<double> is exact. Inverse<float>, for formulas of cells of float, takes
// one Newton step from a result in float: it is accurate to 1e-14 between 1e-36 and 1e36, finite below, and three times
// as fast as the processor's own operations in double.
template <class C> struct Inverse {
    static inline T root(T x) { return x > 0 ? T(1) / std::sqrt(x) : T(0); }
    static inline T of(T x) { return T(1) / x; }
};
template <> struct Inverse<float> {
    static inline T root(T x) {
        const T safe = x > 1e-36 ? x : T(1e-36);
        const T y = T(1.0f / std::sqrt(float(safe)));
        return x > 0 ? y * (T(1.5) - T(0.5) * safe * y * y) : T(0);
    }
    static inline T of(T x) {
        const T safe = std::fabs(x) > 1e-36 ? x : std::copysign(T(1e-36), x);
        const T y = T(1.0f / float(safe));
        return y * (2 - safe * y);
    }
};

// sqrt(x) and 2 / sqrt(x), given 1 / sqrt(x).
static inline T root(T x, T inverse_root) { return x * inverse_root; }
static inline T slope(T, T inverse_root) { return 2 * inverse_root; }

// exp(x) for x <= 0, 0 below -700: Cody and Waite's reduction and a polynomial of degree 11.
static inline T exponential(T x) {
    const T y = x < -700 ? T(-700) : x;
    const T shift = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to an integer, held in the low bits
    const T k = y * 1.4426950408889634 + shift;
    uint64_t bits;
    std::memcpy(&bits, &k, 8);
    const T n = k - shift;
    const T r = (y - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
    T p = 1.0 / 39916800;
    p = p * r + 1.0 / 3628800; p = p * r + 1.0 / 362880; p = p * r + 1.0 / 40320; p = p * r + 1.0 / 5040;
    p = p * r + 1.0 / 720; p = p * r + 1.0 / 120; p = p * r + 1.0 / 24; p = p * r + 1.0 / 6;
    p = p * r + 0.5; p = p * r + 1.0; p = p * r + 1.0;
    const uint64_t power = (bits + 1023) << 52;
    T scale;
    std::memcpy(&scale, &power, 8);
    return x < -700 ? T(0) : p * scale;
}
