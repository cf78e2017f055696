//! Durations as text: `1h30m`, `90m`, and Slurm's `HH:MM:SS`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::serde_text::serde_as_text;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// More than any run takes, and far from the limits of clocks.
const LONGEST: u64 = 3650 * DAY;

/// A time of whole seconds from one second to ten years.
///
/// It is read from units (`1h30m`, `90m`, `45s`, `2d`), or from Slurm's `MM:SS`, `HH:MM:SS`,
/// `D-HH`, `D-HH:MM` and `D-HH:MM:SS`, and written in units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeSpan(u64);

/// A text that is no [`TimeSpan`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be a time such as 90m, 1h30m or 01:30:00, at least 1s")]
pub struct TimeSpanError;

impl TimeSpan {
    /// The time as a [`Duration`].
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl FromStr for TimeSpan {
    type Err = TimeSpanError;

    fn from_str(text: &str) -> Result<Self, TimeSpanError> {
        let seconds = if text.contains([':', '-']) {
            of_slurm(text)
        } else {
            of_units(text)
        };
        let seconds = seconds.filter(|seconds| (1..=LONGEST).contains(seconds));
        seconds.map(Self).ok_or(TimeSpanError)
    }
}

/// `1h30m`: each unit at most once, from the longest to the shortest.
fn of_units(mut text: &str) -> Option<u64> {
    let mut seconds = 0u64;
    let mut largest = u64::MAX;
    while !text.is_empty() {
        let digits = text.find(|c: char| !c.is_ascii_digit())?;
        let count: u64 = text[..digits].parse().ok()?;
        let unit = match text.as_bytes()[digits] {
            b'd' => DAY,
            b'h' => HOUR,
            b'm' => MINUTE,
            b's' => 1,
            _ => return None,
        };
        if unit >= largest {
            return None;
        }
        largest = unit;
        seconds = seconds.checked_add(count.checked_mul(unit)?)?;
        text = &text[digits + 1..];
    }
    Some(seconds)
}

/// The formats of Slurm's `--time` with a colon or a dash.
fn of_slurm(text: &str) -> Option<u64> {
    let (days, clock) = match text.split_once('-') {
        None => (0, text),
        Some((days, clock)) => (number(days)?, clock),
    };
    let parts: Vec<u64> = clock.split(':').map(number).collect::<Option<_>>()?;
    let with_days = text.contains('-');
    let (hours, minutes, seconds) = match (with_days, parts.as_slice()) {
        (true, [hours]) => (*hours, 0, 0),
        (true, [hours, minutes]) => (*hours, *minutes, 0),
        (false, [minutes, seconds]) => (0, *minutes, *seconds),
        (_, [hours, minutes, seconds]) => (*hours, *minutes, *seconds),
        _ => return None,
    };
    let units = [(days, DAY), (hours, HOUR), (minutes, MINUTE), (seconds, 1)];
    units.into_iter().try_fold(0u64, |sum, (count, unit)| {
        sum.checked_add(count.checked_mul(unit)?)
    })
}

/// A number of digits only.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        for (unit, name) in [(DAY, 'd'), (HOUR, 'h'), (MINUTE, 'm'), (1, 's')] {
            let count = rest / unit;
            rest %= unit;
            if count > 0 {
                write!(f, "{count}{name}")?;
            }
        }
        Ok(())
    }
}

serde_as_text!(TimeSpan);

#[cfg(test)]
mod tests {
    use super::TimeSpan;

    #[test]
    fn times_are_read_and_written() {
        for (text, seconds, written) in [
            ("90m", 5400, "1h30m"),
            ("1h30m", 5400, "1h30m"),
            ("45s", 45, "45s"),
            ("2d1s", 172_801, "2d1s"),
            ("01:30:00", 5400, "1h30m"),
            ("90:00", 5400, "1h30m"),
            ("1-00", 86_400, "1d"),
            ("1-02:03", 93_780, "1d2h3m"),
            ("1-02:03:04", 93_784, "1d2h3m4s"),
        ] {
            let span: TimeSpan = text.parse().expect(text);
            assert_eq!(span.duration().as_secs(), seconds, "{text}");
            assert_eq!(span.to_string(), written);
            assert_eq!(written.parse(), Ok(span));
        }
        for text in [
            "",
            "90",
            "0s",
            "m",
            "1m1h",
            "1h1h",
            "1.5h",
            "-1h",
            "1:",
            ":1",
            "1:2:3:4",
            "1-2-3",
            "+1:00",
            "9999999999999999999h",
            "99999d",
            "1H",
            "0:00",
            "1h ",
            "é",
        ] {
            assert!(text.parse::<TimeSpan>().is_err(), "{text}");
        }
    }
}
