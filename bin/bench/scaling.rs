//! A model of the time of a data parallel step with many ranks.
//!
//! Each rank computes the same number of images as now, so that the compute time does not change. Gradients
//! are summed by recursive halving and doubling (Rabenseifner's algorithm; Thakur, Rabenseifner, Gropp:
//! Optimization of Collective Communication Operations in MPICH, 2005): `2 log2(p)` messages and
//! `2 (p - 1) / p` times the bytes of the gradients through the connection of each rank. All ranks are
//! equally fast and equally far from each other, and nothing else uses the connections.

use serde::Serialize;

/// The numbers of ranks of the predictions.
const RANKS: [usize; 8] = [2, 4, 8, 16, 32, 64, 128, 256];

/// The share of a step that is the backward pass: a convolution has two products of the size of the
/// forward pass there.
const BACKWARD: f64 = 2.0 / 3.0;

/// The connection of a rank to the others.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Link {
    /// The time of a message without content.
    pub latency_seconds: f64,
    pub bytes_per_second: f64,
}

impl Link {
    /// The connection between `ranks` ranks whose sum of a few bytes takes `small` seconds, and whose sum of
    /// `large.0` bytes takes `large.1` seconds.
    pub fn between(ranks: usize, small: f64, large: (usize, f64)) -> Self {
        let (bytes, seconds) = large;
        Self {
            latency_seconds: small / messages(ranks),
            bytes_per_second: share(ranks) * bytes as f64
                / (seconds - small).max(f64::MIN_POSITIVE),
        }
    }

    /// The seconds of a sum of this many bytes over `ranks` ranks.
    fn sum(&self, ranks: usize, bytes: f64) -> f64 {
        messages(ranks) * self.latency_seconds + share(ranks) * bytes / self.bytes_per_second
    }
}

/// The messages in a row of a sum over `ranks` ranks.
fn messages(ranks: usize) -> f64 {
    2.0 * (ranks as f64).log2().ceil()
}

/// The bytes that pass through the connection of a rank, per byte to sum.
fn share(ranks: usize) -> f64 {
    2.0 * (ranks as f64 - 1.0) / ranks as f64
}

/// The predicted times of a step.
#[derive(Debug, Clone, Serialize)]
pub struct Prediction {
    pub ranks: usize,
    /// All sums.
    pub sums_seconds: f64,
    /// A step whose sums run during the backward pass.
    pub overlapped_seconds: f64,
    /// A step whose sums follow the backward pass.
    pub after_seconds: f64,
}

/// The times of a step with more ranks, from the `compute` seconds of a step of one rank.
///
/// The gradients are in buckets of `bucket` bytes. The last bucket is complete at the end of the backward
/// pass, so its sum never overlaps with it. The others overlap as far as the backward pass is long enough.
pub fn predict(compute: f64, gradients: usize, bucket: usize, link: &Link) -> Vec<Prediction> {
    let buckets = gradients.div_ceil(bucket.max(1)).max(1);
    let bucket = gradients as f64 / buckets as f64;
    let of_ranks = |ranks| {
        let one = link.sum(ranks, bucket);
        let sums = buckets as f64 * one;
        let hidden = (sums - one).min(BACKWARD * compute);
        Prediction {
            ranks,
            sums_seconds: sums,
            overlapped_seconds: compute + sums - hidden,
            after_seconds: compute + sums,
        }
    };
    RANKS.into_iter().map(of_ranks).collect()
}

#[cfg(test)]
mod tests {
    use super::{Link, predict};

    const LINK: Link = Link {
        latency_seconds: 1e-5,
        bytes_per_second: 1e9,
    };

    #[test]
    fn a_link_follows_from_two_sums() {
        for ranks in [2, 3, 8] {
            let large = LINK.sum(ranks, 4e6);
            let link = Link::between(ranks, LINK.sum(ranks, 0.0), (4_000_000, large));
            assert!((link.latency_seconds / LINK.latency_seconds - 1.0).abs() < 1e-12);
            assert!((link.bytes_per_second / LINK.bytes_per_second - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn one_bucket_overlaps_with_nothing() {
        // Two ranks: two messages, and each byte passes once.
        let [two, .., most] = &predict(0.1, 1_000_000, 2_000_000, &LINK)[..] else {
            panic!("predictions");
        };
        assert!((two.sums_seconds - (2e-5 + 1e-3)).abs() < 1e-12);
        assert_eq!(two.overlapped_seconds, two.after_seconds);
        assert!((two.after_seconds - 0.1 - two.sums_seconds).abs() < 1e-12);
        // 256 ranks: 16 messages, and each byte passes 2 x 255 / 256 times.
        assert!((most.sums_seconds - (16e-5 + 1e-3 * 510.0 / 256.0)).abs() < 1e-12);
    }

    #[test]
    fn all_buckets_but_the_last_hide_in_the_backward_pass() {
        let predictions = predict(0.1, 1_000_000, 250_000, &LINK);
        let two = &predictions[0];
        let one = 2e-5 + 0.25e-3;
        assert!((two.sums_seconds - 4.0 * one).abs() < 1e-12);
        assert!((two.overlapped_seconds - (0.1 + one)).abs() < 1e-12);
        // A short backward pass hides less.
        let short = &predict(0.9e-3, 1_000_000, 250_000, &LINK)[0];
        assert!((short.overlapped_seconds - (0.9e-3 + 4.0 * one - 0.6e-3)).abs() < 1e-12);
    }
}
