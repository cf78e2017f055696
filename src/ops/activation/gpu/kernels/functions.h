// The activation functions and their derivatives, one row for each, in CUDA C++ and in Metal.
//
// The formulas match src/ops/activation/simd/mod.rs for functions with a vector kernel, and
// src/activation/functions.rs for the others. `M` is the arithmetic: the type `T` and its
// elementary functions (prelude.cuh, prelude.metal). A prelude comes first. It defines `FN`, the
// qualifiers of a device function, and Metal's address spaces `GLOBAL` and `CONSTANT`.

#ifndef CANDLE_MISH_FUNCTIONS_H
#define CANDLE_MISH_FUNCTIONS_H

// Parameters of a function, in the order of the table in src/activation/mod.rs.
template <class T> struct Parameters {
    T of[4];
};

// A copy of the constants of a kernel.
template <class T> FN Parameters<T> copied(CONSTANT const Parameters<T> &constants) {
    Parameters<T> parameters;
    UNROLL for (int i = 0; i < 4; ++i) parameters.of[i] = constants.of[i];
    return parameters;
}

// The parts of the rows below.
template <class M> struct Formulas {
    typedef typename M::T T;

    // `value`, or NaN if x is NaN.
    static FN T constant_of(T x, T value) { return x != x ? x : value; }

    // a b where 0 times an infinity is 0.
    static FN T vanishing(T a, T b) {
        return a == T(0) || b == T(0) ? constant_of(a + b, T(0)) : a * b;
    }

    // Both keep NaN.
    static FN T at_least(T x, T bound) { return x < bound ? bound : x; }
    static FN T at_most(T x, T bound) { return x > bound ? bound : x; }

    static FN T absolute(T x) { return x < T(0) ? -x : x; }
    static FN bool infinite(T x) { return x == x && x - x != T(0); }

    // e^x as a product. The second factor is 1 except for the smallest results: where e^x is
    // subnormal, the first factor is accurate, and so small that 1 plus it is 1. For x from
    // M::tail().
    struct Scaled {
        T e, scale;
    };
    static FN Scaled exp_scaled(T x) {
        const bool far = x < M::far();
        Scaled scaled;
        scaled.e = M::exp(far ? x + M::shift() : x);
        scaled.scale = far ? M::exp_of_minus_shift() : T(1);
        return scaled;
    }

    static FN T sigmoid(T x) {
        const Scaled s = exp_scaled(at_most(at_least(x, M::tail()), T(40)));
        return M::div(s.e, s.e + T(1)) * s.scale;
    }
    static FN T sigmoid_derivative(T x) {
        // By symmetry; on the left both factors keep their accuracy.
        const Scaled s = exp_scaled(at_least(-absolute(x), M::tail()));
        const T d = s.e + T(1);
        return M::div(M::div(s.e, d) * s.scale, d);
    }
    static FN T tanh_derivative(T x) {
        const T e = M::exp(T(-2) * absolute(x));
        return T(4) * e / ((T(1) + e) * (T(1) + e));
    }
    // ln(1 + e^x)
    static FN T softplus(T x) {
        return (x > T(0) ? x : constant_of(x, T(0))) + M::log1p(M::exp(-absolute(x)));
    }

    // With e = e^x and n = e (e + 2): y = x n / (n + 2), dy/dx = e w / (n + 2)^2 with
    // w = 4 (x + 1) + 4 e^2 + e^3 + e (4 x + 6). From x = 20 it is the identity.
    static FN T mish(T x) {
        x = at_least(x, M::tail());
        const Scaled s = exp_scaled(at_most(x, T(20)));
        const T n = M::fma(s.e, s.e, s.e + s.e);
        return (x * s.scale) * M::div(n, n + T(2));
    }
    static FN T mish_derivative(T x) {
        x = at_least(x, M::tail());
        const Scaled s = exp_scaled(at_most(x, T(20)));
        const T d = M::fma(s.e, s.e, s.e + s.e) + T(2);
        T w = M::fma(s.e + T(4), s.e, M::fma(T(4), x, T(6)));
        w = M::fma(w, s.e, M::fma(T(4), x, T(4)));
        const T derivative = M::div_both(s.e * s.scale, w, d);
        return x > T(20) ? T(1) : derivative;
    }

    static FN T silu(T x) {
        x = at_least(x, M::tail());
        const Scaled s = exp_scaled(at_most(x, T(40)));
        return (x * s.scale) * M::div(s.e, s.e + T(1));
    }
    // s (1 + x (1 - s)) with s = e / (1 + e).
    static FN T silu_derivative(T x) {
        x = at_most(at_least(x, M::tail()), T(40));
        const Scaled s = exp_scaled(x);
        const T complement = M::div(T(1), s.e + T(1));
        return (s.e * s.scale) * complement * M::fma(x, complement, T(1));
    }

    static FN T gelu(T x) { return vanishing(x, M::normal(x)); }
    static FN T gelu_derivative(T x) {
        const T density = T(0.3989422804014327) * M::exp(T(-0.5) * x * x);
        return M::normal(x) + vanishing(x, density);
    }

    // (1 + tanh u) / 2 is the logistic function of 2 u = x slope, without cancellation on the
    // left. Below -25 the function is 0, above 8 it is the identity.
    static FN T gelu_tanh(T x) {
        x = at_least(x, T(-25));
        const T bounded = at_most(x, T(8));
        const T slope = M::fma(bounded * bounded, cubic(), linear());
        const Scaled s = exp_scaled(at_most(at_least(bounded * slope, M::tail()), T(40)));
        return (x * s.scale) * M::div(s.e, s.e + T(1));
    }
    static FN T gelu_tanh_derivative(T x) {
        x = at_most(at_least(x, T(-25)), T(8));
        const T square = x * x;
        const T slope = M::fma(square, cubic(), linear());
        const T steep = M::fma(square, T(3) * cubic(), linear());
        const Scaled s = exp_scaled(at_most(at_least(x * slope, M::tail()), T(40)));
        const T complement = M::div(T(1), s.e + T(1));
        return (s.e * s.scale) * complement * M::fma(x * steep, complement, T(1));
    }
    static FN T linear() { return T(1.5957691216057308); }
    static FN T cubic() { return T(1.5957691216057308) * T(0.044715); }

    static FN T leaky(T x, T slope) { return x > T(0) ? x : vanishing(x, slope); }
    static FN T leaky_derivative(T x, T slope) { return x > T(0) ? T(1) : slope; }

    // scale x where positive, scale alpha (e^(rate x) - 1) elsewhere.
    static FN T elu(T x, T scale, T alpha, T rate) {
        return x > T(0) ? scale * x : scale * alpha * M::expm1(rate * x);
    }
    static FN T elu_derivative(T x, T scale, T alpha, T rate) {
        return x > T(0) ? scale : scale * alpha * rate * M::exp(rate * x);
    }
    static FN T selu_scale() { return T(1.0507009873554805); }
    static FN T selu_alpha() { return T(1.6732632423543772); }

    static FN T hard_shrink(T x, T lambda) { return absolute(x) <= lambda ? T(0) : x; }
    static FN T soft_shrink(T x, T lambda) {
        return absolute(x) <= lambda ? T(0) : x < T(0) ? x + lambda : x - lambda;
    }
    static FN T shrink_derivative(T x, T lambda) { return absolute(x) <= lambda ? T(0) : T(1); }

    static FN T bounded(T x, T low, T high) { return x < low ? low : x > high ? high : x; }
    static FN T bounded_derivative(T x, T low, T high) {
        return x <= low || x >= high ? T(0) : T(1);
    }
    static FN T hard_sigmoid(T x) { return bounded(x + T(3), T(0), T(6)) / T(6); }

    // sqrt(1 + x^2) without overflow.
    static FN T hypotenuse(T x) {
        return absolute(x) > M::square_hides_one() ? absolute(x) : M::sqrt(T(1) + x * x);
    }

    static FN T srelu(T x, T tl, T al, T tr, T ar) {
        return x <= tl   ? tl + vanishing(x - tl, al)
               : x >= tr ? tr + vanishing(x - tr, ar)
                         : x;
    }
    static FN T srelu_derivative(T x, T tl, T al, T tr, T ar) {
        return x <= tl ? al : x >= tr ? ar : T(1);
    }

    static FN T softsign(T x) {
        return infinite(x) ? (x < T(0) ? T(-1) : T(1)) : x / (T(1) + absolute(x));
    }
    static FN T softsign_derivative(T x) {
        const T inverse = T(1) / (T(1) + absolute(x));
        return inverse * inverse;
    }

    static FN T aria2(T x, T alpha, T beta) { return M::exp(-alpha * softplus(-beta * x)); }
    static FN T aria2_derivative(T x, T alpha, T beta) {
        return alpha * beta * aria2(x, alpha, beta) * sigmoid(-beta * x);
    }

    // (sqrt(x^2 + 1) - 1) / 2 + x, in three forms that do not cancel.
    static FN T tanh_shrink(T x) {
        if (!(absolute(x) < T(1))) return x - M::tanh(x);
        // x and its tangent cancel. The terms of x cosh(x) - sinh(x) do not.
        const T y = x * x, e = M::exp(absolute(x));
        T sum = T(1.0 / 6758061133824000.0);
        sum = sum * y + T(1.0 / 22230464256000.0);
        sum = sum * y + T(1.0 / 93405312000.0);
        sum = sum * y + T(1.0 / 518918400.0);
        sum = sum * y + T(1.0 / 3991680.0);
        sum = sum * y + T(1.0 / 45360.0);
        sum = sum * y + T(1.0 / 840.0);
        sum = sum * y + T(1.0 / 30.0);
        sum = sum * y + T(1.0 / 3.0);
        return x * y * sum / (T(0.5) * (e + T(1) / e));
    }

    static FN T bent_identity(T x) {
        const T root = hypotenuse(x);
        return x < T(-1)  ? T(0.5) * (T(1) / (root - x) - T(1) + x)
               : x > T(1) ? T(0.5) * (root - T(1)) + x
                          : T(0.5) * (x * x / (root + T(1))) + x;
    }
    static FN T bent_identity_derivative(T x) {
        const T sine = infinite(x) ? (x < T(0) ? T(-1) : T(1)) : x / hypotenuse(x);
        return T(0.5) * sine + T(1);
    }

    static FN T sqnl(T x) {
        x = bounded(x, T(-2), T(2));
        return x - T(0.25) * x * absolute(x);
    }
    static FN T sqnl_derivative(T x) {
        return T(1) - T(0.5) * absolute(bounded(x, T(-2), T(2)));
    }

    static FN T elish(T x) { return x >= T(0) ? silu(x) : M::expm1(x) * sigmoid(x); }
    static FN T elish_derivative(T x) {
        return x >= T(0) ? silu_derivative(x)
                         : M::exp(x) * sigmoid(x) + M::expm1(x) * sigmoid_derivative(x);
    }
    static FN T hard_elish(T x) {
        const T gate = bounded(T(0.5) * (x + T(1)), T(0), T(1));
        return (x >= T(0) ? x : M::expm1(x)) * gate;
    }
    static FN T hard_elish_derivative(T x) {
        return x >= T(1)   ? T(1)
               : x >= T(0) ? x + T(0.5)
               : x > T(-1) ? T(0.5) * ((x + T(1)) * M::exp(x) + M::expm1(x))
                           : constant_of(x, T(0));
    }

    // x / sqrt(1 + alpha x^2); x takes the square root of alpha, so that nothing overflows.
    static FN T isru(T x, T alpha) {
        const T root = M::sqrt(alpha);
        return infinite(x) && alpha > T(0) ? (x < T(0) ? T(-1) : T(1)) / root
                                           : x / hypotenuse(root * x);
    }
    static FN T isru_derivative(T x, T alpha) {
        const T inverse = T(1) / M::sqrt(T(1) + alpha * x * x);
        return inverse * inverse * inverse;
    }

    static FN T soft_clipping(T x, T alpha) {
        // Both terms grow with x and cancel. Above the bends, only their differences from the
        // asymptotes matter.
        const T left = alpha * x, right = alpha * (x - T(1));
        return x > T(1) ? T(1) + (M::log1p(M::exp(-left)) - M::log1p(M::exp(-right))) / alpha
                        : (softplus(left) - softplus(right)) / alpha;
    }
    static FN T soft_clipping_derivative(T x, T alpha) {
        return sigmoid(alpha * x) * sigmoid(-alpha * (x - T(1))) * -M::expm1(-alpha);
    }

    static FN T hard_swish_derivative(T x) {
        return x <= T(-3) ? T(0) : x < T(3) ? x / T(3) + T(0.5) : constant_of(x, T(1));
    }
    static FN T hard_mish_derivative(T x) {
        return x <= T(-2) ? T(0) : x < T(0) ? x + T(1) : constant_of(x, T(1));
    }

    static FN T mean(T a, T b) { return T(0.5) * (a + b); }
};

