//! Mish in twice the precision of f64, and the points of the comparison.

/// A number as the unevaluated sum of two doubles: about 106 bits.
#[derive(Clone, Copy)]
pub struct Double(pub f64, pub f64);

impl Double {
    fn sum(a: f64, b: f64) -> Self {
        let s = a + b;
        let t = s - a;
        Self(s, (a - (s - t)) + (b - t))
    }

    fn add(self, other: Self) -> Self {
        let Self(s, e) = Self::sum(self.0, other.0);
        let Self(s, e) = Self::sum(s, e + self.1 + other.1);
        Self(s, e)
    }

    fn mul(self, other: Self) -> Self {
        let p = self.0 * other.0;
        let e = self.0.mul_add(other.0, -p) + (self.0 * other.1 + self.1 * other.0);
        Self::sum(p, e)
    }

    fn div(self, other: Self) -> Self {
        let q = self.0 / other.0;
        let r = self.add(other.mul(Self(-q, 0.0)));
        let Self(q, e) = Self::sum(q, r.0 / other.0);
        let r = self
            .add(other.mul(Self(-q, 0.0)))
            .add(other.mul(Self(-e, 0.0)));
        Self::sum(q, e + r.0 / other.0)
    }

    /// e^x 2^-k and k, by halving the argument and its Taylor series.
    fn exp(x: f64) -> (Self, i32) {
        const LN_2: Double = Double(std::f64::consts::LN_2, 2.319_046_813_846_299_6e-17);
        let k = (x / std::f64::consts::LN_2).round();
        let r = Self(x, 0.0).add(LN_2.mul(Self(-k, 0.0)));
        let r = Self(r.0 / 256.0, r.1 / 256.0);
        let one = Self(1.0, 0.0);
        let mut sum = one;
        for n in (1..=14).rev() {
            sum = one.add(r.mul(sum).div(Self(f64::from(n), 0.0)));
        }
        for _ in 0..8 {
            sum = sum.mul(sum);
        }
        (sum, k as i32)
    }
}

/// Mish and its derivative, the former as a significand and an exponent of 2.
pub fn oracle(x: f64) -> ((Double, i32), f64) {
    if x > 60.0 {
        return ((Double(x, 0.0), 0), 1.0);
    }
    if x < -2000.0 {
        return ((Double(0.0, 0.0), 0), 0.0);
    }
    let (significand, k) = Double::exp(x);
    let scale = 2f64.powi(k.max(-1000));
    let e = Double(significand.0 * scale, significand.1 * scale);
    let two = Double(2.0, 0.0);
    let four = Double(4.0, 0.0);
    let x = Double(x, 0.0);
    let n = e.mul(e.add(two));
    let d = n.add(two);
    // x e (e + 2) / d without the power of 2.
    let y = x.mul(significand).mul(e.add(two)).div(d);
    let linear = four.mul(x).add(four);
    let w = e.add(four).mul(e).add(linear.add(two)).mul(e).add(linear);
    let derivative = e.mul(w).div(d.mul(d));
    ((y, k), derivative.0)
}

/// The value of y 2^k and the distance of `ours` to it in units in the last place of a type
/// with `bits` bits and the smallest normal exponent `min_exponent`; `None` if it is subnormal.
pub fn distance(
    ours: f64,
    (Double(y, rest), k): (Double, i32),
    bits: i32,
    min_exponent: i32,
) -> Option<f64> {
    if y == 0.0 {
        return None;
    }
    let exponent = y.abs().log2().floor() as i32;
    if exponent + k < min_exponent {
        return None;
    }
    // Both sides without the power of 2. 2^-k is two factors, because it may leave the range.
    let ours = libm::ldexp(libm::ldexp(ours, -k / 2), -k - (-k / 2));
    Some(libm::ldexp((ours - y - rest).abs(), bits - 1 - exponent))
}

/// All signs and exponents of the type with `steps` significands each, and a finer sweep over the
/// bend of the function.
pub fn sweep(min_exponent: i32, max_exponent: i32, steps: i32, low: f64, high: f64) -> Vec<f64> {
    let mut points = Vec::new();
    for exponent in min_exponent..=max_exponent {
        for step in 0..steps {
            let x = (1.0 + (f64::from(step) + 0.37) / f64::from(steps)) * 2f64.powi(exponent);
            points.extend([x, -x]);
        }
    }
    let count = 400_000;
    points.extend((0..count).map(|i| low + (high - low) * f64::from(i) / f64::from(count)));
    points
}
