//! The axis of a plot.

/// An axis with ends at multiples of its tick.
pub(crate) struct Scale {
    tick: f64,
    first: i64,
    last: i64,
}

impl Scale {
    /// Covers `values` with about `most` ticks of 1, 2 or 5 times a power of ten.
    pub(crate) fn covering(values: impl Iterator<Item = f64>, most: f64) -> Self {
        Self::with_ticks(values, most, -4)
    }

    /// As [`Scale::covering`], with ticks at whole numbers.
    pub(crate) fn whole(values: impl Iterator<Item = f64>, most: f64) -> Self {
        Self::with_ticks(values, most, 0)
    }

    /// `smallest` is the lowest power of ten of a tick.
    fn with_ticks(values: impl Iterator<Item = f64>, most: f64, smallest: i32) -> Self {
        let (low, high) = values
            .filter(|value| value.is_finite())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            });
        // Without values, or with zeros only, there is no better range.
        let has_range = low < high || (low.is_finite() && low != 0.0);
        let (low, high) = if has_range { (low, high) } else { (0.0, 1.0) };
        let tick = (smallest..9)
            .flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10f64.powi(power)))
            .find(|tick| high - low <= most * tick)
            .unwrap_or(1e9);
        let first = (low / tick).floor() as i64;
        let last = ((high / tick).ceil() as i64).max(first + 1);
        Self { tick, first, last }
    }

    /// The position of a value on the axis, from 0 to 1.
    pub(crate) fn place(&self, value: f64) -> f64 {
        (value / self.tick - self.first as f64) / (self.last - self.first) as f64
    }

    /// A value with the digits that distinguish ticks.
    pub(crate) fn label(&self, value: f64) -> String {
        let decimals = (-self.tick.log10().floor()).max(0.0) as usize;
        format!("{value:.decimals$}")
    }

    /// The values of the ticks.
    pub(crate) fn ticks(&self) -> impl Iterator<Item = f64> + use<> {
        // Rounded, so that 3 times 0.1 prints as 0.3.
        let tick = self.tick;
        let round = move |i: i64| (i as f64 * tick * 1e6).round() / 1e6;
        (self.first..=self.last).map(round)
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
        assert_eq!((scale.tick, scale.first, scale.last), (5.0, -4, 1));
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
    }

    #[test]
    fn epochs_are_whole() {
        let ticks = |last: f64| Scale::whole([1.0, last].into_iter(), 8.0).ticks();
        assert_eq!(ticks(2.0).collect::<Vec<_>>(), [1.0, 2.0]);
        assert_eq!(ticks(200.0).count(), 5);
        assert!(ticks(30.0).all(|tick| tick.fract() == 0.0));
    }
}
