// Activations whose parameters are tensors, in CUDA C++ and in Metal. A row of parameters has one
// value for each channel; runs of `inner` elements use the channels in turn. The formulas match
// src/ops/activation/function.rs.

#ifndef CANDLE_MISH_PARAMETRIC_H
#define CANDLE_MISH_PARAMETRIC_H

// The rows of parameters of one run.
template <class T> struct Rows {
    T of[4];
};

template <class M> struct prelu_rows {
    typedef typename M::T T;
    static FN uint32 rows() { return 1; }
    static FN T value(T x, Rows<T> p) { return x > T(0) ? x : x * p.of[0]; }
    static FN T derivative(T x, Rows<T> p) { return x > T(0) ? T(1) : p.of[0]; }
    // The derivative with respect to the parameter of row `row`.
    static FN T parameter_derivative(T x, Rows<T>, uint32) { return x > T(0) ? T(0) : x; }
};

// The rows: left threshold, left slope, right threshold, right slope.
template <class M> struct srelu_rows {
    typedef typename M::T T;
    static FN uint32 rows() { return 4; }
    static FN T value(T x, Rows<T> p) {
        return x <= p.of[0]   ? p.of[0] + (x - p.of[0]) * p.of[1]
               : x >= p.of[2] ? p.of[2] + (x - p.of[2]) * p.of[3]
                              : x;
    }
    static FN T derivative(T x, Rows<T> p) {
        return x <= p.of[0] ? p.of[1] : x >= p.of[2] ? p.of[3] : T(1);
    }
    static FN T parameter_derivative(T x, Rows<T> p, uint32 row) {
        const bool left = x <= p.of[0], right = !left && x >= p.of[2];
        switch (row) {
        case 0: return left ? T(1) - p.of[1] : T(0);
        case 1: return left ? x - p.of[0] : T(0);
        case 2: return right ? T(1) - p.of[3] : T(0);
        default: return right ? x - p.of[2] : T(0);
        }
    }
};

// How a tensor is divided into runs that share their parameters.
struct Planes {
    uint64 channels;
    uint64 inner;
};

// A copy of the constants of a kernel.
FN Planes copied(CONSTANT const Planes &constants) {
    Planes planes;
    planes.channels = constants.channels;
    planes.inner = constants.inner;
    return planes;
}

// a / b, in 32 bits if both fit: long divisions cost several times as much.
FN uint64 quotient(uint64 a, uint64 b) {
    return ((a | b) >> 32) == 0 ? (uint32)a / (uint32)b : a / b;
}

template <class F, class M, class E>
FN Rows<typename M::T> rows_of(uint64 channel, uint64 channels, GLOBAL const E *p) {
    Rows<typename M::T> rows;
    UNROLL for (uint32 row = 0; row < 4; ++row)
        rows.of[row] = row < F::rows() ? widen<M>(p[row * channels + channel]) : typename M::T(0);
    return rows;
}

// f(x), or grad f'(x) if `derivative` is set; otherwise grad is not read. All tensors are
// contiguous.
template <class F, class M, class E, bool derivative>
FN void parametric_map(uint64 n, bool aligned, Planes planes, GLOBAL const E *x,
                       GLOBAL const E *p, GLOBAL const E *grad, GLOBAL E *y,
                       uint64 thread_number, uint64 threads) {
    typedef typename M::T T;
    const uint32 lanes = Pack<E>::lanes;
    uint64 done = 0;
    if (aligned) {
        const uint64 packs = n / lanes;
        for (uint64 i = thread_number; i < packs; i += threads) {
            Pack<E> pack = load_pack(x + i * lanes);
            Pack<E> grads = pack;
            if (derivative) grads = load_pack(grad + i * lanes);
            // One division for all lanes: the other lanes count up from the first.
            const uint64 run = quotient(i * lanes, planes.inner);
            uint64 place = i * lanes - run * planes.inner;
            uint64 channel = run - quotient(run, planes.channels) * planes.channels;
            Rows<T> rows = rows_of<F, M>(channel, planes.channels, p);
            UNROLL for (uint32 lane = 0; lane < lanes; ++lane) {
                const T value = widen<M>(pack.of[lane]);
                pack.of[lane] = narrow<E>(derivative ? F::derivative(value, rows) *
                                                           widen<M>(grads.of[lane])
                                                     : F::value(value, rows));
                if (++place == planes.inner && lane + 1 < lanes) {
                    place = 0;
                    if (++channel == planes.channels) channel = 0;
                    rows = rows_of<F, M>(channel, planes.channels, p);
                }
            }
            store_pack(y + i * lanes, pack);
        }
        done = packs * lanes;
    }
    for (uint64 i = done + thread_number; i < n; i += threads) {
        const uint64 run = quotient(i, planes.inner);
        const uint64 channel = run - quotient(run, planes.channels) * planes.channels;
        const Rows<T> rows = rows_of<F, M>(channel, planes.channels, p);
        const T value = widen<M>(x[i]);
        y[i] = narrow<E>(derivative ? F::derivative(value, rows) * widen<M>(grad[i])
                                    : F::value(value, rows));
    }
}