// A row: the name in the table of src/activation/mod.rs, f(x), f'(x). `p` is the array of
// parameters.
#define ACTIVATION(name, value_at_x, derivative_at_x)                                              \
    template <class M> struct name##_function : Formulas<M> {                                      \
        typedef Formulas<M> f;                                                                     \
        typedef typename M::T T;                                                                   \
        static FN T value(T x, Parameters<T> parameters) {                                         \
            const T p[4] = {parameters.of[0], parameters.of[1], parameters.of[2],                  \
                            parameters.of[3]};                                                     \
            (void)p;                                                                               \
            return value_at_x;                                                                     \
        }                                                                                          \
        static FN T derivative(T x, Parameters<T> parameters) {                                    \
            const T p[4] = {parameters.of[0], parameters.of[1], parameters.of[2],                  \
                            parameters.of[3]};                                                     \
            (void)p;                                                                               \
            (void)x;                                                                               \
            return derivative_at_x;                                                                \
        }                                                                                          \
    };

ACTIVATION(identity, x, T(1))
ACTIVATION(mish, f::mish(x), f::mish_derivative(x))
ACTIVATION(silu, f::silu(x), f::silu_derivative(x))
ACTIVATION(e_swish, p[0] * f::silu(x), p[0] * f::silu_derivative(x))
ACTIVATION(gelu, f::gelu(x), f::gelu_derivative(x))
ACTIVATION(gelu_tanh, f::gelu_tanh(x), f::gelu_tanh_derivative(x))
ACTIVATION(relu, f::leaky(x, T(0)), f::leaky_derivative(x, T(0)))
ACTIVATION(relu6, f::bounded(x, T(0), T(6)), f::bounded_derivative(x, T(0), T(6)))
ACTIVATION(leaky_relu, f::leaky(x, p[0]), f::leaky_derivative(x, p[0]))
ACTIVATION(rrelu, f::leaky(x, f::mean(p[0], p[1])), f::leaky_derivative(x, f::mean(p[0], p[1])))
ACTIVATION(prelu, f::leaky(x, p[0]), f::leaky_derivative(x, p[0]))
ACTIVATION(prelu_shared, f::leaky(x, p[0]), f::leaky_derivative(x, p[0]))
ACTIVATION(srelu, f::srelu(x, p[0], p[1], p[2], p[3]), f::srelu_derivative(x, p[0], p[1], p[2], p[3]))
ACTIVATION(elu, f::elu(x, T(1), p[0], T(1)), f::elu_derivative(x, T(1), p[0], T(1)))
ACTIVATION(celu, f::elu(x, T(1), p[0], T(1) / p[0]), f::elu_derivative(x, T(1), p[0], T(1) / p[0]))
ACTIVATION(selu, f::elu(x, f::selu_scale(), f::selu_alpha(), T(1)),
           f::elu_derivative(x, f::selu_scale(), f::selu_alpha(), T(1)))
