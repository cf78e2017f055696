//! Learning rates as text.

/// A learning rate for people: `0.1240`, or `1.20e-6` for a rate that four decimals do not show.
pub fn rate_text(lr: f64) -> String {
    let is_plain = lr == 0.0 || (1e-3..1e4).contains(&lr.abs());
    if is_plain {
        format!("{lr:.4}")
    } else {
        format!("{lr:.2e}")
    }
}

#[cfg(test)]
mod tests {
    use super::rate_text;

    #[test]
    fn small_and_large_rates_have_an_exponent() {
        for (lr, expected) in [
            (0.0, "0.0000"),
            (1.2e-6, "1.20e-6"),
            (0.000_99, "9.90e-4"),
            (0.001, "0.0010"),
            (0.124, "0.1240"),
            (3.79, "3.7900"),
            (1e30, "1.00e30"),
        ] {
            assert_eq!(rate_text(lr), expected);
        }
    }
}
