// The loops of element-wise kernels, in CUDA C++ and in Metal: `F` is a row of functions.h, `M` the
// arithmetic, `E` the element type of the tensors. `GLOBAL` and `CONSTANT` are Metal's address
// spaces.
//
// Every thread starts at its own index and advances by the number of threads, so any grid covers
// any number of elements. Counts and offsets have 64 bits.

#ifndef CANDLE_MISH_ELEMENTWISE_H
#define CANDLE_MISH_ELEMENTWISE_H

// The strides, in elements, of one or two tensors of one shape. The layout matches `Strided` in
// src/ops/activation/gpu/launch.rs.
struct Strided {
    uint64 rank;
    uint64 dims[8];
    uint64 strides[2][8];
};

struct Places {
    uint64 of[2];
};

// The offsets of element `i` in row-major order. If all element numbers fit in 32 bits, a 32-bit
// `I` avoids long divisions.
template <class I> FN Places places(I i, CONSTANT const Strided &strided) {
    Places places;
    places.of[0] = places.of[1] = 0;
    for (uint32 axis = (uint32)strided.rank; axis-- > 0;) {
        const I dim = (I)strided.dims[axis];
        const I next = i / dim;
        const uint64 index = i - next * dim;
        places.of[0] += index * strided.strides[0][axis];
        places.of[1] += index * strided.strides[1][axis];
        i = next;
    }
    return places;
}

FN Places places_of(uint64 i, uint64 n, CONSTANT const Strided &strided) {
    return n <= 0xffffffff ? places<uint32>((uint32)i, strided) : places<uint64>(i, strided);
}

// y = f(x) of `n` contiguous elements. `aligned`: both tensors begin at a multiple of 16 bytes, so
// that the kernel reads and writes 16 bytes at a time. y may be x.
template <class F, class M, class E>
FN void map(uint64 n, bool aligned, GLOBAL const E *x, GLOBAL E *y,
            Parameters<typename M::T> parameters, uint64 thread_number, uint64 threads) {
    const uint32 lanes = Pack<E>::lanes;
    uint64 done = 0;
    if (aligned) {
        const uint64 packs = n / lanes;
        for (uint64 i = thread_number; i < packs; i += threads) {
            Pack<E> pack = load_pack(x + i * lanes);
            UNROLL for (uint32 lane = 0; lane < lanes; ++lane)
                pack.of[lane] = narrow<E>(F::value(widen<M>(pack.of[lane]), parameters));
            store_pack(y + i * lanes, pack);
        }
        done = packs * lanes;
    }
    for (uint64 i = done + thread_number; i < n; i += threads)
        y[i] = narrow<E>(F::value(widen<M>(x[i]), parameters));
}

// y = f(x) of a strided x; y is contiguous or, with `in_place`, has the strides of x.
template <class F, class M, class E>
FN void map_strided(uint64 n, bool in_place, CONSTANT const Strided &strided, GLOBAL const E *x,
                    GLOBAL E *y, Parameters<typename M::T> parameters, uint64 thread_number,
                    uint64 threads) {
    for (uint64 i = thread_number; i < n; i += threads) {
        const uint64 place = places_of(i, n, strided).of[0];
        y[in_place ? place : i] = narrow<E>(F::value(widen<M>(x[place]), parameters));
    }
}

// y = grad f'(x), as `map`; `aligned` holds for all three tensors.
template <class F, class M, class E>
FN void zip(uint64 n, bool aligned, GLOBAL const E *x, GLOBAL const E *grad, GLOBAL E *y,
            Parameters<typename M::T> parameters, uint64 thread_number, uint64 threads) {
    const uint32 lanes = Pack<E>::lanes;
    uint64 done = 0;
    if (aligned) {
        const uint64 packs = n / lanes;
        for (uint64 i = thread_number; i < packs; i += threads) {
            Pack<E> pack = load_pack(x + i * lanes);
            const Pack<E> grads = load_pack(grad + i * lanes);
            UNROLL for (uint32 lane = 0; lane < lanes; ++lane)
                pack.of[lane] = narrow<E>(F::derivative(widen<M>(pack.of[lane]), parameters) *
                                          widen<M>(grads.of[lane]));
            store_pack(y + i * lanes, pack);
        }
        done = packs * lanes;
    }
    for (uint64 i = done + thread_number; i < n; i += threads)
        y[i] = narrow<E>(F::derivative(widen<M>(x[i]), parameters) * widen<M>(grad[i]));
}

// y = grad f'(x) of strided x and grad; y is contiguous.
template <class F, class M, class E>
FN void zip_strided(uint64 n, CONSTANT const Strided &strided, GLOBAL const E *x,
                    GLOBAL const E *grad, GLOBAL E *y, Parameters<typename M::T> parameters,
                    uint64 thread_number, uint64 threads) {
    for (uint64 i = thread_number; i < n; i += threads) {
        const Places at = places_of(i, n, strided);
        y[i] = narrow<E>(F::derivative(widen<M>(x[at.of[0]]), parameters) *
                         widen<M>(grad[at.of[1]]));
    }
}

#endif
