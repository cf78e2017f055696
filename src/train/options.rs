//! Options of a run that do not change its result.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::duration::TimeSpan;
use crate::serde_text::serde_as_text;

/// How a run is saved and when it ends early. A run may continue with other options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunOptions {
    /// The steps or the time between two states that are saved within an epoch, in addition to the
    /// one at its end. A killed run loses at most that. `None` saves at the end of an epoch only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery_interval: Option<RecoveryInterval>,
    /// The number of best epochs whose weights are kept, each as `checkpoint-EPOCH.safetensors`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_hist: Option<usize>,
    /// The time after which a process saves the run and ends, counted from
    /// [`Run::started`](super::Run::started).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_limit: Option<TimeSpan>,
    /// What to do if a loss or a gradient is infinite or NaN.
    pub nan: NanAction,
}

/// The interval between states within an epoch: `500` steps, or a time such as `10m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecoveryInterval {
    /// Steps, at least 1.
    Steps(u64),
    /// Time.
    Time(TimeSpan),
}

/// A text that is no [`RecoveryInterval`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be a number of steps such as 500, or a time such as 10m")]
pub struct RecoveryIntervalError;

impl FromStr for RecoveryInterval {
    type Err = RecoveryIntervalError;

    fn from_str(text: &str) -> Result<Self, RecoveryIntervalError> {
        if let Ok(span) = text.parse() {
            return Ok(Self::Time(span));
        }
        let steps = text.parse().ok().filter(|steps| *steps > 0);
        steps.map(Self::Steps).ok_or(RecoveryIntervalError)
    }
}

impl fmt::Display for RecoveryInterval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steps(steps) => write!(f, "{steps}"),
            Self::Time(span) => write!(f, "{span}"),
        }
    }
}

serde_as_text!(RecoveryInterval);

/// What to do if a loss or a gradient is infinite or NaN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NanAction {
    /// End the run with an error. The last saved state is from before.
    #[default]
    Stop,
    /// Leave out the update and continue. Weights, statistics and optimizer stay as before the step.
    Skip,
}

/// A text that is no [`NanAction`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be stop or skip")]
pub struct NanActionError;

impl fmt::Display for NanAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stop => "stop",
            Self::Skip => "skip",
        })
    }
}

impl FromStr for NanAction {
    type Err = NanActionError;

    fn from_str(name: &str) -> Result<Self, NanActionError> {
        match name {
            "stop" => Ok(Self::Stop),
            "skip" => Ok(Self::Skip),
            _ => Err(NanActionError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{NanAction, RecoveryInterval, RunOptions};

    #[test]
    fn intervals_are_steps_or_times() {
        assert_eq!("500".parse(), Ok(RecoveryInterval::Steps(500)));
        for text in ["10m", "1h30m"] {
            let interval: RecoveryInterval = text.parse().expect(text);
            assert!(matches!(interval, RecoveryInterval::Time(_)), "{text}");
            assert_eq!(interval.to_string(), text);
        }
        for text in ["", "0", "-1", "1.5", "0m", "ten"] {
            assert!(text.parse::<RecoveryInterval>().is_err(), "{text}");
        }
    }

    #[test]
    fn options_are_read_as_they_were_written() {
        let options = RunOptions {
            recovery_interval: Some(RecoveryInterval::Steps(3)),
            checkpoint_hist: Some(2),
            time_limit: "1h30m".parse().ok(),
            nan: NanAction::Skip,
        };
        for options in [options, RunOptions::default()] {
            let text = toml::to_string(&options).expect("TOML");
            assert_eq!(toml::from_str(&text), Ok(options), "{text}");
        }
        assert!(toml::from_str::<RunOptions>("interval = 3").is_err());
        assert_eq!(toml::from_str(""), Ok(RunOptions::default()));
    }
}
