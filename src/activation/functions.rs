//! The activation functions and their derivatives in double precision. The formulas are accurate
//! on the whole real line and have the correct limits.

use std::f64::consts::FRAC_1_SQRT_2;

/// The factor of SELU, which keeps variances at 1 (Klambauer et al., 2017).
pub const SELU_SCALE: f64 = 1.050_700_987_355_480_5;
/// The alpha of SELU, which keeps means at 0 (Klambauer et al., 2017).
pub const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;
const INV_SQRT_2PI: f64 = 0.398_942_280_401_432_7;
const SQRT_2_OVER_PI: f64 = 0.797_884_560_802_865_4;
const GELU_TANH_CUBIC: f64 = 0.044_715;

/// `value`, or NaN if x is NaN.
pub fn constant(x: f64, value: f64) -> f64 {
    if x.is_nan() { x } else { value }
}

/// a b, where 0 times an infinity is 0: the limit of a product with one factor that falls
/// exponentially.
fn vanishing(a: f64, b: f64) -> f64 {
    if a == 0.0 || b == 0.0 {
        constant(a + b, 0.0)
    } else {
        a * b
    }
}

pub fn sigmoid(x: f64) -> f64 {
    if x < 0.0 {
        let e = x.exp();
        e / (1.0 + e)
    } else {
        1.0 / (1.0 + (-x).exp())
    }
}

pub fn sigmoid_derivative(x: f64) -> f64 {
    sigmoid(x) * sigmoid(-x)
}

pub fn tanh_derivative(x: f64) -> f64 {
    let e = (-2.0 * x.abs()).exp();
    4.0 * e / ((1.0 + e) * (1.0 + e))
}

/// ln(1 + e^x)
pub fn softplus(x: f64) -> f64 {
    x.max(constant(x, 0.0)) + (-x.abs()).exp().ln_1p()
}

pub fn mish(x: f64) -> f64 {
    if x >= 20.0 {
        return x;
    }
    let e = x.exp();
    let n = e * (e + 2.0);
    vanishing(x, n / (n + 2.0))
}

pub fn mish_derivative(x: f64) -> f64 {
    if x >= 20.0 {
        return 1.0;
    }
    let e = x.exp();
    let d = e * (e + 2.0) + 2.0;
    let w = 4.0 * (x + 1.0) + e * (4.0 * x + 6.0 + e * (4.0 + e));
    vanishing(e / d, w / d)
}

pub fn silu(x: f64) -> f64 {
    vanishing(x, sigmoid(x))
}

pub fn silu_derivative(x: f64) -> f64 {
    let (s, c) = (sigmoid(x), sigmoid(-x));
    s + vanishing(s * c, x)
}

/// The normal distribution function.
fn normal(x: f64) -> f64 {
    0.5 * libm::erfc(-x * FRAC_1_SQRT_2)
}

fn normal_density(x: f64) -> f64 {
    INV_SQRT_2PI * (-0.5 * x * x).exp()
}

pub fn gelu(x: f64) -> f64 {
    vanishing(x, normal(x))
}

pub fn gelu_derivative(x: f64) -> f64 {
    normal(x) + vanishing(x, normal_density(x))
}

pub fn gelu_tanh(x: f64) -> f64 {
    // (1 + tanh u) / 2 is the logistic function of 2 u, without the cancellation on the left.
    let u = SQRT_2_OVER_PI * (x + GELU_TANH_CUBIC * x * x * x);
    vanishing(x, sigmoid(2.0 * u))
}

pub fn gelu_tanh_derivative(x: f64) -> f64 {
    let u = SQRT_2_OVER_PI * (x + GELU_TANH_CUBIC * x * x * x);
    let slope = SQRT_2_OVER_PI * (1.0 + 3.0 * GELU_TANH_CUBIC * x * x);
    sigmoid(2.0 * u) + vanishing(sigmoid_derivative(2.0 * u), 2.0 * x * slope)
}

pub fn leaky_relu(x: f64, slope: f64) -> f64 {
    if x > 0.0 { x } else { vanishing(x, slope) }
}

pub fn leaky_relu_derivative(x: f64, slope: f64) -> f64 {
    if x > 0.0 { 1.0 } else { slope }
}

pub fn srelu(x: f64, tl: f64, al: f64, tr: f64, ar: f64) -> f64 {
    if x <= tl {
        tl + vanishing(x - tl, al)
    } else if x >= tr {
        tr + vanishing(x - tr, ar)
    } else {
        x
    }
}

pub fn srelu_derivative(x: f64, tl: f64, al: f64, tr: f64, ar: f64) -> f64 {
    if x <= tl {
        al
    } else if x >= tr {
        ar
    } else {
        1.0
    }
}

/// scale x where positive, scale alpha (e^(rate x) - 1) elsewhere.
pub fn elu(x: f64, scale: f64, alpha: f64, rate: f64) -> f64 {
    if x > 0.0 {
        scale * x
    } else {
        scale * alpha * (rate * x).exp_m1()
    }
}

pub fn elu_derivative(x: f64, scale: f64, alpha: f64, rate: f64) -> f64 {
    if x > 0.0 {
        scale
    } else {
        scale * alpha * rate * (rate * x).exp()
    }
}

pub fn hard_shrink(x: f64, lambda: f64) -> f64 {
    if x.abs() <= lambda { 0.0 } else { x }
}

pub fn soft_shrink(x: f64, lambda: f64) -> f64 {
    if x.abs() <= lambda {
        0.0
    } else {
        x - lambda.copysign(x)
    }
}

pub fn shrink_derivative(x: f64, lambda: f64) -> f64 {
    if x.abs() <= lambda { 0.0 } else { 1.0 }
}

