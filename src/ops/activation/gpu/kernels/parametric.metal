// The kernels of activations whose parameters are tensors. A kernel is called
// <name>_<what>_<type>.

#define KERNELS(function, type, E, M)                                                              \
    kernel void function##_forward_##type(                                                         \
        constant uint64 &n [[buffer(0)]], constant uint32 &aligned [[buffer(1)]],                  \
        constant const Planes &planes [[buffer(2)]], device const E *x [[buffer(3)]],              \
        device const E *p [[buffer(4)]], device E *y [[buffer(5)]],                                \
        uint thread_number [[thread_position_in_grid]], uint threads [[threads_per_grid]]) {       \
        parametric_map<function##_rows<M>, M, E, false>(n, aligned != 0, copied(planes), x, p, x, y,\
                                                            thread_number, threads);               \
    }                                                                                              \
    kernel void function##_backward_##type(                                                        \
        constant uint64 &n [[buffer(0)]], constant uint32 &aligned [[buffer(1)]],                  \
        constant const Planes &planes [[buffer(2)]], device const E *x [[buffer(3)]],              \
        device const E *p [[buffer(4)]], device const E *grad [[buffer(5)]],                       \
        device E *y [[buffer(6)]], uint thread_number [[thread_position_in_grid]],                 \
        uint threads [[threads_per_grid]]) {                                                       \
        parametric_map<function##_rows<M>, M, E, true>(n, aligned != 0, copied(planes), x, p, grad, y,\
                                                           thread_number, threads);                \
    }                                                                                              \
    kernel void function##_partial_##type(                                                         \
        constant uint64 &n [[buffer(0)]], constant const Planes &planes [[buffer(1)]],             \
        constant uint64 &parts [[buffer(2)]], device const E *x [[buffer(3)]],                     \
        device const E *p [[buffer(4)]], device const E *grad [[buffer(5)]],                       \
        device M::T *partial [[buffer(6)]], threadgroup M::T *scratch SCRATCH,                     \
        uint block [[threadgroup_position_in_grid]],                                               \
        uint thread_in_block [[thread_position_in_threadgroup]],                                   \
        uint threads [[threads_per_threadgroup]]) {                                                \
        parametric_partial<function##_rows<M>, M, E>(n, copied(planes), parts, x, p, grad, partial,\
                                                         scratch, block, thread_in_block,          \
                                                         threads);                                 \
    }                                                                                              \
    kernel void function##_total_##type(                                                           \
        constant uint64 &parts [[buffer(0)]], device const M::T *partial [[buffer(1)]],            \
        device E *y [[buffer(2)]], threadgroup M::T *scratch SCRATCH,                              \
        uint block [[threadgroup_position_in_grid]],                                               \
        uint thread_in_block [[thread_position_in_threadgroup]],                                   \
        uint threads [[threads_per_threadgroup]]) {                                                \
        parametric_total<M, E>(parts, partial, y, scratch, block, thread_in_block, threads);       \
    }

// Slopes for each element, for randomised leaky ReLU.
#define EACH_KERNEL(type, E, M)                                                                    \
    kernel void prelu_each_##type(                                                                 \
        constant uint64 &n [[buffer(0)]], device const E *x [[buffer(1)]],                         \
        device const E *p [[buffer(2)]], device const E *grad [[buffer(3)]],                       \
        device E *y [[buffer(4)]], uint thread_number [[thread_position_in_grid]],                 \
        uint threads [[threads_per_grid]]) {                                                       \
        parametric_each<prelu_rows<M>, M, E>(n, x, p, grad, y, thread_number, threads);            \
    }

#define TYPE_KERNELS(type, E, M)                                                                   \
    KERNELS(prelu, type, E, M)                                                                     \
    KERNELS(srelu, type, E, M)                                                                     \
    EACH_KERNEL(type, E, M)

TYPE_KERNELS(f32, float, Single)
TYPE_KERNELS(f16, half, Halved)
#if defined(__HAVE_BFLOAT__)
TYPE_KERNELS(bf16, bfloat, Halved)
#endif
