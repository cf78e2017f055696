//! What string literals say.

use super::lexer::{Kind, lex};
use super::modules::without_tests;

/// The string literals of `source` that name a command-line flag, with their lines. Comments and
/// what only tests compile are left out.
pub fn flags(source: &str) -> Vec<(String, usize)> {
    let tokens = without_tests(lex(source)).into_iter();
    let found = tokens.filter_map(|token| match token.kind {
        Kind::Text(text) if names_flag(&text) => Some((text, token.line)),
        _ => None,
    });
    found.collect()
}

/// Whether `text` has two hyphens in front of a lower-case letter, which is how a flag looks. The
/// variables of a style sheet look the same.
fn names_flag(text: &str) -> bool {
    if text.contains("var(--") {
        return false;
    }
    let begins = |(at, _): (usize, &str)| {
        let word_before = text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '-');
        let letter_after = text[at + 2..].starts_with(|c: char| c.is_ascii_lowercase());
        letter_after && !word_before
    };
    text.match_indices("--").any(begins)
}

#[cfg(test)]
mod tests {
    use super::flags;

    #[test]
    fn flags_in_texts_are_found() {
        let source =
            "fn f() { bail!(\"the loss is not finite:\n lower --lr\") } const F: &str = \"--x\";";
        let lines: Vec<usize> = flags(source).into_iter().map(|(_, line)| line).collect();
        assert_eq!(lines, [1, 2]);
    }

    #[test]
    fn comments_tests_rules_and_dashes_are_no_flags() {
        let source = r#"
            // lower --lr
            const A: [&str; 4] = ["---", "a--b", "-l", "-- b"];
            const STYLE: &str = ":root { --line: #888; } td { color: var(--line); }";
            #[cfg(test)]
            mod tests { const B: &str = "--lr"; }
        "#;
        assert_eq!(flags(source), []);
    }
}
