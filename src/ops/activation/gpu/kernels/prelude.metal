// The Metal side of the shared headers. The source of a library is assembled at run time: this
// file, the headers and the kernels, in that order. It is compiled with fast-math off. Metal lacks
// f64, expm1, log1p and the normal distribution function.

#include <metal_stdlib>
using namespace metal;

#define FN inline
#define GLOBAL device
#define CONSTANT constant
#define SHARED threadgroup
// The shared memory of a block. A check without Metal defines it differently.
#ifndef SCRATCH
#define SCRATCH [[threadgroup(0)]]
#endif
#define BARRIER() threadgroup_barrier(mem_flags::mem_threadgroup)
#define UNROLL _Pragma("unroll")

typedef uint uint32;
typedef ulong uint64;

// f32.
struct Single {
    typedef float T;
    static FN T exp(T x) { return precise::exp(x); }
    // A Taylor polynomial where e^x - 1 would cancel.
    static FN T expm1(T x) {
        if (metal::fabs(x) > 0.5f) return precise::exp(x) - 1.0f;
        T sum = 1.0f / 40320.0f;
        sum = metal::fma(sum, x, 1.0f / 5040.0f);
        sum = metal::fma(sum, x, 1.0f / 720.0f);
        sum = metal::fma(sum, x, 1.0f / 120.0f);
        sum = metal::fma(sum, x, 1.0f / 24.0f);
        sum = metal::fma(sum, x, 1.0f / 6.0f);
        sum = metal::fma(sum, x, 0.5f);
        return metal::fma(sum * x, x, x);
    }
    // For x >= 0: the logarithm of the rounded sum, corrected for the rounding error.
    static FN T log1p(T x) {
        const T sum = 1.0f + x;
        return sum == 1.0f ? x : precise::log(sum) * (x / (sum - 1.0f));
    }
    static FN T tanh(T x) { return precise::tanh(x); }
    static FN T sqrt(T x) { return precise::sqrt(x); }
    static FN T sin(T x) { return precise::sin(x); }
    static FN T cos(T x) { return precise::cos(x); }
    // The normal distribution function. Within 1 of 0 an odd polynomial, outwards
    // e^(-x^2 / 2) times a polynomial in (|x| - 3) / (|x| + 3): Chebyshev fits with relative
    // errors of 8e-10 and 3e-9.
    static FN T normal(T x) {
        const T size = metal::fabs(x), square = x * x;
        if (size <= 1.0f) {
            T sum = -7.6626189e-06f;
            sum = metal::fma(sum, square, 0.000113507671f);
            sum = metal::fma(sum, square, -0.00118634889f);
            sum = metal::fma(sum, square, 0.00997333033f);
            sum = metal::fma(sum, square, -0.0664903608f);
            sum = metal::fma(sum, square, 0.39894228f);
            return metal::fma(sum, x, 0.5f);
        }
        const T far = size > 15.0f ? 15.0f : size;
        const T t = (far - 3.0f) / (far + 3.0f);
        T sum = 3.18362434e-05f;
        sum = metal::fma(sum, t, 0.00013332817f);
        sum = metal::fma(sum, t, -0.000328548219f);
        sum = metal::fma(sum, t, -0.000994007771f);
        sum = metal::fma(sum, t, 0.00290302121f);
        sum = metal::fma(sum, t, 0.00613397276f);
        sum = metal::fma(sum, t, -0.0462132726f);
        sum = metal::fma(sum, t, 0.123224917f);
        sum = metal::fma(sum, t, -0.206402615f);
        sum = metal::fma(sum, t, 0.121513949f);
        // The rounding error of the square would be multiplied by its size.
        const T high = far * far, low = metal::fma(far, far, -high);
        const T tail = sum * precise::exp(-0.5f * high) * (1.0f - 0.5f * low);
        return x != x ? x : x < 0.0f ? tail : 1.0f - tail;
    }
    static FN T fma(T a, T b, T c) { return metal::fma(a, b, c); }
    static FN T div(T a, T b) { return a / b; }
    // (a / d) (b / d)
    static FN T div_both(T a, T b, T d) { return (a / d) * (b / d); }
    // Below `far` the kernels compute the exponential of x + shift; below `tail` x e^x is 0.
    static FN T far() { return -64.0f; }
    static FN T shift() { return 32.0f; }
    static FN T exp_of_minus_shift() { return 1.2664165549094176e-14f; }
    static FN T tail() { return -110.0f; }
    static FN T square_hides_one() { return 8192.0f; }
};

// The halves, computed in f32 with the fast exponential and quotient: their errors are far below
// half a unit of either type. The denominators of `div` stay below 2^126.
struct Halved : Single {
    static FN T exp(T x) { return fast::exp(x); }
    static FN T div(T a, T b) { return fast::divide(a, b); }
    static FN T div_both(T a, T b, T d) {
        const T inverse = fast::divide(1.0f, d);
        return (a * inverse) * (b * inverse);
    }
};

template <class M> FN typename M::T widen(float x) { return x; }
template <class M> FN typename M::T widen(half x) { return float(x); }

template <class E> FN E narrow(float x) { return E(x); }

// 16 bytes as elements.
template <class E> struct Pack {
    enum : uint32 { lanes = 16 / sizeof(E) };
    E of[lanes];
};

// The lane of type `E` in one word of four.
template <class E, uint32 size> struct Lane;
template <class E> struct Lane<E, 4> {
    static FN E get(uint4 words, uint32 lane) { return as_type<E>(words[lane]); }
    static FN uint bits(E value, uint32) { return as_type<uint>(value); }
};
template <class E> struct Lane<E, 2> {
    static FN E get(uint4 words, uint32 lane) {
        return as_type<E>(ushort(words[lane / 2] >> (lane % 2 * 16)));
    }
    static FN uint bits(E value, uint32 lane) {
        return uint(as_type<ushort>(value)) << (lane % 2 * 16);
    }
};

template <class E> FN Pack<E> load_pack(device const E *at) {
    const uint4 words = *(device const uint4 *)at;
    Pack<E> pack;
    UNROLL for (uint32 lane = 0; lane < Pack<E>::lanes; ++lane)
        pack.of[lane] = Lane<E, sizeof(E)>::get(words, lane);
    return pack;
}
template <class E> FN void store_pack(device E *at, Pack<E> pack) {
    uint4 words = uint4(0);
    UNROLL for (uint32 lane = 0; lane < Pack<E>::lanes; ++lane)
        words[lane * sizeof(E) / 4] |= Lane<E, sizeof(E)>::bits(pack.of[lane], lane);
    *(device uint4 *)at = words;
}

#if defined(__HAVE_BFLOAT__)
template <class M> FN typename M::T widen(bfloat x) { return float(x); }
#endif
