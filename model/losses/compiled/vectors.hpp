// Vectors as wide as the processor's registers, with the functions that generated formulas call on them. Needs
// functions.hpp.
#ifdef __SSE__
#include <immintrin.h>
#endif
#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif

template <class T, int N> struct Vector {
    typedef T Value __attribute__((vector_size(N * sizeof(T))));
    typedef T Stored __attribute__((vector_size(N * sizeof(T)), aligned(sizeof(T)), may_alias));
};
template <class T> const I LANES = BYTES / sizeof(T);
template <class T> using V = typename Vector<T, BYTES / sizeof(T)>::Value;
template <class T> using Stored = typename Vector<T, BYTES / sizeof(T)>::Stored;
template <class T> static inline V<T> load(const T* from) { return *(const Stored<T>*)from; }
template <class T> static inline void store(T* to, V<T> x) { *(Stored<T>*)to = x; }

// The sum of all lanes, in double.
template <class T, int N> static inline double total(const typename Vector<T, N>::Value x) {
    typename Vector<T, N / 2>::Value halves[2];
    __builtin_memcpy(halves, &x, sizeof x);
    typedef typename Vector<double, N / 2>::Value Half;
    const Half sum = __builtin_convertvector(halves[0], Half) + __builtin_convertvector(halves[1], Half);
    if constexpr (N == 4) return sum[0] + sum[1];
    else if constexpr (N == 2) return sum[0];
    else return total<double, N / 2>(sum);
}

// near_inverse_root is 1 / sqrt(x), accurate to 13 bits or more in float and 26 in double. root, sqrt(x), and slope,
// 2 / sqrt(x), refine it by one Newton step to the accuracy of the type.
template <class X> static inline X slope(X x, X near) { return near * (3 - x * near * near); }
template <class X> static inline X root(X x, X near) { return x * slope(x, near) / 2; }
#if defined(__AVX512F__)
static inline V<float> near_inverse_root(V<float> x) { return (V<float>)_mm512_rsqrt14_ps((__m512)x); }
static inline V<double> near_inverse_root(V<double> x) {
    return slope(x, (V<double>)_mm512_rsqrt14_pd((__m512d)x)) / 2;
}
static inline V<float> fabs(V<float> x) { return (V<float>)_mm512_abs_ps((__m512)x); }
static inline V<double> fabs(V<double> x) { return (V<double>)_mm512_abs_pd((__m512d)x); }
// By class of x: NaN (0, 1) stays; 0 (2) -> 0; 1, +inf and positive (3, 5, 7) -> 1; -inf and negative (4, 6) -> -1.
static inline V<float> sign(V<float> x) {
    return (V<float>)_mm512_fixupimm_ps((__m512)x, (__m512)x, _mm512_set1_epi32(0xa9a9a811), 0);
}
#else
template <class T> static inline V<T> plain_inverse_root(V<T> x) {
    for (int k = 0; k < LANES<T>; ++k) x[k] = 1 / std::sqrt(x[k]);
    return x;
}
#if defined(__AVX__)
static inline V<float> near_inverse_root(V<float> x) { return slope(x, (V<float>)_mm256_rsqrt_ps((__m256)x)) / 2; }
#else
static inline V<float> near_inverse_root(V<float> x) { return plain_inverse_root<float>(x); }
#endif
static inline V<double> near_inverse_root(V<double> x) { return plain_inverse_root<double>(x); }
static inline V<float> fabs(V<float> x) { return x < 0 ? -x : x; }
static inline V<double> fabs(V<double> x) { return x < 0 ? -x : x; }
#endif
