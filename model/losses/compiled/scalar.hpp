// Roots, reciprocals, the exponential and powers in double, for kernels that the compiler vectorises.
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

// exp(x) for x <= 709, 0 below -700: Cody and Waite's reduction and a polynomial of degree 11.
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

// log(x) for 0 < x < inf: x = m 2^k with m next to 1, and log(m) = 2 artanh(t) for t = (m - 1) / (m + 1), as a series.
static inline T logarithm(T x) {
    const bool subnormal = x < 2.2250738585072014e-308;
    const T y = subnormal ? x * 18014398509481984.0 : x;  // 2^54
    uint64_t bits;
    std::memcpy(&bits, &y, 8);
    // The exponent of x / sqrt(1/2), so that m is between sqrt(1/2) and sqrt(2).
    const uint64_t shifted = bits - 0x3fe6a09e667f3bcdULL;
    const uint64_t exponent = ((shifted + 0x4000000000000000ULL) >> 52) + 0x4330000000000000ULL;
    T k;
    std::memcpy(&k, &exponent, 8);
    k -= 4503599627370496.0 + 1024 + (subnormal ? T(54) : T(0));  // 2^52: its low bits hold the exponent
    const uint64_t mantissa = (shifted & 0x000fffffffffffffULL) + 0x3fe6a09e667f3bcdULL;
    T m;
    std::memcpy(&m, &mantissa, 8);
    const T t = (m - 1) / (m + 1), s = t * t;
    T p = 1.0 / 21;
    p = p * s + 1.0 / 19; p = p * s + 1.0 / 17; p = p * s + 1.0 / 15; p = p * s + 1.0 / 13; p = p * s + 1.0 / 11;
    p = p * s + 1.0 / 9; p = p * s + 1.0 / 7; p = p * s + 1.0 / 5; p = p * s + 1.0 / 3;
    return k * 6.93147180559945309417e-01 + (2 * t + 2 * t * s * p);
}

// |x|^exponent for an exponent in (0, 1), 0 below exp(-700).
static inline T power(T x, T exponent) {
    const T y = std::fabs(x);
    const bool ordinary = y > 0 && y <= 1.7976931348623157e308;
    const T result = exponential(exponent * logarithm(ordinary ? y : T(1)));
    return ordinary ? result : y;
}
