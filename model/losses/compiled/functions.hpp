// Shared by all kernels: the integer type, functions that generated formulas call, and the export to Python.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

typedef int64_t I;

// a to the power N, N at least 1. X is a number or a vector of numbers.
template <int N, class X> static inline X raised(X a) {
    if constexpr (N == 1) return a;
    else if constexpr (N % 2) return raised<N - 1>(a) * a;
    else {
        const X half = raised<N / 2>(a);
        return half * half;
    }
}

// The slope of |a|: 1, -1, or 0 at 0.
template <class X> static inline X sign(X a) { return a > 0 ? X{} + 1 : a < 0 ? X{} - 1 : X{}; }

template <class X> static inline X reciprocal(X a) { return 1 / a; }

// Exports the template FUNCTION<ELEMENT>, which takes one structure of arguments, under a C name. ELEMENT, float or
// double, is the type of the tensors that the library is compiled for.
#define EXPORT(FUNCTION, ARGUMENTS) \
    extern "C" void FUNCTION##_of_tensors(const ARGUMENTS* arguments) { FUNCTION<ELEMENT>(*arguments); }
