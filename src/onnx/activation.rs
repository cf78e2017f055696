//! Activations as ONNX operators.

use super::builder::{Builder, float};
use crate::Activation;

/// Adds the nodes of an activation and returns the name of the result. Learnable parameters have
/// their initial value and random slopes their mean, as in
/// [`ops::activation`](crate::ops::activation::activation).
pub(super) fn activation(b: &mut Builder, activation: &Activation, x: &str) -> String {
    match *activation {
        Activation::Identity => x.to_string(),
        Activation::Mish => mish(b, x),
        Activation::Silu => silu(b, x),
        Activation::ESwish { beta } => {
            let y = silu(b, x);
            b.with_number("Mul", &y, beta)
        }
        Activation::Gelu => {
            let y = b.with_number("Mul", x, std::f64::consts::FRAC_1_SQRT_2);
            let y = b.unary("Erf", &y);
            half_gated(b, x, &y)
        }
        Activation::GeluTanh => {
            let square = b.binary("Mul", x, x);
            let y = b.with_number("Mul", &square, 0.044715);
            let y = b.with_number("Add", &y, 1.0);
            let y = b.binary("Mul", &y, x);
            let y = b.with_number("Mul", &y, (2.0 / std::f64::consts::PI).sqrt());
            let y = tanh(b, &y);
            half_gated(b, x, &y)
        }
        Activation::Relu => b.unary("Relu", x),
        Activation::Relu6 => clip(b, x, 0.0, 6.0),
        Activation::LeakyRelu { slope } => leaky_relu(b, x, slope),
        Activation::RRelu { lower, upper } => leaky_relu(b, x, 0.5 * (lower + upper)),
        Activation::PRelu { init } | Activation::PReluShared { init } => leaky_relu(b, x, init),
        Activation::SRelu {
            left_threshold,
            left_slope,
            right_threshold,
            right_slope,
        } => {
            let rows = [left_threshold, left_slope, right_threshold, right_slope];
            let rows = rows.map(|value| b.number(value));
            srelu(b, x, &rows.each_ref().map(String::as_str))
        }
        Activation::Elu { alpha } => b.node("Elu", &[x], vec![float("alpha", alpha)]),
        Activation::Celu { alpha } => b.node("Celu", &[x], vec![float("alpha", alpha)]),
        Activation::Selu => b.unary("Selu", x),
        Activation::Softplus { beta } => {
            let y = b.with_number("Mul", x, beta);
            let y = softplus(b, &y);
            b.with_number("Div", &y, beta)
        }
        Activation::HardShrink { lambda } => shrink(b, x, lambda, 0.0),
        Activation::SoftShrink { lambda } => shrink(b, x, lambda, lambda),
        Activation::TanhShrink => {
            let y = tanh(b, x);
            b.binary("Sub", x, &y)
        }
        Activation::Hardtanh { min, max } => clip(b, x, min, max),
        Activation::LogSigmoid => {
            let y = b.unary("Neg", x);
            let y = softplus(b, &y);
            b.unary("Neg", &y)
        }
        Activation::Sigmoid => b.unary("Sigmoid", x),
        Activation::HardSigmoid => hard_sigmoid(b, x, 1.0 / 6.0, 0.5),
        Activation::Tanh => tanh(b, x),
        Activation::PenalizedTanh { alpha } => {
            let y = tanh(b, x);
            leaky_relu(b, &y, alpha)
        }
        Activation::Softsign => b.unary("Softsign", x),
        Activation::Aria2 { alpha, beta } => {
            // (1 + e^(-beta x))^-alpha without overflow of the exponential.
            let y = b.with_number("Mul", x, -beta);
            let y = softplus(b, &y);
            let y = b.with_number("Mul", &y, -alpha);
            b.unary("Exp", &y)
        }
        Activation::BentIdentity => {
            let y = b.binary("Mul", x, x);
            let y = b.with_number("Add", &y, 1.0);
            let y = b.unary("Sqrt", &y);
            let y = b.with_number("Sub", &y, 1.0);
            let y = b.with_number("Mul", &y, 0.5);
            b.binary("Add", &y, x)
        }
        Activation::Sqnl => {
            // c - c |c| / 4 with c = clip(x, -2, 2).
            let c = clip(b, x, -2.0, 2.0);
            let y = b.unary("Abs", &c);
            let y = b.binary("Mul", &y, &c);
            let y = b.with_number("Mul", &y, 0.25);
            b.binary("Sub", &c, &y)
        }
        Activation::Elish => {
            let y = b.unary("Elu", x);
            let gate = b.unary("Sigmoid", x);
            b.binary("Mul", &y, &gate)
        }
        Activation::HardElish => {
            let y = b.unary("Elu", x);
            let gate = hard_sigmoid(b, x, 0.5, 0.5);
            b.binary("Mul", &y, &gate)
        }
        Activation::Isru { alpha } => isru(b, x, alpha),
        Activation::Isrlu { alpha } => {
            let zero = b.number(0.0);
            let left = b.binary("Min", x, &zero);
            let left = isru(b, &left, alpha);
            let right = b.unary("Relu", x);
            b.binary("Add", &left, &right)
        }
        Activation::FlattenTSwish { threshold } => {
            let y = b.unary("Relu", x);
            let gate = b.unary("Sigmoid", x);
            let y = b.binary("Mul", &y, &gate);
            b.with_number("Add", &y, threshold)
        }
        Activation::SineRelu { epsilon } => {
            let sine = b.unary("Sin", x);
            let cosine = b.unary("Cos", x);
            let y = b.binary("Sub", &sine, &cosine);
            let y = b.with_number("Mul", &y, epsilon);
            let positive = b.with_number("Greater", x, 0.0);
            b.node("Where", &[&positive, x, &y], Vec::new())
        }
        Activation::WeightedTanh { weight } => {
            let y = b.with_number("Mul", x, weight);
            tanh(b, &y)
        }
        Activation::LecunTanh => {
            let y = b.with_number("Mul", x, 2.0 / 3.0);
            let y = tanh(b, &y);
            b.with_number("Mul", &y, 1.7159)
        }
        Activation::SoftClipping { alpha } => {
            let left = b.with_number("Mul", x, alpha);
            let right = b.with_number("Sub", &left, alpha);
            let left = softplus(b, &left);
            let right = softplus(b, &right);
            let y = b.binary("Sub", &left, &right);
            b.with_number("Div", &y, alpha)
        }
        Activation::ThresholdedRelu { theta } => {
            b.node("ThresholdedRelu", &[x], vec![float("alpha", theta)])
        }
        Activation::HardSwish => hard_swish(b, x),
        Activation::HardMish => {
            let gate = hard_sigmoid(b, x, 0.5, 1.0);
            b.binary("Mul", x, &gate)
        }
    }
}

