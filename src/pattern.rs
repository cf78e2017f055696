//! Patterns of names and paths.

/// Whether `pattern`, in which `*` stands for any characters and `?` for one, describes all of
/// `text`. Takes at most as many steps as the product of the lengths.
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
    // The last star, and the text behind what it has stood for so far: only it can take more.
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
                Some((behind, taken)) => {
                    star = Some((behind, taken + 1));
                    p = behind;
                    t = taken + 1;
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
        // Without a bound on the steps this would not end.
        assert!(!matches(&"*a".repeat(30), &"a".repeat(29)));
    }
}
