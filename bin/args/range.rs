//! Parsers of numbers in flags. Each checks a range, so that no command computes or allocates from
//! a nonsensical number. The recipe checks its own fields, from flags and files alike.

use std::ops::{Bound, RangeBounds, RangeInclusive};
use std::str::FromStr;

use anyhow::bail;
use candle_mish::data::ImageSet;

use crate::failure::usage;

/// Limit of `--threads`.
pub const MAX_THREADS: usize = 1024;
/// Limit of counts of images, such as `--limit-train`.
pub const MAX_IMAGES: usize = 1_000_000_000;
/// Limit of `--batch-size`.
pub const MAX_BATCH: usize = 65_536;
/// Limit of `--num-classes`, several times the 21,843 classes of ImageNet-21k.
pub const MAX_CLASSES: usize = 100_000;
/// Limit of `--in-chans`.
pub const MAX_CHANNELS: usize = 1024;
/// Pixels on each side of an image.
pub const MAX_PAD: usize = 256;
/// Limit of `--img-size` in pixels.
pub const MAX_SIZE: usize = 4096;
/// Limit of counts of epochs.
pub const MAX_EPOCHS: f64 = 1e6;
/// Limit of counts of steps.
pub const MAX_STEPS: usize = 1_000_000_000;
/// Limit of rounds of a benchmark.
pub const MAX_ROUNDS: usize = 100_000;
/// Limit of learning rates and other factors. It is below the largest f32.
pub const MAX_RATE: f64 = 1e38;
/// Limit of the bytes of a batch of images in f32.
const MAX_BATCH_BYTES: usize = 8 << 30;
/// Limit of seeds: the largest integer in TOML, the format of a run's configuration.
const MAX_SEED: u64 = i64::MAX as u64;

/// A parser of whole numbers in `range`.
pub fn count(
    range: RangeInclusive<usize>,
) -> impl Fn(&str) -> Result<usize, String> + Clone + Send + Sync + 'static {
    move |text| {
        let parsed = text.parse::<usize>().ok();
        parsed.filter(|count| range.contains(count)).ok_or_else(|| {
            let (low, high) = (range.start(), range.end());
            format!("must be a whole number from {low} to {high}")
        })
    }
}

/// Parses a whole number whose range is checked later, as that of a recipe's fields.
pub fn whole(text: &str) -> Result<usize, String> {
    let parsed = text.parse();
    parsed.map_err(|_| "must be a whole number".to_string())
}

/// Parses a finite number whose range is checked later, as that of a recipe's fields.
pub fn finite(text: &str) -> Result<f64, String> {
    number(..)(text)
}

/// Parses a seed.
pub fn seed(text: &str) -> Result<u64, String> {
    let parsed = text.parse::<u64>().ok();
    parsed
        .filter(|seed| *seed <= MAX_SEED)
        .ok_or_else(|| format!("must be a whole number from 0 to {MAX_SEED}"))
}

/// A parser of finite numbers in `range`.
pub fn number<T: FromStr + Copy + Into<f64>>(
    range: impl RangeBounds<f64> + Clone + Send + Sync + 'static,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    move |text| {
        let parsed = text.parse::<T>().ok();
        let fits = |number: &T| {
            let number: f64 = (*number).into();
            number.is_finite() && range.contains(&number)
        };
        parsed.filter(fits).ok_or_else(|| describe(&range))
    }
}

/// The range of numbers above 0, up to `high`.
pub fn positive(high: f64) -> (Bound<f64>, Bound<f64>) {
    (Bound::Excluded(0.0), Bound::Included(high))
}

/// Refuses a number of classes, from a file or header, that no flag accepts.
///
/// # Errors
/// If it is 0 or above [`MAX_CLASSES`].
pub fn check_classes(num_classes: usize) -> anyhow::Result<()> {
    if !(1..=MAX_CLASSES).contains(&num_classes) {
        bail!("num_classes is {num_classes}, must be from 1 to {MAX_CLASSES}");
    }
    Ok(())
}