/// SReLU. `rows` are left threshold, left slope, right threshold and right slope.
pub(super) fn srelu(b: &mut Builder, x: &str, rows: &[&str; 4]) -> String {
    let [left, left_slope, right, right_slope] = rows;
    let mut line = |threshold: &str, slope: &str| {
        let y = b.binary("Sub", x, threshold);
        let y = b.binary("Mul", &y, slope);
        b.binary("Add", &y, threshold)
    };
    let (on_left, on_right) = (line(left, left_slope), line(right, right_slope));
    let is_right = b.binary("GreaterOrEqual", x, right);
    let y = b.node("Where", &[&is_right, &on_right, x], Vec::new());
    let is_left = b.binary("LessOrEqual", x, left);
    b.node("Where", &[&is_left, &on_left, &y], Vec::new())
}

/// tanh(x). OpenCV's `Tanh` is not a number from 45 on. The clip changes no result: tanh(20) rounds
/// to 1.
fn tanh(b: &mut Builder, x: &str) -> String {
    let limit = b.number(20.0);
    let y = b.binary("Min", x, &limit);
    b.unary("Tanh", &y)
}

/// ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|). OpenCV's `Softplus` is infinite from 89 on.
fn softplus(b: &mut Builder, x: &str) -> String {
    let y = b.unary("Abs", x);
    let y = b.unary("Neg", &y);
    let y = b.unary("Softplus", &y);
    let right = b.unary("Relu", x);
    b.binary("Add", &right, &y)
}

/// Mish, or if the runtime does not have it x tanh(softplus(x)) = x / (1 + 2 / n) with
/// n = e^x (e^x + 2).
///
/// The quotient keeps all digits of negative results, where `Softplus` rounds 1 + e^x, and needs no
/// guard for `Tanh`. With the clip each step is finite: from 20 on 2 / n rounds to nothing, and below
/// -87 the result is 0 to any digit that matters. Where e^x rounds to 0 or infinity, as in half
/// precision, the result is still right.
fn mish(b: &mut Builder, x: &str) -> String {
    if b.has("Mish") {
        return b.unary("Mish", x);
    }
    let y = clip(b, x, -87.0, 20.0);
    let e = b.unary("Exp", &y);
    let y = b.with_number("Add", &e, 2.0);
    let n = b.binary("Mul", &e, &y);
    let two = b.number(2.0);
    let y = b.binary("Div", &two, &n);
    let y = b.with_number("Add", &y, 1.0);
    b.binary("Div", x, &y)
}

fn hard_swish(b: &mut Builder, x: &str) -> String {
    if b.has("HardSwish") {
        return b.unary("HardSwish", x);
    }
    let gate = hard_sigmoid(b, x, 1.0 / 6.0, 0.5);
    b.binary("Mul", x, &gate)
}

fn silu(b: &mut Builder, x: &str) -> String {
    let gate = b.unary("Sigmoid", x);
    b.binary("Mul", x, &gate)
}

/// x (1 + y) / 2
fn half_gated(b: &mut Builder, x: &str, y: &str) -> String {
    let gate = b.with_number("Add", y, 1.0);
    let gate = b.with_number("Mul", &gate, 0.5);
    b.binary("Mul", x, &gate)
}

fn clip(b: &mut Builder, x: &str, min: f64, max: f64) -> String {
    let (min, max) = (b.number(min), b.number(max));
    b.node("Clip", &[x, &min, &max], Vec::new())
}

fn leaky_relu(b: &mut Builder, x: &str, slope: f64) -> String {
    b.node("LeakyRelu", &[x], vec![float("alpha", slope)])
}

fn shrink(b: &mut Builder, x: &str, lambda: f64, bias: f64) -> String {
    b.node(
        "Shrink",
        &[x],
        vec![float("lambd", lambda), float("bias", bias)],
    )
}

/// min(max(alpha x + beta, 0), 1)
fn hard_sigmoid(b: &mut Builder, x: &str, alpha: f64, beta: f64) -> String {
    b.node(
        "HardSigmoid",
        &[x],
        vec![float("alpha", alpha), float("beta", beta)],
    )
}

/// x / sqrt(1 + alpha x^2)
fn isru(b: &mut Builder, x: &str, alpha: f64) -> String {
    let y = b.binary("Mul", x, x);
    let y = b.with_number("Mul", &y, alpha);
    let y = b.with_number("Add", &y, 1.0);
    let y = b.unary("Sqrt", &y);
    b.binary("Div", x, &y)
}
