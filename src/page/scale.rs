//! The axis of a plot.

/// Larger values are not on the axis: its ends would not be finite.
const LARGEST: f64 = 1e300;
/// Ticks are at least this far apart, relative to the largest value, so that f64 tells them apart.
const FINEST: f64 = 1e-12;
/// The distance of the ticks around a single value, relative to its power of ten.
const AROUND_ONE: f64 = 1e-3;

/// An axis with ends at multiples of its tick.
pub(crate) struct Scale {
    tick: Tick,
    first: i64,
    last: i64,
}

/// 1, 2 or 5 times a power of ten.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Tick {
    digit: f64,
    power: i32,
}

impl Tick {
    /// The smallest tick of at least `size`, which is positive.
    fn at_least(size: f64) -> Self {
        let power = size.log10().floor() as i32;
        let ticks = (power..).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| Self { digit, power }));
        let mut enough = ticks.filter(|tick| tick.times(1) >= size);
        enough.next().unwrap_or(Self { digit: 1.0, power })
    }

    /// `count` ticks. Rounded once, so that 3 times 0.1 is 0.3.
    fn times(self, count: i64) -> f64 {
        let digits = count as f64 * self.digit;
        match self.power {
            ..0 => digits / 10f64.powi(-self.power),
            power => digits * 10f64.powi(power),
        }
    }
}

impl Scale {
    /// Covers `values` with about `most` ticks of 1, 2 or 5 times a power of ten.
    pub(crate) fn covering(values: impl Iterator<Item = f64>, most: f64) -> Self {
        Self::with_ticks(values, most, 0.0)
    }

    /// As [`Scale::covering`], with ticks at whole numbers.
    pub(crate) fn whole(values: impl Iterator<Item = f64>, most: f64) -> Self {
        Self::with_ticks(values, most, 1.0)
    }

    fn with_ticks(values: impl Iterator<Item = f64>, most: f64, smallest: f64) -> Self {
        let (low, high) = values
            .filter(|value| value.abs() <= LARGEST)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            });
        // Without values, or with zeros only, there is no better range.
        let has_range = low < high || (low.is_finite() && low != 0.0);
        let (low, high) = if has_range { (low, high) } else { (0.0, 1.0) };
        let largest = low.abs().max(high.abs());
        let size = if low == high {
            AROUND_ONE * 10f64.powf(largest.log10().floor())
        } else {
            ((high - low) / most).max(FINEST * largest)
        };
        let tick = Tick::at_least(size.max(smallest).max(1.0 / LARGEST));
        let first = (low / tick.times(1)).floor() as i64;
        let last = ((high / tick.times(1)).ceil() as i64).max(first + 1);
        Self { tick, first, last }
    }

    /// The position of a value on the axis, from 0 to 1.
    pub(crate) fn place(&self, value: f64) -> f64 {
        (value / self.tick.times(1) - self.first as f64) / (self.last - self.first) as f64
    }

    /// A value with the digits that distinguish ticks.
    pub(crate) fn label(&self, value: f64) -> String {
        let power = self.tick.power;
        let largest = self.tick.times(self.first.abs().max(self.last.abs()));
        if power >= -4 && largest < 1e7 {
            let decimals = (-power).max(0) as usize;
            return format!("{value:.decimals$}");
        }
        if value == 0.0 {
            return "0".to_owned();
        }
        let decimals = (value.abs().log10().floor() as i32 - power).clamp(0, 15) as usize;
        format!("{value:.decimals$e}")
    }

    /// The values of the ticks.
    pub(crate) fn ticks(&self) -> impl Iterator<Item = f64> + use<> {
        let tick = self.tick;
        (self.first..=self.last).map(move |i| tick.times(i))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_have_an_axis_to_one() {
        for values in [&[][..], &[0.0, 0.0], &[f64::NAN]] {
            let scale = Scale::covering(values.iter().copied(), 5.0);
            assert_eq!((scale.place(0.0), scale.place(1.0)), (0.0, 1.0));
        }
        let constant = Scale::covering([0.25, 0.25].into_iter(), 5.0);
        assert!((0.0..=1.0).contains(&constant.place(0.25)));
        assert!(constant.place(0.26) > 1.0, "close to the value");
    }

    #[test]
    fn an_axis_covers_its_values() {
        let scale = Scale::covering([-18.1, 0.4, f64::NAN].into_iter(), 8.0);
        assert_eq!((scale.tick.times(1), scale.first, scale.last), (5.0, -4, 1));
        assert_eq!(
            scale.ticks().collect::<Vec<_>>(),
            [-20.0, -15.0, -10.0, -5.0, 0.0, 5.0]
        );
        assert_eq!((scale.place(-20.0), scale.place(5.0)), (0.0, 1.0));
        let one = Scale::covering([0.3].into_iter(), 8.0);
        assert!(one.place(0.3) >= 0.0 && one.place(0.3) <= 1.0);
        assert_eq!(
            Scale::covering(std::iter::empty(), 8.0).ticks().next(),
            Some(0.0)
        );
    }

    #[test]
    fn labels_have_the_digits_of_the_tick() {
        let label = |low: f64, high: f64| {
            let scale = Scale::covering([low, high].into_iter(), 8.0);
            let ticks: Vec<f64> = scale.ticks().collect();
            scale.label(ticks[ticks.len() - 1])
        };
        assert_eq!(label(3.1, 4.0), "4.0");
        assert_eq!(label(0.0, 70.0), "70");
        assert_eq!(label(0.0, 0.004), "0.0040");
        assert_eq!(label(0.0, 3e-5), "3.0e-5");
        assert_eq!(label(0.0, 3e15), "3.0e15");
        assert_eq!(label(-2e9, 0.0), "0");
    }

    #[test]
    fn any_range_has_few_ticks() {
        let sizes = (-300..=300).step_by(7).map(|power| 10f64.powi(power));
        let sizes: Vec<f64> = sizes.chain([f64::MAX, f64::MIN_POSITIVE, 1e-320]).collect();
        for &a in &sizes {
            for &b in &sizes {
                for values in [[a, b], [-a, b], [a, a], [-a, -b], [1.0, 1.0 + b]] {
                    let scale = Scale::covering(values.into_iter(), 8.0);
                    let ticks: Vec<f64> = scale.ticks().collect();
                    assert!((2..=11).contains(&ticks.len()), "{values:?}: {ticks:?}");
                    assert!(ticks.is_sorted_by(|a, b| a < b), "{values:?}: {ticks:?}");
                    for value in values.into_iter().filter(|value| value.abs() <= LARGEST) {
                        let place = scale.place(value);
                        assert!((-1e-9..=1.0 + 1e-9).contains(&place), "{values:?}: {place}");
                    }
                    let labels: Vec<String> = ticks.iter().map(|tick| scale.label(*tick)).collect();
                    assert!(labels.iter().all(|label| label.len() < 24), "{labels:?}");
                    assert!(
                        labels.windows(2).all(|pair| pair[0] != pair[1]),
                        "{labels:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn epochs_are_whole() {
        let ticks = |last: f64| Scale::whole([1.0, last].into_iter(), 8.0).ticks();
        assert_eq!(ticks(2.0).collect::<Vec<_>>(), [1.0, 2.0]);
        assert_eq!(ticks(200.0).count(), 5);
        assert!(ticks(30.0).all(|tick| tick.fract() == 0.0));
    }
}
