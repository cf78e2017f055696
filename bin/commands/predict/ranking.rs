//! The most probable classes of an image.

use serde::Serialize;

/// Ranks classes by their logits.
pub(super) struct Ranking {
    topk: usize,
    /// The names of the classes; empty or shorter if they are unknown.
    names: Vec<String>,
}

/// The classes of an image, most probable first.
#[derive(Serialize)]
pub(super) struct Prediction<'a> {
    pub image: &'a str,
    pub classes: Vec<Class>,
}

/// A class with its probability.
#[derive(Serialize)]
pub(super) struct Class {
    /// The name, or `class N` if it is unknown.
    #[serde(rename = "class")]
    pub name: String,
    /// The index of the logit.
    pub label: usize,
    pub probability: f32,
}

impl Ranking {
    /// A ranking that keeps the first `topk` classes.
    pub(super) fn new(topk: usize, names: Vec<String>) -> Self {
        Self { topk, names }
    }

    /// The most probable classes. Of equal logits the first class ranks higher.
    pub(super) fn rank<'a>(&self, image: &'a str, logits: &[f32]) -> Prediction<'a> {
        let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weights: Vec<f32> = logits.iter().map(|logit| (logit - highest).exp()).collect();
        let total: f32 = weights.iter().sum();
        let mut labels: Vec<usize> = (0..logits.len()).collect();
        labels.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
        let class = |label: usize| Class {
            name: match self.names.get(label) {
                Some(name) => name.clone(),
                None => format!("class {label}"),
            },
            label,
            probability: weights[label] / total,
        };
        Prediction {
            image,
            classes: labels.into_iter().take(self.topk).map(class).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Ranking;

    #[test]
    fn probabilities_are_a_softmax() {
        let ranking = Ranking::new(2, vec!["ape".to_string(), "bee".to_string()]);
        let logits = [0.0, 1f32.ln() + 1000.0, 3f32.ln() + 1000.0];
        let prediction = ranking.rank("x.png", &logits);
        let names: Vec<&str> = prediction.classes.iter().map(|c| &*c.name).collect();
        assert_eq!(names, ["class 2", "bee"]);
        let probability = |i: usize| prediction.classes[i].probability;
        // f32 has about four digits after the point at 1000.
        assert!((probability(0) - 0.75).abs() < 1e-4 && (probability(1) - 0.25).abs() < 1e-4);
        let tie = Ranking::new(5, Vec::new()).rank("x.png", &[1.0; 3]);
        let labels: Vec<usize> = tie.classes.iter().map(|class| class.label).collect();
        assert_eq!(labels, [0, 1, 2]);
    }
}
