//! timm's notation of policies: a name and parameters, joined by `-`.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// A policy that cannot be read. The message lists what exists.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// No policy has this name.
    #[error("unknown augmentation policy '{name}'{}; expected one of {known}", did_you_mean(.suggestion))]
    Unknown {
        /// The name given.
        name: String,
        /// The nearest known name, if one is near.
        suggestion: Option<&'static str>,
        /// All names.
        known: String,
    },
    /// The policy does not take this parameter.
    #[error("{policy} has no parameter '{parameter}'; it takes {known}")]
    Parameter {
        /// The policy.
        policy: &'static str,
        /// The parameter given, with its value.
        parameter: String,
        /// The parameters that it takes.
        known: String,
    },
    /// A parameter is given more than once.
    #[error("{policy}: {parameter} is given twice")]
    Twice {
        /// The policy.
        policy: &'static str,
        /// The parameter.
        parameter: &'static str,
    },
    /// A value is not of the right kind or out of its range.
    #[error("{policy}: {parameter} is '{value}', must be {expected}")]
    Value {
        /// The policy.
        policy: &'static str,
        /// The parameter.
        parameter: &'static str,
        /// The value given.
        value: String,
        /// The values that it takes.
        expected: String,
    },
}

fn did_you_mean(suggestion: &Option<&'static str>) -> String {
    suggestion.map_or_else(String::new, |name| format!(", did you mean '{name}'?"))
}

/// A parameter of a policy and its description.
pub(super) type Parameter = (&'static str, &'static str);

/// The parameters given to a policy.
pub(super) struct Parameters<'a> {
    policy: &'static str,
    given: Vec<(&'static str, &'a str)>,
}

impl<'a> Parameters<'a> {
    /// Splits `text`, such as `m9-mstd0.5`. `known` are the parameters of `policy`.
    pub(super) fn parse(
        policy: &'static str,
        text: Option<&'a str>,
        known: &'static [Parameter],
    ) -> Result<Self, PolicyError> {
        let mut given = Vec::new();
        for section in text.into_iter().flat_map(|text| text.split('-')) {
            // `mstd0.5` begins with `m` as well.
            let keys = known.iter().map(|(key, _)| *key);
            let key = keys
                .filter(|key| section.starts_with(key))
                .max_by_key(|key| key.len());
            let Some(key) = key else {
                return Err(PolicyError::Parameter {
                    policy,
                    parameter: section.to_owned(),
                    known: listed(known),
                });
            };
            if given.iter().any(|(earlier, _)| *earlier == key) {
                return Err(PolicyError::Twice {
                    policy,
                    parameter: key,
                });
            }
            given.push((key, &section[key.len()..]));
        }
        Ok(Self { policy, given })
    }

    /// The text of a parameter, if it is given.
    pub(super) fn text(&self, parameter: &str) -> Option<&'a str> {
        let mut given = self.given.iter();
        given
            .find(|(key, _)| *key == parameter)
            .map(|(_, value)| *value)
    }

    /// The number of a parameter, if it is given.
    pub(super) fn number<T>(
        &self,
        parameter: &'static str,
        range: RangeInclusive<T>,
    ) -> Result<Option<T>, PolicyError>
    where
        T: FromStr + PartialOrd + Display + Numeric,
    {
        let Some(text) = self.text(parameter) else {
            return Ok(None);
        };
        let value = text.parse().ok().filter(|value| range.contains(value));
        value.map(Some).ok_or_else(|| {
            let (kind, low, high) = (T::KIND, range.start(), range.end());
            self.wrong(parameter, format!("a {kind} from {low} to {high}"))
        })
    }

    /// The error that a parameter's value is not what is expected.
    pub(super) fn wrong(&self, parameter: &'static str, expected: String) -> PolicyError {
        PolicyError::Value {
            policy: self.policy,
            parameter,
            value: self.text(parameter).unwrap_or_default().to_owned(),
            expected,
        }
    }
}

/// A type of numbers with its name in messages.
pub(super) trait Numeric {
    /// The name.
    const KIND: &'static str;
}

impl Numeric for f64 {
    const KIND: &'static str = "number";
}

impl Numeric for usize {
    const KIND: &'static str = "whole number";
}

fn listed(known: &[Parameter]) -> String {
    if known.is_empty() {
        return "none".to_owned();
    }
    let items: Vec<String> = known
        .iter()
        .map(|(key, meaning)| format!("{key} ({meaning})"))
        .collect();
    items.join(", ")
}
