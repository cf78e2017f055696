// Answers requests to run a kernel: from the standard input to the standard output, as `Request`
// in tests/gpu/main.rs writes them.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "blocks.h"

struct Header {
    char name[64];
    uint64_t n, flag, blocks, first_block, threads, parts;
    // Bytes of x, parameters, gradient and result; without a result it is written over x.
    uint64_t lengths[4];
    // By how many bytes the addresses that a kernel is given differ from where the bytes are.
    int64_t shifts[4];
    uint64_t strided[25];
    uint64_t planes[2];
    double parameters[4];
};

struct Request : Header {
    std::vector<char> memory[4];
    char *bytes[4];

    template <class E> E *pointer(int which) {
        return reinterpret_cast<E *>(reinterpret_cast<uintptr_t>(bytes[which]) + shifts[which]);
    }
    template <class E> E *x() { return pointer<E>(0); }
    template <class E> E *p() { return pointer<E>(1); }
    template <class E> E *grad() { return pointer<E>(2); }
    template <class E> E *y() { return lengths[3] ? pointer<E>(3) : pointer<E>(0); }
    template <class P, class T> P parameter_values() {
        P values;
        for (int i = 0; i < 4; ++i) values.of[i] = (T)parameters[i];
        return values;
    }
    template <class S> S copy_of(const uint64_t *from) {
        S s;
        std::memcpy(&s, from, sizeof(s));
        return s;
    }
};

typedef std::map<std::string, std::function<void(Request &)>> Kernels;

inline bool read_all(void *to, size_t length) {
    return length == 0 || std::fread(to, 1, length, stdin) == length;
}

inline int answer(const Kernels &kernels) {
    Request request;
    while (read_all(static_cast<Header *>(&request), sizeof(Header))) {
        for (int i = 0; i < 4; ++i) {
            // Room to begin at a multiple of 64 bytes, or a little further.
            request.memory[i].assign(request.lengths[i] + 128, 0);
            uintptr_t start = reinterpret_cast<uintptr_t>(request.memory[i].data());
            start = (start + 63) / 64 * 64;
            const int64_t shift = request.shifts[i];
            // A small shift moves the bytes as well: an address that is not aligned.
            if (shift > 0 && shift < 64) start += (uintptr_t)shift, request.shifts[i] = 0;
            request.bytes[i] = reinterpret_cast<char *>(start);
            if (i < 3 && !read_all(request.bytes[i], request.lengths[i])) return 2;
        }
        const auto entry = kernels.find(request.name);
        if (entry == kernels.end()) {
            std::fprintf(stderr, "no kernel %s\n", request.name);
            return 3;
        }
        entry->second(request);
        const int result = request.lengths[3] ? 3 : 0;
        std::fwrite(request.bytes[result], 1, request.lengths[result], stdout);
        std::fflush(stdout);
    }
    return 0;
}
