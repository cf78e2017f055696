//! Which classes the network confuses.

use std::collections::HashMap;

use crate::data::{Dataset, ImageSet};
use crate::eval::Prediction;

/// The most rows of a matrix by class.
const MOST_CLASSES: usize = 40;
/// Rows of a matrix of the most confused classes.
const SELECTED: usize = 20;

/// What the rows and columns of a confusion matrix are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grouping {
    /// Coarse classes.
    Coarse,
    /// All classes.
    Classes,
    /// The classes with the most errors.
    MostConfused,
}

/// A confusion matrix.
#[derive(Debug, PartialEq)]
pub(super) struct Confusion {
    pub grouping: Grouping,
    /// The names of the groups.
    pub names: Vec<String>,
    /// For each group, how many of its images were predicted as each group, and last as none of them.
    pub counts: Vec<Vec<usize>>,
}

impl Confusion {
    /// The matrix by coarse class if the data set has them, else by class, or of the most confused
    /// classes if there are many.
    pub(super) fn new(dataset: &Dataset, predictions: &[Prediction]) -> Self {
        let classes = dataset.classes.len();
        let (grouping, names, groups) = if !dataset.coarse_classes.is_empty() {
            let names = dataset.coarse_classes.clone();
            (Grouping::Coarse, names, coarse_of(dataset))
        } else if classes <= MOST_CLASSES {
            let groups = (0..classes).map(|class| (class as u32, class)).collect();
            (Grouping::Classes, dataset.classes.clone(), groups)
        } else {
            let selected = most_confused(predictions, classes);
            let name = |class: &u32| dataset.classes[*class as usize].clone();
            let names = selected.iter().map(name).collect();
            let groups = selected.into_iter().zip(0..).collect();
            (Grouping::MostConfused, names, groups)
        };
        let mut counts = vec![vec![0; names.len() + 1]; names.len()];
        for prediction in predictions {
            if let Some(row) = groups.get(&prediction.label) {
                let column = groups.get(&prediction.class).copied();
                counts[*row][column.unwrap_or(names.len())] += 1;
            }
        }
        Self {
            grouping,
            names,
            counts,
        }
    }
}

/// The coarse class of each class that has images.
fn coarse_of(dataset: &Dataset) -> HashMap<u32, usize> {
    let sets = [
        Some(&dataset.train),
        dataset.validation.as_ref(),
        Some(&dataset.test),
    ];
    let pairs = |set: &ImageSet| {
        let coarse = set.coarse_labels().unwrap_or_default();
        let pairs = set.labels().iter().zip(coarse);
        pairs
            .map(|(label, coarse)| (*label, *coarse as usize))
            .collect::<HashMap<_, _>>()
    };
    sets.into_iter().flatten().flat_map(pairs).collect()
}

/// Of the first `classes` classes those with the most errors, as label or as prediction.
fn most_confused(predictions: &[Prediction], classes: usize) -> Vec<u32> {
    let mut errors: HashMap<u32, usize> = HashMap::new();
    for wrong in predictions.iter().filter(|p| !p.is_correct()) {
        *errors.entry(wrong.label).or_default() += 1;
        *errors.entry(wrong.class).or_default() += 1;
    }
    let mut errors: Vec<(u32, usize)> = errors.into_iter().collect();
    errors.retain(|(class, _)| (*class as usize) < classes);
    errors.sort_unstable_by_key(|(class, errors)| (usize::MAX - errors, *class));
    let mut selected: Vec<u32> = errors.into_iter().map(|(class, _)| class).collect();
    selected.truncate(SELECTED);
    selected.sort_unstable();
    selected
}

/// The result of a class.
#[derive(Debug, PartialEq)]
pub(super) struct ClassResult {
    pub class: u32,
    pub images: usize,
    pub correct: usize,
    /// The most frequent wrong prediction and its number.
    pub confused_with: Option<(u32, usize)>,
}

impl ClassResult {
    pub(super) fn top1(&self) -> f64 {
        self.correct as f64 / self.images.max(1) as f64
    }
}

