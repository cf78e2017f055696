//! Timing of interleaved cases, so that other load on the machine affects all of them alike.

use std::time::Instant;

use candle_core::Device;
use serde::Serialize;

/// The time of one call.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Timing {
    /// The median.
    pub median_ms: f64,
    /// The shortest call.
    pub min_ms: f64,
    /// The longest call.
    pub max_ms: f64,
}

impl Timing {
    /// The statistics of the milliseconds of some calls, or `None` without calls.
    pub fn of(mut milliseconds: Vec<f64>) -> Option<Self> {
        milliseconds.sort_by(f64::total_cmp);
        let upper = milliseconds.len() / 2;
        let lower = milliseconds.len().checked_sub(1)? / 2;
        Some(Self {
            median_ms: 0.5 * (milliseconds.get(lower)? + milliseconds.get(upper)?),
            min_ms: *milliseconds.first()?,
            max_ms: *milliseconds.last()?,
        })
    }

    /// Billions per second, given the `amount` per call and the median time.
    pub fn giga_per_second(&self, amount: f64) -> f64 {
        1e-6 * amount / self.median_ms
    }
}

/// A call to time.
pub type Call<'a> = Box<dyn FnMut() -> candle_core::Result<()> + 'a>;

/// Times `rounds` rounds on `device`, at least one. A round runs each case `repeats` times in a
/// row. `warm_up` rounds come first and do not count: they allocate memory.
///
/// # Errors
/// The first error of a call.
pub fn alternate(
    device: &Device,
    calls: &mut [Call],
    repeats: usize,
    warm_up: usize,
    rounds: usize,
) -> candle_core::Result<Vec<Option<Timing>>> {
    let times = time_rounds(device, calls, repeats, warm_up, rounds)?;
    Ok(times.into_iter().map(Timing::of).collect())
}

/// As [`alternate`], with the milliseconds of a call in each round.
///
/// # Errors
/// The first error of a call.
pub fn time_rounds(
    device: &Device,
    calls: &mut [Call],
    repeats: usize,
    warm_up: usize,
    rounds: usize,
) -> candle_core::Result<Vec<Vec<f64>>> {
    let mut milliseconds = vec![Vec::new(); calls.len()];
    for round in 0..warm_up + rounds.max(1) {
        for (call, milliseconds) in calls.iter_mut().zip(&mut milliseconds) {
            let start = Instant::now();
            for _ in 0..repeats {
                call()?;
            }
            // Calls on a GPU return before it is done.
            device.synchronize()?;
            if round >= warm_up {
                milliseconds.push(1e3 * start.elapsed().as_secs_f64() / repeats as f64);
            }
        }
    }
    Ok(milliseconds)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::{Call, Timing, alternate};

    #[test]
    fn a_timing_has_the_median_and_the_extremes() {
        let timing = Timing::of(vec![3.0, 1.0, 8.0]).expect("calls");
        assert_eq!(
            (timing.median_ms, timing.min_ms, timing.max_ms),
            (3.0, 1.0, 8.0)
        );
        assert_eq!(timing.giga_per_second(6e6), 2.0);
        assert_eq!(Timing::of(vec![5.0, 2.0]).map(|t| t.median_ms), Some(3.5));
        assert!(Timing::of(Vec::new()).is_none());
    }

    #[test]
    fn every_call_has_its_turn_in_every_round() {
        let turns = std::cell::RefCell::new(Vec::new());
        let call = |name: char| -> Call<'_> {
            let turns = &turns;
            Box::new(move || {
                turns.borrow_mut().push(name);
                Ok(())
            })
        };
        let mut calls = [call('a'), call('b')];
        let timings = alternate(&Device::Cpu, &mut calls, 2, 1, 2).expect("timed");
        assert!(timings.iter().all(Option::is_some));
        drop(calls);
        assert_eq!(turns.into_inner(), ['a', 'a', 'b', 'b'].repeat(3));
    }
}
