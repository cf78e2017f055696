//! Lists of activations.

use candle_mish::activation::Activation;

/// The activations without repetitions, in order.
pub(super) fn distinct(names: &[Activation]) -> Vec<Activation> {
    let mut distinct = Vec::new();
    for name in names {
        if !distinct.contains(name) {
            distinct.push(*name);
        }
    }
    distinct
}

/// "mish, relu and silu", or "45 activations" if there are many.
pub(super) fn listed(activations: &[Activation]) -> String {
    let names: Vec<String> = activations.iter().map(ToString::to_string).collect();
    match names.as_slice() {
        [] => "no activation".to_string(),
        [one] => one.clone(),
        [first @ .., last] if names.len() <= 6 => format!("{} and {last}", first.join(", ")),
        _ => format!("{} activations", names.len()),
    }
}
