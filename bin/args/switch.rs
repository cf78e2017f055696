//! Options with a word that switches them off.

use std::str::FromStr;

/// The value of an option that can be switched off.
#[derive(Debug, Clone)]
pub enum Switch<T> {
    Off,
    On(T),
}

impl<T: Clone> Switch<T> {
    /// Sets `field` if the option was given.
    pub fn apply(given: &Option<Self>, field: &mut Option<T>) {
        match given {
            Some(Self::On(value)) => *field = Some(value.clone()),
            Some(Self::Off) => *field = None,
            None => {}
        }
    }
}

/// A parser of values, and of the words that switch the option `off`.
pub fn switch<T: FromStr + 'static>(
    off: &'static [&'static str],
) -> impl Fn(&str) -> Result<Switch<T>, T::Err> + Clone + Send + Sync + 'static {
    move |text| {
        if off.contains(&text) {
            return Ok(Switch::Off);
        }
        text.parse().map(Switch::On)
    }
}

#[cfg(test)]
mod tests {
    use super::{Switch, switch};

    #[test]
    fn a_word_switches_an_option_off() {
        let parse = switch::<f64>(&["0", "none"]);
        let mut field = Some(0.5);
        Switch::apply(&None, &mut field);
        assert_eq!(field, Some(0.5));
        Switch::apply(&parse("0.25").ok(), &mut field);
        assert_eq!(field, Some(0.25));
        Switch::apply(&parse("none").ok(), &mut field);
        assert_eq!(field, None);
        assert!(parse("off").is_err());
    }
}
