//! Expectations over a standard normal variable.

/// Nodes of the Gauss-Kronrod rule of 15 points on [-1, 1], from the outside to the centre (Piessens
/// et al., "QUADPACK", 1983). Every second one is a node of the Gauss rule of 7 points.
const NODES: [f64; 8] = [
    0.991_455_371_120_812_6,
    0.949_107_912_342_758_5,
    0.864_864_423_359_769_1,
    0.741_531_185_599_394_4,
    0.586_087_235_467_691_1,
    0.405_845_151_377_397_2,
    0.207_784_955_007_898_47,
    0.0,
];
const KRONROD: [f64; 8] = [
    0.022_935_322_010_529_224,
    0.063_092_092_629_978_55,
    0.104_790_010_322_250_18,
    0.140_653_259_715_525_92,
    0.169_004_726_639_267_9,
    0.190_350_578_064_785_4,
    0.204_432_940_075_298_9,
    0.209_482_141_084_727_83,
];
const GAUSS: [f64; 4] = [
    0.129_484_966_168_869_7,
    0.279_705_391_489_276_7,
    0.381_830_050_505_118_9,
    0.417_959_183_673_469_4,
];

const INV_SQRT_2PI: f64 = 0.398_942_280_401_432_7;
/// Standard deviations that the integral covers. The density beyond is below 1e-31.
const BOUND: i32 = 12;
/// Halvings of an interval of width 1, until a jump within it adds less than 1e-12.
const HALVINGS: u32 = 40;
/// Error of an interval of width 1, relative to the largest value of the integral's terms.
const TOLERANCE: f64 = 1e-14;

/// E[f(z)] for a standard normal z, with a relative error of about 1e-12 for functions that are
/// smooth apart from kinks and jumps.
///
/// It is the adaptive Gauss-Kronrod rule of 7 and 15 points: an interval is halved until both rules
/// agree. 0 is the end of an interval, because most activations have their kink there.
pub fn normal_expectation(f: impl Fn(f64) -> f64) -> f64 {
    let term = |z: f64| f(z) * INV_SQRT_2PI * (-0.5 * z * z).exp();
    let starts = (-BOUND..BOUND).map(f64::from);
    let panels: Vec<(f64, Rule)> = starts
        .map(|start| (start, Rule::on(&term, start, start + 1.0)))
        .collect();
    let scale = panels
        .iter()
        .map(|(_, rule)| rule.integral.abs())
        .sum::<f64>();
    let refined = panels
        .into_iter()
        .map(|(start, rule)| refine(&term, start, start + 1.0, rule, TOLERANCE * scale, HALVINGS));
    refined.sum()
}

/// The integral over an interval, with the error of the Gauss rule as the estimate of its error.
struct Rule {
    integral: f64,
    error: f64,
}

impl Rule {
    fn on(f: &impl Fn(f64) -> f64, low: f64, high: f64) -> Self {
        let (centre, half) = (0.5 * (low + high), 0.5 * (high - low));
        let (mut kronrod, mut gauss) = (0.0, 0.0);
        for (i, (node, weight)) in NODES.into_iter().zip(KRONROD).enumerate() {
            let sum = match node {
                0.0 => f(centre),
                _ => f(centre - half * node) + f(centre + half * node),
            };
            kronrod += weight * sum;
            if i % 2 == 1 {
                gauss += GAUSS[i / 2] * sum;
            }
        }
        Self {
            integral: half * kronrod,
            error: (half * (kronrod - gauss)).abs(),
        }
    }
}

fn refine(
    f: &impl Fn(f64) -> f64,
    low: f64,
    high: f64,
    whole: Rule,
    tolerance: f64,
    halvings: u32,
) -> f64 {
    // An error that is not a number comes from values that are not finite: halving does not help.
    if whole.error <= tolerance || whole.error.is_nan() || halvings == 0 {
        return whole.integral;
    }
    let middle = 0.5 * (low + high);
    let (left, right) = (Rule::on(f, low, middle), Rule::on(f, middle, high));
    refine(f, low, middle, left, tolerance, halvings - 1)
        + refine(f, middle, high, right, tolerance, halvings - 1)
}

#[cfg(test)]
mod tests {
    use super::normal_expectation;

    #[test]
    fn moments_of_the_normal_distribution() {
        for (power, moment) in [
            (0, 1.0),
            (1, 0.0),
            (2, 1.0),
            (4, 3.0),
            (6, 15.0),
            (8, 105.0),
        ] {
            let ours = normal_expectation(|z| z.powi(power));
            assert!(
                (ours - moment).abs() < 1e-11 * moment.max(1.0),
                "{power}: {ours}"
            );
        }
        let ours = normal_expectation(|z| (0.7 * z).exp());
        assert!((ours - (0.245f64).exp()).abs() < 1e-12, "{ours}");
    }

    #[test]
    fn kinks_and_jumps_anywhere_are_exact() {
        // P(z > 0.3), and E[max(z - 0.3, 0)] = density(0.3) - 0.3 P(z > 0.3).
        let upper = 0.5 * libm::erfc(0.3 / std::f64::consts::SQRT_2);
        let jump = normal_expectation(|z| if z > 0.3 { 1.0 } else { 0.0 });
        assert!((jump - upper).abs() < 1e-11, "{jump}");
        let density = (-0.045f64).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let kink = normal_expectation(|z| (z - 0.3).max(0.0));
        assert!((kink - (density - 0.3 * upper)).abs() < 1e-12, "{kink}");
    }
}
