// As much of CUDA C++ as the kernels use, for a plain C++ compiler.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "blocks.h"

#define __global__
#define __device__
#define __shared__ static
#define __forceinline__ inline

struct Index {
    unsigned x, y, z;
};
static thread_local Index gridDim = {1, 1, 1}, blockDim = {1, 1, 1};
static thread_local Index blockIdx = {0, 0, 0}, threadIdx = {0, 0, 0};

inline void __syncthreads() { block_barrier().wait(); }

// The hardware's approximations, here as exact as the others. The C library has names like these
// of its own.
#define __expf(x) expf(x)
#define __fdividef(a, b) ((a) / (b))
inline float normcdff(float x) { return (float)(0.5 * erfc(-(double)x * M_SQRT1_2)); }
inline double normcdf(double x) {
    return (double)(0.5L * erfcl(-(long double)x * 0.70710678118654752440084436210484904L));
}
