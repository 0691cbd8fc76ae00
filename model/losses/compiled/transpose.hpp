// Transposition of blocks of a matrix: squares of SIDE by SIDE go through registers where the compiler has shuffles,
// other elements one by one.
static const I SIDE = 8;
#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define SHUFFLES
#endif
#endif

#ifdef SHUFFLES
template <class C> struct Lanes {
    typedef C Row __attribute__((vector_size(SIDE * sizeof(C)), aligned(sizeof(C)), may_alias));
};
template <class V> static inline void swap1(V& a, V& b) {
    const V x = a, y = b;
    a = __builtin_shufflevector(x, y, 0, 8, 2, 10, 4, 12, 6, 14);
    b = __builtin_shufflevector(x, y, 1, 9, 3, 11, 5, 13, 7, 15);
}
template <class V> static inline void swap2(V& a, V& b) {
    const V x = a, y = b;
    a = __builtin_shufflevector(x, y, 0, 1, 8, 9, 4, 5, 12, 13);
    b = __builtin_shufflevector(x, y, 2, 3, 10, 11, 6, 7, 14, 15);
}
template <class V> static inline void swap4(V& a, V& b) {
    const V x = a, y = b;
    a = __builtin_shufflevector(x, y, 0, 1, 2, 3, 8, 9, 10, 11);
    b = __builtin_shufflevector(x, y, 4, 5, 6, 7, 12, 13, 14, 15);
}
// Writes, or adds, the transpose of a square of `from` to `to`. The rows of `from` are `stride` apart, those of `to`
// `step`.
template <class C> static inline void square(const C* from, I stride, C* to, I step, bool add) {
    typedef typename Lanes<C>::Row Row;
    Row r[SIDE];
    for (I k = 0; k < SIDE; ++k) r[k] = *reinterpret_cast<const Row*>(from + k * stride);
    for (I k = 0; k < SIDE; k += 2) swap1(r[k], r[k + 1]);
    for (I k = 0; k < SIDE; k += 4) { swap2(r[k], r[k + 2]); swap2(r[k + 1], r[k + 3]); }
    for (I k = 0; k < SIDE / 2; ++k) swap4(r[k], r[k + 4]);
    for (I k = 0; k < SIDE; ++k) {
        Row* place = reinterpret_cast<Row*>(to + k * step);
        *place = add ? *place + r[k] : r[k];
    }
}
// The part of a length that squares cover.
static inline I in_squares(I length) { return length / SIDE * SIDE; }
#else
template <class C> static inline void square(const C*, I, C*, I, bool) {}
static inline I in_squares(I) { return 0; }
#endif

// Writes `width` columns of a matrix of `count` rows, which are `stride` apart, as rows that are `step` apart.
template <class C> static void columns_to_rows(const C* from, I stride, I width, I count, C* to, I step) {
    for (I c = 0; c < in_squares(count); c += SIDE)
        for (I r = 0; r < in_squares(width); r += SIDE)
            square(from + c * stride + r, stride, to + r * step + c, step, false);
    for (I r = 0; r < width; ++r)
        for (I c = r < in_squares(width) ? in_squares(count) : 0; c < count; ++c)
            to[r * step + c] = from[c * stride + r];
}

// Adds the first `count` elements of `width` rows, which are `step` apart, to columns of a matrix whose rows are `stride`
// apart.
template <class C> static void add_rows_to_columns(const C* from, I step, I width, I count, C* to, I stride) {
    for (I c = 0; c < in_squares(count); c += SIDE)
        for (I r = 0; r < in_squares(width); r += SIDE)
            square(from + r * step + c, step, to + c * stride + r, stride, true);
    for (I r = 0; r < width; ++r)
        for (I c = r < in_squares(width) ? in_squares(count) : 0; c < count; ++c)
            to[c * stride + r] += from[r * step + c];
}