pub fn hardtanh(x: f64, min: f64, max: f64) -> f64 {
    if x < min {
        min
    } else if x > max {
        max
    } else {
        x
    }
}

pub fn hardtanh_derivative(x: f64, min: f64, max: f64) -> f64 {
    if x <= min || x >= max { 0.0 } else { 1.0 }
}

pub fn hard_sigmoid(x: f64) -> f64 {
    hardtanh(x + 3.0, 0.0, 6.0) / 6.0
}

pub fn hard_sigmoid_derivative(x: f64) -> f64 {
    hardtanh_derivative(x, -3.0, 3.0) / 6.0
}

pub fn softsign(x: f64) -> f64 {
    if x.is_infinite() {
        1f64.copysign(x)
    } else {
        x / (1.0 + x.abs())
    }
}

pub fn aria2(x: f64, alpha: f64, beta: f64) -> f64 {
    (-alpha * softplus(-beta * x)).exp()
}

pub fn aria2_derivative(x: f64, alpha: f64, beta: f64) -> f64 {
    alpha * beta * aria2(x, alpha, beta) * sigmoid(-beta * x)
}

pub fn tanh_shrink(x: f64) -> f64 {
    if x.abs() >= 1.0 {
        return x - x.tanh();
    }
    // x and its tangent cancel. The terms of x cosh(x) - sinh(x) have one sign: the term in
    // x^(2k + 1) has the factor 2k / (2k + 1)!.
    const TERMS: [f64; 9] = [
        1.0 / 6_758_061_133_824_000.0,
        1.0 / 22_230_464_256_000.0,
        1.0 / 93_405_312_000.0,
        1.0 / 518_918_400.0,
        1.0 / 3_991_680.0,
        1.0 / 45_360.0,
        1.0 / 840.0,
        1.0 / 30.0,
        1.0 / 3.0,
    ];
    let square = x * x;
    let sum = TERMS.iter().fold(0.0, |sum, term| sum * square + term);
    x * square * sum / x.cosh()
}

pub fn bent_identity(x: f64) -> f64 {
    let root = x.hypot(1.0);
    if x < -1.0 {
        // The root and x cancel: their sum is the inverse of their difference.
        0.5 * ((root - x).recip() - 1.0 + x)
    } else if x > 1.0 {
        0.5 * (root - 1.0) + x
    } else {
        0.5 * (x * x / (root + 1.0)) + x
    }
}

pub fn bent_identity_derivative(x: f64) -> f64 {
    let sine = if x.is_infinite() {
        1f64.copysign(x)
    } else {
        x / x.hypot(1.0)
    };
    0.5 * sine + 1.0
}

pub fn sqnl(x: f64) -> f64 {
    let x = hardtanh(x, -2.0, 2.0);
    x - 0.25 * x * x.abs()
}

pub fn sqnl_derivative(x: f64) -> f64 {
    1.0 - 0.5 * hardtanh(x, -2.0, 2.0).abs()
}

pub fn elish(x: f64) -> f64 {
    if x >= 0.0 {
        silu(x)
    } else {
        x.exp_m1() * sigmoid(x)
    }
}

pub fn elish_derivative(x: f64) -> f64 {
    if x >= 0.0 {
        silu_derivative(x)
    } else {
        x.exp() * sigmoid(x) + x.exp_m1() * sigmoid_derivative(x)
    }
}

pub fn hard_elish(x: f64) -> f64 {
    let gate = hardtanh(0.5 * (x + 1.0), 0.0, 1.0);
    if x >= 0.0 {
        x * gate
    } else {
        x.exp_m1() * gate
    }
}

pub fn hard_elish_derivative(x: f64) -> f64 {
    if x >= 1.0 {
        1.0
    } else if x >= 0.0 {
        x + 0.5
    } else if x > -1.0 {
        0.5 * ((x + 1.0) * x.exp() + x.exp_m1())
    } else {
        constant(x, 0.0)
    }
}

pub fn isru(x: f64, alpha: f64) -> f64 {
    if x.is_infinite() && alpha > 0.0 {
        alpha.sqrt().recip().copysign(x)
    } else {
        x / (1.0 + alpha * x * x).sqrt()
    }
}

pub fn isru_derivative(x: f64, alpha: f64) -> f64 {
    (1.0 + alpha * x * x).powf(-1.5)
}

pub fn soft_clipping(x: f64, alpha: f64) -> f64 {
    // Both terms grow with x and cancel. Above the bends, only their differences from the
    // asymptotes matter.
    let (left, right) = (alpha * x, alpha * (x - 1.0));
    if x > 1.0 {
        1.0 + ((-left).exp().ln_1p() - (-right).exp().ln_1p()) / alpha
    } else {
        (softplus(left) - softplus(right)) / alpha
    }
}

/// sigmoid(u) - sigmoid(v) = sigmoid(u) sigmoid(-v) (1 - e^(v - u)), which does not cancel.
pub fn soft_clipping_derivative(x: f64, alpha: f64) -> f64 {
    sigmoid(alpha * x) * sigmoid(-alpha * (x - 1.0)) * -(-alpha).exp_m1()
}

pub fn hard_swish(x: f64) -> f64 {
    vanishing(x, hard_sigmoid(x))
}

pub fn hard_swish_derivative(x: f64) -> f64 {
    if x <= -3.0 {
        0.0
    } else if x < 3.0 {
        x / 3.0 + 0.5
    } else {
        constant(x, 1.0)
    }
}

pub fn hard_mish(x: f64) -> f64 {
    vanishing(x, 0.5 * hardtanh(x + 2.0, 0.0, 2.0))
}

pub fn hard_mish_derivative(x: f64) -> f64 {
    if x <= -2.0 {
        0.0
    } else if x < 0.0 {
        x + 1.0
    } else {
        constant(x, 1.0)
    }
}