ACTIVATION(softplus, f::softplus(p[0] * x) / p[0], f::sigmoid(p[0] * x))
ACTIVATION(hard_shrink, f::hard_shrink(x, p[0]), f::shrink_derivative(x, p[0]))
ACTIVATION(soft_shrink, f::soft_shrink(x, p[0]), f::shrink_derivative(x, p[0]))
ACTIVATION(tanh_shrink, f::tanh_shrink(x), M::tanh(x) * M::tanh(x))
ACTIVATION(hardtanh, f::bounded(x, p[0], p[1]), f::bounded_derivative(x, p[0], p[1]))
ACTIVATION(log_sigmoid, -f::softplus(-x), f::sigmoid(-x))
ACTIVATION(sigmoid, f::sigmoid(x), f::sigmoid_derivative(x))
ACTIVATION(hard_sigmoid, f::hard_sigmoid(x), f::bounded_derivative(x, T(-3), T(3)) / T(6))
ACTIVATION(tanh, M::tanh(x), f::tanh_derivative(x))
ACTIVATION(penalized_tanh, f::leaky(M::tanh(x), p[0]),
           f::tanh_derivative(x) * f::leaky_derivative(x, p[0]))
ACTIVATION(softsign, f::softsign(x), f::softsign_derivative(x))
ACTIVATION(aria2, f::aria2(x, p[0], p[1]), f::aria2_derivative(x, p[0], p[1]))
ACTIVATION(bent_identity, f::bent_identity(x), f::bent_identity_derivative(x))
ACTIVATION(sqnl, f::sqnl(x), f::sqnl_derivative(x))
ACTIVATION(elish, f::elish(x), f::elish_derivative(x))
ACTIVATION(hard_elish, f::hard_elish(x), f::hard_elish_derivative(x))
ACTIVATION(isru, f::isru(x, p[0]), f::isru_derivative(x, p[0]))
ACTIVATION(isrlu, x >= T(0) ? x : f::isru(x, p[0]), x >= T(0) ? T(1) : f::isru_derivative(x, p[0]))
ACTIVATION(flatten_t_swish, x >= T(0) ? f::silu(x) + p[0] : f::constant_of(x, p[0]),
           x >= T(0) ? f::silu_derivative(x) : f::constant_of(x, T(0)))
ACTIVATION(sine_relu, x > T(0) ? x : p[0] * (M::sin(x) - M::cos(x)),
           x > T(0) ? T(1) : p[0] * (M::cos(x) + M::sin(x)))
ACTIVATION(weighted_tanh, M::tanh(p[0] * x), p[0] * f::tanh_derivative(p[0] * x))
ACTIVATION(lecun_tanh, T(1.7159) * M::tanh(T(2.0 / 3.0) * x),
           T(1.7159 * 2.0 / 3.0) * f::tanh_derivative(T(2.0 / 3.0) * x))
ACTIVATION(soft_clipping, f::soft_clipping(x, p[0]), f::soft_clipping_derivative(x, p[0]))
ACTIVATION(thresholded_relu, x <= p[0] ? T(0) : x, x <= p[0] ? T(0) : f::constant_of(x, T(1)))
ACTIVATION(hard_swish, f::vanishing(x, f::hard_sigmoid(x)), f::hard_swish_derivative(x))
ACTIVATION(hard_mish, f::vanishing(x, T(0.5) * f::bounded(x + T(2), T(0), T(2))),
           f::hard_mish_derivative(x))

#endif
