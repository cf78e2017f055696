//! Patterns of checkpoint keys, in which `#` matches a number.

/// The numbers at the pattern's `#`, and the rest of `text`, if the pattern matches its beginning.
pub(crate) fn strip<'a>(pattern: &str, text: &'a str) -> Option<(Vec<usize>, &'a str)> {
    let mut numbers = Vec::new();
    let mut rest = text;
    for (index, literal) in pattern.split('#').enumerate() {
        if index > 0 {
            let end = rest
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(rest.len());
            numbers.push(rest[..end].parse().ok()?);
            rest = &rest[end..];
        }
        rest = rest.strip_prefix(literal)?;
    }
    Some((numbers, rest))
}

/// A match of a pattern: what is before it, its numbers, and what is after it.
pub(crate) type Match<'a> = (&'a str, Vec<usize>, &'a str);

/// The first match of a pattern in a key. A pattern that starts with `.` matches anywhere, another
/// one only at the beginning.
pub(crate) fn find<'a>(pattern: &str, key: &'a str) -> Option<Match<'a>> {
    if !pattern.starts_with('.') {
        return strip(pattern, key).map(|(numbers, rest)| ("", numbers, rest));
    }
    key.match_indices('.').find_map(|(start, _)| {
        let (before, text) = key.split_at(start);
        strip(pattern, text).map(|(numbers, rest)| (before, numbers, rest))
    })
}

#[cfg(test)]
mod tests {
    use super::{find, strip};

    #[test]
    fn patterns_match_beginnings_and_give_their_numbers() {
        let numbers = |pattern, text| strip(pattern, text).map(|(numbers, _)| numbers);
        assert_eq!(
            numbers("layer#.#.", "layer2.10.conv1.weight"),
            Some(vec![2, 10])
        );
        assert_eq!(numbers("features.#.", "features.0.weight"), Some(vec![0]));
        assert_eq!(numbers("conv1.", "conv1.weight"), Some(Vec::new()));
        assert_eq!(numbers("conv1.", "conv10.weight"), None);
        assert_eq!(numbers("layer#.", "layers.0.weight"), None);
    }

    #[test]
    fn a_leading_dot_matches_anywhere() {
        let key = "layer1.0.shortcut.1.weight";
        let (before, numbers, after) = find(".shortcut.#.", key).expect("a match");
        assert_eq!((before, numbers, after), ("layer1.0", vec![1], "weight"));
        assert_eq!(find("shortcut.#.", key), None);
        assert_eq!(find(".shortcut.#.", "shortcut.1.weight"), None);
        let (before, numbers, after) = find(".#.", key).expect("a match");
        assert_eq!(
            (before, numbers, after),
            ("layer1", vec![0], "shortcut.1.weight")
        );
    }
}
