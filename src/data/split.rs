//! Parts of a data set: limits and the validation split.

use super::dataset::Dataset;
use super::error::DataError;
use super::options::DataOptions;
use super::random::Draw;

/// Applies the limits, then splits off the validation images.
pub(super) fn apply(mut dataset: Dataset, options: &DataOptions) -> Result<Dataset, DataError> {
    if let Some(limit) = options.limit_train {
        dataset.train = dataset.train.take(limit);
    }
    if let Some(limit) = options.limit_test {
        dataset.test = dataset.test.take(limit);
    }
    if options.val_split > 0.0 {
        let (train, validation) =
            stratified(dataset.train.labels(), options.val_split, options.seed);
        if train.is_empty() || validation.is_empty() {
            return Err(DataError::Option {
                option: "val_split",
                value: options.val_split.to_string(),
                problem: format!(
                    "of {} training images, {} would remain for training and {} for validation",
                    dataset.train.len(),
                    train.len(),
                    validation.len()
                ),
            });
        }
        dataset.validation = Some(dataset.train.select(&validation));
        dataset.train = dataset.train.select(&train);
    }
    Ok(dataset)
}

/// Splits positions into training and validation. Validation gets `fraction` of all images and, up
/// to rounding, of each class. Both keep the order of the set.
fn stratified(labels: &[u32], fraction: f64, seed: u64) -> (Vec<usize>, Vec<usize>) {
    let classes = labels.iter().max().map_or(0, |max| *max as usize + 1);
    let mut of_class: Vec<Vec<usize>> = vec![Vec::new(); classes];
    let mut draw = Draw::new(&[seed, SPLIT_STREAM]);
    for position in draw.permutation(labels.len()) {
        of_class[labels[position] as usize].push(position);
    }
    let wanted = (labels.len() as f64 * fraction).round() as usize;
    let mut taken: Vec<usize> = of_class
        .iter()
        .map(|positions| (positions.len() as f64 * fraction) as usize)
        .collect();
    // The remainder of rounding down goes to the classes that lost most.
    let mut short = wanted.saturating_sub(taken.iter().sum());
    let mut by_loss: Vec<usize> = draw.permutation(classes);
    let loss = |class: usize| (of_class[class].len() as f64 * fraction).fract();
    by_loss.sort_by(|&a, &b| loss(b).total_cmp(&loss(a)));
    for class in by_loss {
        if short > 0 && taken[class] < of_class[class].len() {
            taken[class] += 1;
            short -= 1;
        }
    }
    let mut validation = Vec::with_capacity(wanted);
    let mut train = Vec::with_capacity(labels.len() - wanted.min(labels.len()));
    for (positions, taken) in of_class.iter().zip(taken) {
        validation.extend_from_slice(&positions[..taken]);
        train.extend_from_slice(&positions[taken..]);
    }
    train.sort_unstable();
    validation.sort_unstable();
    (train, validation)
}

/// Separates the draws of the split from other draws with the same seed.
const SPLIT_STREAM: u64 = 0x7370_6c69_7400_0001;
