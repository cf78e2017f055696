// The kernels of one activation. build.rs calls nvcc with -DFUNCTION=<name> for each row of
// functions.h. A kernel is called <name>_<what>_<type>.

#include "prelude.cuh"
#include "functions.h"
#include "elementwise.h"

#define JOIN_(a, b, c) a##_##b##_##c
#define JOIN(a, b, c) JOIN_(a, b, c)
#define ROW_(name) name##_function
#define ROW(name) ROW_(name)

#define KERNELS(type, E, M)                                                                        \
    extern "C" __global__ void JOIN(FUNCTION, map, type)(uint64 n, const E *x, E *y,               \
                                                         Parameters<M::T> parameters) {            \
        map<ROW(FUNCTION)<M>, M>(n, aligned16(x) && aligned16(y), x, y, parameters,                \
                                 thread_number(), thread_count());                                 \
    }                                                                                              \
    extern "C" __global__ void JOIN(FUNCTION, map_strided, type)(                                  \
        uint64 n, uint32 in_place, const Strided strided, const E *x, E *y,                        \
        Parameters<M::T> parameters) {                                                             \
        map_strided<ROW(FUNCTION)<M>, M>(n, in_place != 0, strided, x, y, parameters,              \
                                         thread_number(), thread_count());                         \
    }                                                                                              \
    extern "C" __global__ void JOIN(FUNCTION, zip, type)(uint64 n, const E *x, const E *grad,      \
                                                         E *y, Parameters<M::T> parameters) {      \
        zip<ROW(FUNCTION)<M>, M>(n, aligned16(x) && aligned16(grad) && aligned16(y), x, grad, y,   \
                                 parameters, thread_number(), thread_count());                     \
    }                                                                                              \
    extern "C" __global__ void JOIN(FUNCTION, zip_strided, type)(                                  \
        uint64 n, const Strided strided, const E *x, const E *grad, E *y,                          \
        Parameters<M::T> parameters) {                                                             \
        zip_strided<ROW(FUNCTION)<M>, M>(n, strided, x, grad, y, parameters, thread_number(),      \
                                         thread_count());                                          \
    }

KERNELS(f32, float, Single)
KERNELS(f64, double, Double)
KERNELS(f16, __half, Halved)
KERNELS(bf16, __nv_bfloat16, Halved)
