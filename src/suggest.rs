//! "Did you mean": the known name that is most similar to an unknown one.

/// Names that are less similar than this (Jaro-Winkler, from 0 to 1) are no suggestion.
const SIMILAR: f64 = 0.75;

/// The candidate that is most similar to `name`, or `None` if no candidate is similar. Case does
/// not matter.
pub fn suggest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let score = |candidate: &'a str| {
        let similarity = strsim::jaro_winkler(&name, candidate);
        // Jaro-Winkler finds no similarity between short names with two letters exchanged.
        let one_edit = strsim::osa_distance(&name, candidate) == 1;
        (
            if one_edit {
                similarity.max(SIMILAR)
            } else {
                similarity
            },
            candidate,
        )
    };
    candidates
        .into_iter()
        .map(score)
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// Names of this many letters may have two slips.
const LONG: usize = 10;

/// The candidate that differs from `name` by a slip of the keyboard: a letter that is wrong, missing or
/// one too many, or two that are exchanged.
pub fn correct<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let slips = if name.len() < LONG { 1 } else { 2 };
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= slips)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::{correct, suggest};

    #[test]
    fn slips_are_corrected() {
        let known = ["epochs", "weight-decay", "model-ema", "clip-mode"];
        assert_eq!(correct("epoch", known), Some("epochs"));
        assert_eq!(correct("epcohs", known), Some("epochs"));
        assert_eq!(correct("wieght_decay", known), Some("weight-decay"));
        for other in ["weights", "model", "crop-mode", "ema", ""] {
            assert_eq!(correct(other, known), None, "{other}");
        }
    }

    #[test]
    fn similar_names_are_suggested() {
        let known = ["sgd", "adam", "adamw", "rmsprop"];
        assert_eq!(suggest("Adamw", known), Some("adamw"));
        assert_eq!(suggest("sdg", known), Some("sgd"));
        assert_eq!(suggest("rmsporp", known), Some("rmsprop"));
        assert_eq!(suggest("cosine", known), None);
        assert_eq!(suggest("sgd", []), None);
    }
}