// The gradient of slopes, one for each element.
template <class F, class M, class E>
FN void parametric_each(uint64 n, GLOBAL const E *x, GLOBAL const E *p, GLOBAL const E *grad,
                        GLOBAL E *y, uint64 thread_number, uint64 threads) {
    for (uint64 i = thread_number; i < n; i += threads) {
        const Rows<typename M::T> rows = rows_of<F, M>(i, n, p);
        y[i] = narrow<E>(widen<M>(grad[i]) * F::parameter_derivative(widen<M>(x[i]), rows, 0));
    }
}

// Sums one value of each thread of a block into the first place of `scratch`, which has a place for
// each thread. The order of the sum is a fixed tree, so the result is reproducible. The number of
// threads is a power of two.
template <class T>
FN void sum_block(SHARED T *scratch, T value, uint32 member, uint32 threads) {
    scratch[member] = value;
    BARRIER();
    for (uint32 half_of = threads / 2; half_of > 0; half_of /= 2) {
        if (member < half_of) scratch[member] += scratch[member + half_of];
        BARRIER();
    }
}

// The gradients of the parameters, first pass. Block number `block` of `parts` times the channels
// sums part `block % parts` of channel `block / parts`; partial[row][channel][part].
template <class F, class M, class E>
FN void parametric_partial(uint64 n, Planes planes, uint64 parts, GLOBAL const E *x,
                           GLOBAL const E *p, GLOBAL const E *grad,
                           GLOBAL typename M::T *partial, SHARED typename M::T *scratch,
                           uint64 block, uint32 member, uint32 threads) {
    typedef typename M::T T;
    const uint64 channel = block / parts, part = block - channel * parts;
    const uint64 count = n / planes.channels;
    const uint64 first = count / parts * part + (part < count % parts ? part : count % parts);
    const uint64 last = first + count / parts + (part < count % parts ? 1 : 0);
    const Rows<T> rows = rows_of<F, M>(channel, planes.channels, p);
    Rows<T> sums;
    for (uint32 row = 0; row < 4; ++row) sums.of[row] = T(0);
    for (uint64 j = first + member; j < last; j += threads) {
        const uint64 plane = quotient(j, planes.inner);
        const uint64 i = (plane * planes.channels + channel) * planes.inner +
                         (j - plane * planes.inner);
        const T value = widen<M>(x[i]), slope = widen<M>(grad[i]);
        UNROLL for (uint32 row = 0; row < 4; ++row)
            if (row < F::rows())
                sums.of[row] += slope * F::parameter_derivative(value, rows, row);
    }
    for (uint32 row = 0; row < F::rows(); ++row) {
        sum_block<T>(scratch, sums.of[row], member, threads);
        if (member == 0) partial[(row * planes.channels + channel) * parts + part] = scratch[0];
        BARRIER();
    }
}

// Second pass: block number `block` sums the parts of one parameter.
template <class M, class E>
FN void parametric_total(uint64 parts, GLOBAL const typename M::T *partial, GLOBAL E *y,
                         SHARED typename M::T *scratch, uint64 block, uint32 member,
                         uint32 threads) {
    typedef typename M::T T;
    T sum = T(0);
    for (uint64 part = member; part < parts; part += threads) sum += partial[block * parts + part];
    sum_block<T>(scratch, sum, member, threads);
    if (member == 0) y[block] = narrow<E>(scratch[0]);
}

#endif