/// Refuses a number of channels, from a header, that no flag accepts.
///
/// # Errors
/// If it is 0 or above [`MAX_CHANNELS`].
pub fn check_in_chans(in_chans: usize) -> anyhow::Result<()> {
    if !(1..=MAX_CHANNELS).contains(&in_chans) {
        bail!("in_chans is {in_chans}, must be from 1 to {MAX_CHANNELS}");
    }
    Ok(())
}

/// Refuses a batch of `images` that takes more than [`MAX_BATCH_BYTES`].
///
/// # Errors
/// A usage error.
pub fn check_batch(batch_size: usize, images: &ImageSet) -> anyhow::Result<()> {
    let shape = [images.channels(), images.height(), images.width()];
    check_batch_of(batch_size, shape)
}

/// Refuses a batch of images of `shape`, channels x height x width, that takes more than
/// [`MAX_BATCH_BYTES`].
///
/// # Errors
/// A usage error.
pub fn check_batch_of(batch_size: usize, shape: [usize; 3]) -> anyhow::Result<()> {
    let floats = shape
        .iter()
        .try_fold(batch_size, |count, size| count.checked_mul(*size));
    let bytes = floats.and_then(|floats| floats.checked_mul(size_of::<f32>()));
    match bytes.filter(|bytes| *bytes <= MAX_BATCH_BYTES) {
        Some(_) => Ok(()),
        None => {
            let [channels, height, width] = shape;
            Err(usage(format!(
                "--batch-size {batch_size}: a batch of images of {channels}x{height}x{width} must \
                 not exceed {} GiB",
                MAX_BATCH_BYTES >> 30
            )))
        }
    }
}

fn describe(range: &impl RangeBounds<f64>) -> String {
    let plain = |number: &f64| match *number {
        n if n.abs() >= 1e7 => format!("{n:e}"),
        n => n.to_string(),
    };
    match (range.start_bound(), range.end_bound()) {
        (Bound::Included(low), Bound::Included(high)) => {
            format!("must be a number from {} to {}", plain(low), plain(high))
        }
        (Bound::Included(low), Bound::Excluded(high)) => {
            format!(
                "must be a number from {} to less than {}",
                plain(low),
                plain(high)
            )
        }
        (Bound::Excluded(low), Bound::Included(high)) => {
            format!(
                "must be a number greater than {} and at most {}",
                plain(low),
                plain(high)
            )
        }
        _ => "must be a finite number".to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{count, number, positive, seed};

    #[test]
    fn counts_have_a_range() {
        let parse = count(1..=8);
        assert_eq!(parse("8"), Ok(8));
        for text in ["0", "9", "-1", "1.5", "", "99999999999999999999999", "two"] {
            let message = parse(text).expect_err(text);
            assert_eq!(message, "must be a whole number from 1 to 8");
        }
    }

    #[test]
    fn seeds_fit_in_toml() {
        assert_eq!(seed("9223372036854775807"), Ok(i64::MAX as u64));
        assert!(seed("9223372036854775808").is_err());
        assert!(seed("-1").is_err());
    }

    #[test]
    fn numbers_are_finite_and_in_range() {
        let share = number::<f64>(0.0..1.0);
        assert_eq!(share("0.5"), Ok(0.5));
        for text in ["1", "nan", "inf", "-0.1", "1e999", "half"] {
            let message = share(text).expect_err(text);
            assert_eq!(message, "must be a number from 0 to less than 1");
        }
        let message = number::<f64>(positive(1e38))("0").expect_err("0");
        assert_eq!(message, "must be a number greater than 0 and at most 1e38");
        assert_eq!(number::<f32>(..)("-0.1"), Ok(-0.1));
        let message = number::<f32>(..)("inf").expect_err("inf");
        assert_eq!(message, "must be a finite number");
    }
}
