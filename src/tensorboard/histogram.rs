//! The distribution of numbers, in buckets.

use super::proto::HistogramProto;

/// Buckets of a histogram. TensorBoard shows 30.
const BUCKETS: usize = 64;

/// The distribution of numbers in buckets of equal width. Numbers that are not finite are left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    min: f64,
    max: f64,
    sum: f64,
    sum_squares: f64,
    counts: Vec<u64>,
}

impl Histogram {
    /// The distribution of `values`. `None` if no value is finite.
    pub fn new(values: &[f32]) -> Option<Self> {
        let (mut min, mut max) = (f32::INFINITY, f32::NEG_INFINITY);
        let finite = || values.iter().copied().filter(|value| value.is_finite());
        for value in finite() {
            (min, max) = (min.min(value), max.max(value));
        }
        if min > max {
            return None;
        }
        let (min, max) = (f64::from(min), f64::from(max));
        // Equal values have one bucket.
        let buckets = if min < max { BUCKETS } else { 1 };
        let scale = match min < max {
            true => buckets as f64 / (max - min),
            false => 0.0,
        };
        let mut histogram = Self {
            min,
            max,
            sum: 0.0,
            sum_squares: 0.0,
            counts: vec![0; buckets],
        };
        for value in finite() {
            let value = f64::from(value);
            histogram.sum += value;
            histogram.sum_squares += value * value;
            let bucket = ((value - min) * scale) as usize;
            histogram.counts[bucket.min(buckets - 1)] += 1;
        }
        Some(histogram)
    }

    /// The message of an event file.
    pub(super) fn proto(&self) -> HistogramProto {
        let buckets = self.counts.len();
        let width = (self.max - self.min) / buckets as f64;
        let limit = |i: usize| match i + 1 == buckets {
            true => self.max,
            false => self.min + width * (i + 1) as f64,
        };
        HistogramProto {
            min: self.min,
            max: self.max,
            num: self.counts.iter().sum::<u64>() as f64,
            sum: self.sum,
            sum_squares: self.sum_squares,
            bucket_limit: (0..buckets).map(limit).collect(),
            bucket: self.counts.iter().map(|count| *count as f64).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finite_value_is_in_its_bucket() {
        let values: Vec<f32> = (0..=64).map(|i| i as f32).chain([f32::NAN]).collect();
        let proto = Histogram::new(&values).expect("finite values").proto();
        assert_eq!((proto.min, proto.max, proto.num), (0.0, 64.0, 65.0));
        assert_eq!(proto.sum, 64.0 * 65.0 / 2.0);
        assert_eq!(proto.sum_squares, (64 * 65 * 129 / 6) as f64);
        assert_eq!(proto.bucket_limit[..3], [1.0, 2.0, 3.0]);
        assert_eq!(proto.bucket_limit[63], 64.0);
        // The last bucket holds its upper end too.
        assert_eq!((proto.bucket[0], proto.bucket[63]), (1.0, 2.0));
        assert_eq!(proto.bucket.iter().sum::<f64>(), 65.0);
    }

    #[test]
    fn equal_values_have_one_bucket_and_no_value_none() {
        let proto = Histogram::new(&[2.5; 3]).expect("finite values").proto();
        assert_eq!((proto.bucket, proto.bucket_limit), (vec![3.0], vec![2.5]));
        assert_eq!(Histogram::new(&[f32::NAN, f32::INFINITY]), None);
        assert_eq!(Histogram::new(&[]), None);
    }
}
