//! The order of class folders.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

/// The order of class folders, which numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClassOrder {
    /// By code points: 0, 1, 10, 2. torchvision's order.
    #[default]
    Lexical,
    /// Numbers by value and letters without case: 0, 1, 2, 10. timm's order.
    Natural,
}

impl ClassOrder {
    /// Both orders.
    pub const ALL: [Self; 2] = [Self::Lexical, Self::Natural];

    /// The name in options and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lexical => "lexical",
            Self::Natural => "natural",
        }
    }

    /// Compares two names.
    pub fn compare(self, a: &str, b: &str) -> Ordering {
        match self {
            // The byte order of UTF-8 is the order of code points.
            Self::Lexical => a.cmp(b),
            Self::Natural => natural_key(a).cmp(&natural_key(b)).then_with(|| a.cmp(b)),
        }
    }
}

/// A part of a name. timm's key alternates between text and numbers and starts with text.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Text(String),
    /// The digits without leading zeros, after their count: longer numbers are larger.
    Number(usize, String),
}

fn natural_key(name: &str) -> Vec<Part> {
    let name = name.to_lowercase();
    let (mut parts, mut rest) = (Vec::new(), name.as_str());
    loop {
        let text = rest.find(|c: char| c.is_ascii_digit());
        let (text, after) = rest.split_at(text.unwrap_or(rest.len()));
        parts.push(Part::Text(text.to_owned()));
        if after.is_empty() {
            return parts;
        }
        let digits = after.find(|c: char| !c.is_ascii_digit());
        let (digits, after) = after.split_at(digits.unwrap_or(after.len()));
        let digits = digits.trim_start_matches('0');
        parts.push(Part::Number(digits.len(), digits.to_owned()));
        rest = after;
    }
}

/// Whether all names are numbers.
pub(super) fn are_numbers(names: &[String]) -> bool {
    let number = |name: &String| !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit());
    !names.is_empty() && names.iter().all(number)
}
