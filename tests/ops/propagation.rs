//! Second derivatives and mean-field theory equal PyTorch's and SciPy's
//! (tests/reference/propagation.py), values from the literature, and random networks.

use candle_mish::activation::Activation;
use candle_mish::propagation::{DenseNetwork, MeanField, Phase, edge_curve, edges_of_chaos};
use serde_json::Value;

fn reference(part: &str) -> Vec<Value> {
    let text = include_str!("../reference/propagation.json");
    let all: Value = serde_json::from_str(text).expect("JSON");
    all[part].as_array().expect("cases").clone()
}

fn number(case: &Value, key: &str) -> f64 {
    case[key]
        .as_f64()
        .unwrap_or_else(|| panic!("{key}: {case}"))
}

fn activation(case: &Value) -> Activation {
    let name = case["activation"].as_str().expect("a name");
    name.parse().expect("a known name")
}

#[track_caller]
fn close(ours: f64, theirs: f64, tolerance: f64) {
    let bound = tolerance * theirs.abs().max(1e-3);
    assert!((ours - theirs).abs() <= bound, "{ours} instead of {theirs}");
}

fn field(activation: Activation, sigma_w: f64, sigma_b: f64) -> MeanField {
    MeanField {
        activation,
        sigma_w,
        sigma_b,
    }
}

#[test]
fn second_derivatives_equal_pytorchs() {
    for case in reference("second") {
        let activation = activation(&case);
        let list = |key: &str| -> Vec<f64> {
            let values = case[key].as_array().expect("numbers");
            values
                .iter()
                .map(|value| value.as_f64().expect("a number"))
                .collect()
        };
        let (xs, values, first, second) = (list("x"), list("value"), list("first"), list("second"));
        for (i, x) in xs.into_iter().enumerate() {
            close(activation.value(x), values[i], 1e-9);
            close(activation.derivative(x), first[i], 1e-9);
            let ours = activation.second_derivative(x);
            assert!(
                (ours - second[i]).abs() < 1e-9,
                "{activation} at {x}: {ours}, {}",
                second[i]
            );
        }
    }
}

#[test]
fn second_derivatives_do_not_exist_at_jumps_of_the_first() {
    for (name, x) in [
        ("relu", 0.0),
        ("hardtanh", 1.0),
        ("hard_swish", -3.0),
        ("elu:2", 0.0),
    ] {
        let activation: Activation = name.parse().expect("a known name");
        assert!(activation.second_derivative(x).is_nan(), "{name} at {x}");
        assert!(
            activation.second_derivative(x + 0.1).is_finite(),
            "{name} near {x}"
        );
    }
    assert!(Activation::Mish.second_derivative(0.0).is_finite());
}

#[test]
fn moments_equal_scipys() {
    for case in reference("fields") {
        let field = field(activation(&case), 1.0, 0.0);
        let q = number(&case, "q");
        close(field.variance_map(q), number(&case, "square"), 1e-10);
        close(field.chi(q), number(&case, "slope"), 1e-10);
    }
}

#[test]
fn the_slope_of_the_variance_map_is_its_derivative() {
    for activation in [Activation::Mish, Activation::Relu, Activation::Tanh] {
        let field = field(activation, 1.3, 0.2);
        let difference = (field.variance_map(0.7001) - field.variance_map(0.6999)) / 2e-4;
        close(field.variance_slope(0.7), difference, 1e-7);
    }
}

#[test]
fn relu_is_critical_at_the_variance_of_he() {
    let edges = edges_of_chaos(&Activation::Relu, 0.0);
    assert_eq!(edges.len(), 1);
    close(edges[0].sigma_w.powi(2), 2.0, 1e-11);
    assert_eq!(edges[0].q, None, "every variance stays");
    assert_eq!(
        edges_of_chaos(&Activation::Relu, 0.5),
        [],
        "the variance grows with each layer"
    );
    let point = field(Activation::Relu, 2f64.sqrt(), 0.0)
        .fixed_point()
        .expect("a fixed point");
    close(point.q, 1.0, 1e-9);
    assert_eq!((point.phase, point.correlation_length), (Phase::Edge, None));
    // Leaky ReLU: sigma_w^2 = 2 / (1 + slope^2).
    let edges = edges_of_chaos(&"leaky_relu:0.5".parse().expect("a name"), 0.0);
    close(edges[0].sigma_w.powi(2), 1.6, 1e-11);
}

#[test]
fn no_sigma_is_critical_without_a_slope_at_zero() {
    // x - tanh(x) is x^3 / 3 near 0: at each fixed point there, gradients grow by 9/5.
    assert_eq!(edges_of_chaos(&Activation::TanhShrink, 0.0), []);
}

#[test]
fn smooth_odd_functions_are_critical_at_the_inverse_slope() {
    for (name, sigma_w) in [
        ("tanh", 1.0),
        ("hardtanh", 1.0),
        ("softsign", 1.0),
        ("isru", 1.0),
        ("weighted_tanh:2", 0.5),
        ("silu", 2.0),
        ("gelu", 2.0),
        ("mish", 1.0 / 0.6),
    ] {
        let edges = edges_of_chaos(&name.parse().expect("a name"), 0.0);
        assert_eq!(edges.len(), 1, "{name}: {edges:?}");
        assert_eq!(edges[0].q, Some(0.0));
        close(edges[0].sigma_w, sigma_w, 1e-5);
    }
}

