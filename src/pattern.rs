//! Wildcard patterns for names and paths.

/// Whether `pattern` matches all of `text`. `*` matches any characters, `?` matches one. The time is at
/// most the product of the lengths.
///
/// ```
/// use candle_mish::pattern::matches;
/// assert!(matches("layer?.*.act1", "layer2.0.act1"));
/// assert!(!matches("layer2", "layer2.0.act1"));
/// ```
pub fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    // The position after the last star, and after its match so far. Only this star can match more.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p + 1, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((after, matched)) => {
                    star = Some((after, matched + 1));
                    p = after;
                    t = matched + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, text) in [
            ("", ""),
            ("*", ""),
            ("**", "ab"),
            ("a*c", "abcbc"),
            ("*b?", "abbc"),
            ("resnet?4", "resnet34"),
            ("ä?", "äö"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("", "a"),
            ("?", ""),
            ("a*", "ba"),
            ("a*b", "abc"),
            ("a", "A"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
        // Exponential backtracking would not finish this.
        assert!(!matches(&"*a".repeat(30), &"a".repeat(29)));
    }
}
