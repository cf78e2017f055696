// The CUDA side of the shared headers: types, arithmetic, and access to 16 bytes at a time.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#define FN __device__ __forceinline__
#define GLOBAL
#define CONSTANT
#define SHARED
#define BARRIER __syncthreads
#define UNROLL _Pragma("unroll")

// Threads of a block that sums.
#define SUM_THREADS 256

typedef unsigned int uint32;
typedef unsigned long long uint64;

// f32. nvcc's functions, without fast-math, are within 2 ulp.
struct Single {
    typedef float T;
    static FN T exp(T x) { return expf(x); }
    static FN T expm1(T x) { return expm1f(x); }
    static FN T log1p(T x) { return log1pf(x); }
    static FN T tanh(T x) { return tanhf(x); }
    static FN T sqrt(T x) { return sqrtf(x); }
    static FN T sin(T x) { return sinf(x); }
    static FN T cos(T x) { return cosf(x); }
    static FN T normal(T x) { return normcdff(x); }
    static FN T fma(T a, T b, T c) { return fmaf(a, b, c); }
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

// The halves, computed in f32 with the hardware's exponential and reciprocal. Their errors are
// within 2^-16 over the range of bf16, far below half a unit of either type. The denominators of
// `div` stay below 2^126; above it __fdividef gives 0.
struct Halved : Single {
    static FN T exp(T x) { return __expf(x); }
    static FN T div(T a, T b) { return __fdividef(a, b); }
    static FN T div_both(T a, T b, T d) {
        const T inverse = __fdividef(1.0f, d);
        return (a * inverse) * (b * inverse);
    }
};

struct Double {
    typedef double T;
    static FN T exp(T x) { return ::exp(x); }
    static FN T expm1(T x) { return ::expm1(x); }
    static FN T log1p(T x) { return ::log1p(x); }
    static FN T tanh(T x) { return ::tanh(x); }
    static FN T sqrt(T x) { return ::sqrt(x); }
    static FN T sin(T x) { return ::sin(x); }
    static FN T cos(T x) { return ::cos(x); }
    static FN T normal(T x) { return normcdf(x); }
    static FN T fma(T a, T b, T c) { return ::fma(a, b, c); }
    static FN T div(T a, T b) { return a / b; }
    // (a / d) (b / d)
    static FN T div_both(T a, T b, T d) { return (a / d) * (b / d); }
    static FN T far() { return -600.0; }
    static FN T shift() { return 100.0; }
    static FN T exp_of_minus_shift() { return 3.720075976020836e-44; }
    static FN T tail() { return -760.0; }
    static FN T square_hides_one() { return 268435456.0; }
};

template <class M> FN typename M::T widen(float x) { return x; }
template <class M> FN typename M::T widen(double x) { return x; }
template <class M> FN typename M::T widen(__half x) { return __half2float(x); }
template <class M> FN typename M::T widen(__nv_bfloat16 x) { return __bfloat162float(x); }

template <class E> FN E narrow(float x);
template <class E> FN E narrow(double x);
template <> FN float narrow<float>(float x) { return x; }
template <> FN double narrow<double>(double x) { return x; }
template <> FN __half narrow<__half>(float x) { return __float2half_rn(x); }
template <> FN __nv_bfloat16 narrow<__nv_bfloat16>(float x) { return __float2bfloat16_rn(x); }

template <class E> struct alignas(16) Pack {
    static constexpr uint32 lanes = 16 / sizeof(E);
    E of[lanes];
};
template <class E> FN Pack<E> load_pack(const E *at) {
    return *reinterpret_cast<const Pack<E> *>(at);
}
template <class E> FN void store_pack(E *at, const Pack<E> &pack) {
    *reinterpret_cast<Pack<E> *>(at) = pack;
}
FN bool aligned16(const void *pointer) {
    return (reinterpret_cast<size_t>(pointer) & 15) == 0;
}

FN uint64 thread_number() { return (uint64)blockIdx.x * blockDim.x + threadIdx.x; }
FN uint64 thread_count() { return (uint64)gridDim.x * blockDim.x; }
