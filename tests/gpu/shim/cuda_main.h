// The kernels of the `.cu` files by their names.
#pragma once

#include "cuda_on_cpu.h"
#include "driver.h"

// One thread after the other.
template <class Launch> void each_thread(Request &r, Launch launch) {
    gridDim.x = (unsigned)r.blocks;
    blockDim.x = (unsigned)r.threads;
    for (uint64_t block = r.first_block; block < r.blocks; ++block)
        for (uint64_t member = 0; member < r.threads; ++member) {
            blockIdx.x = (unsigned)block;
            threadIdx.x = (unsigned)member;
            launch();
        }
}

// The threads of a block at once.
template <class Launch> void each_block(Request &r, Launch launch) {
    for (uint64_t block = r.first_block; block < r.blocks; ++block)
        run_block((unsigned)block, (unsigned)r.threads, [&](unsigned block, unsigned member) {
            gridDim.x = (unsigned)r.blocks;
            blockDim.x = (unsigned)r.threads;
            blockIdx.x = block;
            threadIdx.x = member;
            launch();
        });
}

#define POINTWISE(name, type, E, M)                                                                \
    kernels[#name "_map_" #type] = [](Request &r) {                                                \
        const auto p = r.parameter_values<Parameters<M::T>, M::T>();                               \
        each_thread(r, [&] { name##_map_##type(r.n, r.x<E>(), r.y<E>(), p); });                    \
    };                                                                                             \
    kernels[#name "_map_strided_" #type] = [](Request &r) {                                        \
        const auto p = r.parameter_values<Parameters<M::T>, M::T>();                               \
        const auto s = r.copy_of<Strided>(r.strided);                                              \
        each_thread(r, [&] {                                                                       \
            name##_map_strided_##type(r.n, (uint32)r.flag, s, r.x<E>(), r.y<E>(), p);              \
        });                                                                                        \
    };                                                                                             \
    kernels[#name "_zip_" #type] = [](Request &r) {                                                \
        const auto p = r.parameter_values<Parameters<M::T>, M::T>();                               \
        each_thread(r, [&] { name##_zip_##type(r.n, r.x<E>(), r.grad<E>(), r.y<E>(), p); });       \
    };                                                                                             \
    kernels[#name "_zip_strided_" #type] = [](Request &r) {                                        \
        const auto p = r.parameter_values<Parameters<M::T>, M::T>();                               \
        const auto s = r.copy_of<Strided>(r.strided);                                              \
        each_thread(r, [&] {                                                                       \
            name##_zip_strided_##type(r.n, s, r.x<E>(), r.grad<E>(), r.y<E>(), p);                 \
        });                                                                                        \
    };

#define PARAMETRIC(name, type, E, M)                                                               \
    kernels[#name "_forward_" #type] = [](Request &r) {                                            \
        const auto s = r.copy_of<Planes>(r.planes);                                                \
        each_thread(r, [&] { name##_forward_##type(r.n, s, r.x<E>(), r.p<E>(), r.y<E>()); });      \
    };                                                                                             \
    kernels[#name "_backward_" #type] = [](Request &r) {                                           \
        const auto s = r.copy_of<Planes>(r.planes);                                                \
        each_thread(r, [&] {                                                                       \
            name##_backward_##type(r.n, s, r.x<E>(), r.p<E>(), r.grad<E>(), r.y<E>());             \
        });                                                                                        \
    };                                                                                             \
    kernels[#name "_partial_" #type] = [](Request &r) {                                            \
        const auto s = r.copy_of<Planes>(r.planes);                                                \
        each_block(r, [&] {                                                                        \
            name##_partial_##type(r.n, s, r.parts, r.x<E>(), r.p<E>(), r.grad<E>(),                \
                                  r.y<M::T>());                                                    \
        });                                                                                        \
    };                                                                                             \
    kernels[#name "_total_" #type] = [](Request &r) {                                              \
        each_block(r, [&] { name##_total_##type(r.parts, r.x<M::T>(), r.y<E>()); });               \
    };

#define EACH(type, E, M)                                                                           \
    kernels["prelu_each_" #type] = [](Request &r) {                                                \
        each_thread(r, [&] { prelu_each_##type(r.n, r.x<E>(), r.p<E>(), r.grad<E>(), r.y<E>()); }); \
    };

#define EACH_TYPE(MACRO, name)                                                                     \
    MACRO(name, f32, float, Single)                                                                \
    MACRO(name, f64, double, Double)                                                               \
    MACRO(name, f16, __half, Halved)                                                               \
    MACRO(name, bf16, __nv_bfloat16, Halved)
#define EACH_NAMELESS(MACRO)                                                                       \
    MACRO(f32, float, Single)                                                                      \
    MACRO(f64, double, Double)                                                                     \
    MACRO(f16, __half, Halved)                                                                     \
    MACRO(bf16, __nv_bfloat16, Halved)
