// The kernels of the `.metal` files by their names.
#pragma once

#include "driver.h"

// One thread after the other: `launch(number, count)`.
template <class Launch> void each_thread(Request &r, Launch launch) {
    for (uint64_t block = r.first_block; block < r.blocks; ++block)
        for (uint64_t member = 0; member < r.threads; ++member)
            launch((uint)(block * r.threads + member), (uint)(r.blocks * r.threads));
}

// The threads of a block at once: `launch(block, member, count)`.
template <class Launch> void each_block(Request &r, Launch launch) {
    for (uint64_t block = r.first_block; block < r.blocks; ++block)
        run_block((uint)block, (uint)r.threads,
                  [&](uint block, uint member) { launch(block, member, (uint)r.threads); });
}

#define POINTWISE(name, type, E, M)                                                                \
    kernels[#name "_map_" #type] = [](Request &r) {                                                \
        const auto p = r.parameter_values<Parameters<M::T>, M::T>();                               \
        uint64 n = r.n;                                                                            \
        uint32 flag = (uint32)r.flag;                                                              \
        each_thread(r, [&](uint number, uint count) {                                              \
            name##_map_##type(n, flag, r.x<E>(), r.y<E>(), p, number, count);                      \
        });                                                                                        \
    };                                                                                             \
    kernels[#name "_map_strided_" #type] = [](Request &r) {                                        \
        const auto p = r.parameter_values<Parameters<M::T>, M::T>();                               \
        const auto s = r.copy_of<Strided>(r.strided);                                              \
        uint64 n = r.n;                                                                            \
        uint32 flag = (uint32)r.flag;                                                              \
        each_thread(r, [&](uint number, uint count) {                                              \
            name##_map_strided_##type(n, flag, s, r.x<E>(), r.y<E>(), p, number, count);           \
        });                                                                                        \
    };                                                                                             \
    kernels[#name "_zip_" #type] = [](Request &r) {                                                \
        const auto p = r.parameter_values<Parameters<M::T>, M::T>();                               \
        uint64 n = r.n;                                                                            \
        uint32 flag = (uint32)r.flag;                                                              \
        each_thread(r, [&](uint number, uint count) {                                              \
            name##_zip_##type(n, flag, r.x<E>(), r.grad<E>(), r.y<E>(), p, number, count);         \
        });                                                                                        \
    };                                                                                             \
    kernels[#name "_zip_strided_" #type] = [](Request &r) {                                        \
        const auto p = r.parameter_values<Parameters<M::T>, M::T>();                               \
        const auto s = r.copy_of<Strided>(r.strided);                                              \
        uint64 n = r.n;                                                                            \
        each_thread(r, [&](uint number, uint count) {                                              \
            name##_zip_strided_##type(n, s, r.x<E>(), r.grad<E>(), r.y<E>(), p, number, count);    \
        });                                                                                        \
    };

#define PARAMETRIC(name, type, E, M)                                                               \
    kernels[#name "_forward_" #type] = [](Request &r) {                                            \
        const auto s = r.copy_of<Planes>(r.planes);                                                \
        uint64 n = r.n;                                                                            \
        uint32 flag = (uint32)r.flag;                                                              \
        each_thread(r, [&](uint number, uint count) {                                              \
            name##_forward_##type(n, flag, s, r.x<E>(), r.p<E>(), r.y<E>(), number, count);        \
        });                                                                                        \
    };                                                                                             \
    kernels[#name "_backward_" #type] = [](Request &r) {                                           \
        const auto s = r.copy_of<Planes>(r.planes);                                                \
        uint64 n = r.n;                                                                            \
        uint32 flag = (uint32)r.flag;                                                              \
        each_thread(r, [&](uint number, uint count) {                                              \
            name##_backward_##type(n, flag, s, r.x<E>(), r.p<E>(), r.grad<E>(), r.y<E>(), number,  \
                                   count);                                                         \
        });                                                                                        \
    };                                                                                             \
    kernels[#name "_partial_" #type] = [](Request &r) {                                            \
        const auto s = r.copy_of<Planes>(r.planes);                                                \
        uint64 n = r.n, parts = r.parts;                                                           \
        std::vector<M::T> scratch(r.threads);                                                      \
        each_block(r, [&](uint block, uint member, uint count) {                                   \
            name##_partial_##type(n, s, parts, r.x<E>(), r.p<E>(), r.grad<E>(), r.y<M::T>(),       \
                                  scratch.data(), block, member, count);                           \
        });                                                                                        \
    };                                                                                             \
    kernels[#name "_total_" #type] = [](Request &r) {                                              \
        uint64 parts = r.parts;                                                                    \
        std::vector<M::T> scratch(r.threads);                                                      \
        each_block(r, [&](uint block, uint member, uint count) {                                   \
            name##_total_##type(parts, r.x<M::T>(), r.y<E>(), scratch.data(), block, member,       \
                                count);                                                            \
        });                                                                                        \
    };

#define EACH(type, E, M)                                                                           \
    kernels["prelu_each_" #type] = [](Request &r) {                                                \
        uint64 n = r.n;                                                                            \
        each_thread(r, [&](uint number, uint count) {                                              \
            prelu_each_##type(n, r.x<E>(), r.p<E>(), r.grad<E>(), r.y<E>(), number, count);        \
        });                                                                                        \
    };

#define EACH_TYPE(MACRO, name)                                                                     \
    MACRO(name, f32, float, Single)                                                                \
    MACRO(name, f16, half, Halved)                                                                 \
    MACRO(name, bf16, bfloat, Halved)
#define EACH_NAMELESS(MACRO)                                                                       \
    MACRO(f32, float, Single)                                                                      \
    MACRO(f16, half, Halved)                                                                       \
    MACRO(bf16, bfloat, Halved)
