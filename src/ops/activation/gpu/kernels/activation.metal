// The kernels of one activation. FUNCTION is its name in functions.h and is defined before this
// source. A kernel is called <name>_<what>_<type>.

#define JOIN_(a, b, c) a##_##b##_##c
#define JOIN(a, b, c) JOIN_(a, b, c)
#define ROW_(name) name##_function
#define ROW(name) ROW_(name)

#define KERNELS(type, E, M)                                                                        \
    kernel void JOIN(FUNCTION, map, type)(                                                         \
        constant uint64 &n [[buffer(0)]], constant uint32 &aligned [[buffer(1)]],                  \
        device const E *x [[buffer(2)]], device E *y [[buffer(3)]],                                \
        constant const Parameters<M::T> &parameters [[buffer(4)]],                                 \
        uint thread_number [[thread_position_in_grid]], uint threads [[threads_per_grid]]) {       \
        map<ROW(FUNCTION)<M>, M, E>(n, aligned != 0, x, y, copied(parameters), thread_number, threads);\
    }                                                                                              \
    kernel void JOIN(FUNCTION, map_strided, type)(                                                 \
        constant uint64 &n [[buffer(0)]], constant uint32 &in_place [[buffer(1)]],                 \
        constant const Strided &strided [[buffer(2)]], device const E *x [[buffer(3)]],            \
        device E *y [[buffer(4)]], constant const Parameters<M::T> &parameters [[buffer(5)]],      \
        uint thread_number [[thread_position_in_grid]], uint threads [[threads_per_grid]]) {       \
        map_strided<ROW(FUNCTION)<M>, M, E>(n, in_place != 0, strided, x, y, copied(parameters),   \
                                            thread_number, threads);                               \
    }                                                                                              \
    kernel void JOIN(FUNCTION, zip, type)(                                                         \
        constant uint64 &n [[buffer(0)]], constant uint32 &aligned [[buffer(1)]],                  \
        device const E *x [[buffer(2)]], device const E *grad [[buffer(3)]],                       \
        device E *y [[buffer(4)]], constant const Parameters<M::T> &parameters [[buffer(5)]],      \
        uint thread_number [[thread_position_in_grid]], uint threads [[threads_per_grid]]) {       \
        zip<ROW(FUNCTION)<M>, M, E>(n, aligned != 0, x, grad, y, copied(parameters), thread_number,\
                                    threads);                                                      \
    }                                                                                              \
    kernel void JOIN(FUNCTION, zip_strided, type)(                                                 \
        constant uint64 &n [[buffer(0)]], constant const Strided &strided [[buffer(1)]],           \
        device const E *x [[buffer(2)]], device const E *grad [[buffer(3)]],                       \
        device E *y [[buffer(4)]], constant const Parameters<M::T> &parameters [[buffer(5)]],      \
        uint thread_number [[thread_position_in_grid]], uint threads [[threads_per_grid]]) {       \
        zip_strided<ROW(FUNCTION)<M>, M, E>(n, strided, x, grad, y, copied(parameters), thread_number,\
                                            threads);                                              \
    }

KERNELS(f32, float, Single)
KERNELS(f16, half, Halved)
#if defined(__HAVE_BFLOAT__)
KERNELS(bf16, bfloat, Halved)
#endif
