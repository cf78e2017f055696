//! Numbers of any size as text.

/// Four decimals, or an exponent for a number that they do not show.
pub(super) fn rounded(value: f64) -> String {
    match value.abs() {
        size if size != 0.0 && !(1e-3..1e5).contains(&size) => format!("{value:.2e}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::rounded;

    #[test]
    fn numbers_are_plain_if_they_can_be() {
        let texts = [0.0, 1.022, -12.5, 3e-7, 1e6].map(rounded);
        assert_eq!(texts, ["0.0000", "1.0220", "-12.5000", "3.00e-7", "1.00e6"]);
    }
}
