// The kernels of activations whose parameters are tensors. A kernel is called
// <name>_<what>_<type>.

#include "prelude.cuh"
#include "parametric.h"

#define KERNELS(function, type, E, M)                                                              \
    extern "C" __global__ void function##_forward_##type(uint64 n, Planes planes, const E *x,      \
                                                         const E *p, E *y) {                       \
        parametric_map<function##_rows<M>, M, E, false>(                                           \
            n, aligned16(x) && aligned16(y), planes, x, p, x, y, thread_number(),                  \
            thread_count());                                                                       \
    }                                                                                              \
    extern "C" __global__ void function##_backward_##type(                                         \
        uint64 n, Planes planes, const E *x, const E *p, const E *grad, E *y) {                    \
        parametric_map<function##_rows<M>, M, E, true>(                                            \
            n, aligned16(x) && aligned16(grad) && aligned16(y), planes, x, p, grad, y,             \
            thread_number(), thread_count());                                                      \
    }                                                                                              \
    extern "C" __global__ void function##_partial_##type(uint64 n, Planes planes, uint64 parts,    \
                                                         const E *x, const E *p, const E *grad,    \
                                                         M::T *partial) {                          \
        __shared__ M::T scratch[SUM_THREADS];                                                      \
        parametric_partial<function##_rows<M>, M>(n, planes, parts, x, p, grad, partial,           \
                                                      scratch, blockIdx.x, threadIdx.x,            \
                                                      blockDim.x);                                 \
    }                                                                                              \
    extern "C" __global__ void function##_total_##type(uint64 parts, const M::T *partial, E *y) {  \
        __shared__ M::T scratch[SUM_THREADS];                                                      \
        parametric_total<M>(parts, partial, y, scratch, blockIdx.x, threadIdx.x, blockDim.x);      \
    }

// Slopes for each element, for randomised leaky ReLU.
#define EACH_KERNEL(type, E, M)                                                                    \
    extern "C" __global__ void prelu_each_##type(uint64 n, const E *x, const E *p, const E *grad,  \
                                                 E *y) {                                           \
        parametric_each<prelu_rows<M>, M>(n, x, p, grad, y, thread_number(), thread_count());      \
    }

#define TYPE_KERNELS(type, E, M)                                                                   \
    KERNELS(prelu, type, E, M)                                                                     \
    KERNELS(srelu, type, E, M)                                                                     \
    EACH_KERNEL(type, E, M)

TYPE_KERNELS(f32, float, Single)
TYPE_KERNELS(f64, double, Double)
TYPE_KERNELS(f16, __half, Halved)
TYPE_KERNELS(bf16, __nv_bfloat16, Halved)