/// The results of the classes, the lowest accuracy first.
pub(super) fn hardest(predictions: &[Prediction]) -> Vec<ClassResult> {
    let mut totals: HashMap<u32, (usize, usize)> = HashMap::new();
    for prediction in predictions {
        let (images, correct) = totals.entry(prediction.label).or_default();
        *images += 1;
        *correct += usize::from(prediction.is_correct());
    }
    let pairs = confused_pairs(predictions);
    let result = |(class, (images, correct)): (u32, (usize, usize))| {
        let worst = pairs.iter().find(|pair| pair.label == class);
        ClassResult {
            class,
            images,
            correct,
            confused_with: worst.map(|pair| (pair.class, pair.images)),
        }
    };
    let mut results: Vec<ClassResult> = totals.into_iter().map(result).collect();
    results.sort_by(|a, b| a.top1().total_cmp(&b.top1()).then(a.class.cmp(&b.class)));
    results
}

/// Images of one class that were predicted as another.
#[derive(Debug, PartialEq)]
pub(super) struct ConfusedPair {
    pub label: u32,
    pub class: u32,
    pub images: usize,
}

/// The pairs of a class and a wrong prediction, the most frequent first.
pub(super) fn confused_pairs(predictions: &[Prediction]) -> Vec<ConfusedPair> {
    let mut counts: HashMap<(u32, u32), usize> = HashMap::new();
    for wrong in predictions.iter().filter(|p| !p.is_correct()) {
        *counts.entry((wrong.label, wrong.class)).or_default() += 1;
    }
    let pair = |((label, class), images)| ConfusedPair {
        label,
        class,
        images,
    };
    let mut pairs: Vec<ConfusedPair> = counts.into_iter().map(pair).collect();
    pairs.sort_unstable_by_key(|pair| (usize::MAX - pair.images, pair.label, pair.class));
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DataOptions, synthetic};

    fn prediction(label: u32, class: u32) -> Prediction {
        Prediction {
            label,
            class,
            confidence: 0.5,
            label_probability: 0.25,
            rank: usize::from(label != class),
            loss: 1.0,
        }
    }

    #[test]
    fn hardest_classes_and_pairs_are_counted() {
        let all = [(0, 0), (0, 1), (0, 1), (0, 2), (1, 1), (2, 1), (2, 2)];
        let predictions = all.map(|(label, class)| prediction(label, class));
        let pairs = confused_pairs(&predictions);
        let found: Vec<_> = pairs.iter().map(|p| (p.label, p.class, p.images)).collect();
        assert_eq!(found, [(0, 1, 2), (0, 2, 1), (2, 1, 1)]);
        let results = hardest(&predictions);
        let found: Vec<_> = results.iter().map(|r| (r.class, r.correct)).collect();
        assert_eq!(found, [(0, 1), (2, 1), (1, 1)]);
        assert_eq!(results[0].confused_with, Some((1, 2)));
        assert_eq!(results[2].confused_with, None);
    }

    #[test]
    fn the_matrix_has_coarse_classes_or_classes_or_the_most_confused() {
        let mut dataset = synthetic::dataset(&DataOptions {
            limit_train: Some(200),
            limit_test: Some(20),
            ..DataOptions::default()
        });
        // Classes 0 to 4 are coarse class 0, 5 to 9 coarse class 1. Output 1000 has no class.
        let all = [(0, 4), (1, 6), (6, 6), (7, 1000)];
        let predictions = all.map(|(label, class)| prediction(label, class));
        let confusion = Confusion::new(&dataset, &predictions);
        assert_eq!(confusion.grouping, Grouping::Coarse);
        assert_eq!((confusion.names.len(), confusion.counts.len()), (20, 20));
        assert_eq!(confusion.counts[0][..2], [1, 1]);
        assert_eq!((confusion.counts[1][1], confusion.counts[1][20]), (1, 1));

        dataset.coarse_classes.clear();
        let confusion = Confusion::new(&dataset, &predictions);
        assert_eq!(confusion.grouping, Grouping::MostConfused);
        let names = [0, 1, 4, 6, 7].map(|class| dataset.classes[class].clone());
        assert_eq!(confusion.names, names);
        assert_eq!(confusion.counts[3], [0, 0, 0, 1, 0, 0]);

        dataset.classes.truncate(8);
        let confusion = Confusion::new(&dataset, &predictions);
        assert_eq!(confusion.grouping, Grouping::Classes);
        assert_eq!(confusion.counts[7], [0, 0, 0, 0, 0, 0, 0, 0, 1]);
    }
}
