//! Fields of CSV files (RFC 4180).

use std::borrow::Cow;

/// A field, in quotes if it needs them.
pub fn quoted(field: &str) -> Cow<'_, str> {
    if field.contains(['"', ',', '\n', '\r']) {
        Cow::Owned(format!("\"{}\"", field.replace('"', "\"\"")))
    } else {
        Cow::Borrowed(field)
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn fields_are_quoted_if_they_need_it() {
        for (field, want) in [
            ("a b.png", "a b.png"),
            ("tench, Tinca tinca", "\"tench, Tinca tinca\""),
            ("6\" pipe", "\"6\"\" pipe\""),
            ("two\nlines", "\"two\nlines\""),
            ("", ""),
        ] {
            assert_eq!(quoted(field), want);
        }
    }
}