#[test]
fn edges_equal_scipys() {
    for case in reference("edges") {
        let edges = edges_of_chaos(&activation(&case), number(&case, "sigma_b"));
        let (q, sigma_w) = (number(&case, "q"), number(&case, "sigma_w"));
        let found = edges
            .iter()
            .find(|edge| edge.q.is_some_and(|ours| (ours - q).abs() < 1e-6 * q));
        let found = found.unwrap_or_else(|| panic!("{case}: {edges:?}"));
        close(found.sigma_w, sigma_w, 1e-8);
        // On the edge, variance and gradient stay.
        let field = field(activation(&case), found.sigma_w, number(&case, "sigma_b"));
        close(field.variance_map(q), q, 1e-6);
        close(field.chi(q), 1.0, 1e-6);
    }
}

#[test]
fn the_curve_passes_through_the_edges() {
    let curve = edge_curve(&Activation::Tanh, 1.0);
    assert!(curve.len() > 30 && curve.iter().all(|(b, _)| *b <= 1.0));
    let (above, below) = curve
        .windows(2)
        .map(|pair| (pair[0], pair[1]))
        .find(|(left, right)| left.0 <= 0.3 && right.0 > 0.3)
        .expect("points around 0.3");
    let edge = edges_of_chaos(&Activation::Tanh, 0.3)[0].sigma_w;
    assert!(
        above.1 <= edge && edge <= below.1,
        "{above:?} {edge} {below:?}"
    );
}

#[test]
fn the_phases_of_tanh() {
    // Schoenholz et al. (2017), figure 1: ordered below the edge, chaotic above it.
    let ordered = field(Activation::Tanh, 0.9, 0.3)
        .fixed_point()
        .expect("a fixed point");
    assert_eq!((ordered.phase, ordered.correlation), (Phase::Ordered, 1.0));
    let length = ordered.correlation_length.expect("a length");
    close(length, -1.0 / ordered.chi.ln(), 1e-12);
    for case in reference("chaos") {
        let field = field(
            Activation::Tanh,
            number(&case, "sigma_w"),
            number(&case, "sigma_b"),
        );
        let point = field.fixed_point().expect("a fixed point");
        close(point.q, number(&case, "q"), 1e-9);
        assert_eq!(point.phase, Phase::Chaotic);
        close(point.correlation, number(&case, "correlation"), 1e-5);
        close(
            point.correlation_length.expect("a length"),
            number(&case, "length"),
            1e-4,
        );
    }
    // Without biases an odd function keeps orthogonal inputs orthogonal.
    let odd = field(Activation::Tanh, 1.5, 0.0)
        .fixed_point()
        .expect("a fixed point");
    assert_eq!(odd.correlation, 0.0);
    let vanishing = field(Activation::Tanh, 0.5, 0.0)
        .fixed_point()
        .expect("a fixed point");
    assert_eq!((vanishing.q, vanishing.phase), (0.0, Phase::Ordered));
    close(vanishing.chi, 0.25, 1e-9);
    assert_eq!(
        field(Activation::Relu, 2.0, 0.0).fixed_point(),
        None,
        "the variance diverges"
    );
}

/// Mean and standard error.
fn mean(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}

#[test]
fn random_networks_follow_the_theory() {
    // The parameters keep the signal of 6 layers in the range in which finite width adds less than the
    // standard error.
    for (activation, sigma_w, sigma_b) in [
        (Activation::Tanh, 1.5, 0.3),
        (Activation::Relu, 1.4, 0.1),
        (Activation::Mish, 1.5, 0.2),
        (Activation::Softplus { beta: 1.0 }, 0.9, 0.1),
    ] {
        let field = field(activation, sigma_w, sigma_b);
        let (depth, seeds) = (6, 24);
        let network = DenseNetwork {
            field,
            depth,
            width: 200,
            inputs: 4,
        };
        let runs: Vec<_> = (0..seeds)
            .map(|seed| network.signals(seed).expect("a run"))
            .collect();
        let mut q = 1.0;
        let mut chi = 1.0;
        for layer in 0..depth {
            let layer_of = |run: &Vec<(String, f64)>| run[layer].1;
            let variances: Vec<f64> = runs.iter().map(|run| layer_of(&run.variances)).collect();
            let (measured, error) = mean(&variances);
            assert!(
                (measured - q).abs() < 4.0 * error && error < 0.1 * q,
                "{activation}, layer {layer}: variance {measured} ± {error}, theory {q}"
            );
            // The squared gradient norm at the first layer as a multiple of that of this one.
            let ratio = |run: &Vec<(String, f64)>| (run[0].1 / run[layer].1).powi(2);
            let ratios: Vec<f64> = runs.iter().map(|run| ratio(&run.gradient_norms)).collect();
            let (measured, error) = mean(&ratios);
            assert!(
                (measured - chi).abs() <= 4.0 * error && error < 0.2 * chi,
                "{activation}, layer {layer}: gradient {measured} ± {error}, theory {chi}"
            );
            chi *= field.chi(q);
            q = field.variance_map(q);
        }
    }
}

#[test]
fn a_seed_gives_the_same_network() {
    let network = DenseNetwork {
        field: field(Activation::Mish, 1.0, 0.1),
        depth: 3,
        width: 8,
        inputs: 2,
    };
    let run = |seed| network.signals(seed).expect("a run");
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
    assert_eq!(run(1).variances.len(), 3);
    assert_eq!(run(1).gradient_norms[2].0, "3");
}
