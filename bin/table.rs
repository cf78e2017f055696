//! Tables as text.

use comfy_table::{CellAlignment, Table, presets};

/// A table with a header and without borders.
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(header);
    table
}

/// Aligns these columns, counted from 0, to the right.
pub fn align_right(table: &mut Table, columns: impl IntoIterator<Item = usize>) {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// Formats 278324 as 278,324.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// "1 step", "1,563 steps", "2 batches", "2 epochs".
pub fn counted(number: usize, noun: &str) -> String {
    let plural = match number {
        1 => "",
        _ if noun.ends_with("tch") || noun.ends_with('s') => "es",
        _ => "s",
    };
    format!("{} {noun}{plural}", thousands(number as u64))
}

/// A number of floating-point operations with three digits: "0.319 PFLOP", "4.81 TFLOP", "12.0 GFLOP".
pub fn operations(flops: f64) -> String {
    let (number, unit) = match flops {
        0.1e15.. => (flops / 1e15, "PFLOP"),
        0.1e12.. => (flops / 1e12, "TFLOP"),
        _ => (flops / 1e9, "GFLOP"),
    };
    let decimals = match number {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    format!("{number:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::{counted, operations, thousands};

    #[test]
    fn operations_have_three_digits() {
        let numbers = [0.319e15, 4.812e12, 12.04e9, 99.9e12, 123.4e15].map(operations);
        let expected = [
            "0.319 PFLOP",
            "4.81 TFLOP",
            "12.0 GFLOP",
            "99.9 TFLOP",
            "123 PFLOP",
        ];
        assert_eq!(numbers, expected);
    }

    #[test]
    fn nouns_agree_with_their_number() {
        let counts = [0, 1, 1563].map(|number| counted(number, "step"));
        assert_eq!(counts, ["0 steps", "1 step", "1,563 steps"]);
        let batches = [1, 2].map(|number| counted(number, "batch"));
        assert_eq!(batches, ["1 batch", "2 batches"]);
        assert_eq!(counted(2, "epoch"), "2 epochs");
    }

    #[test]
    fn groups_digits() {
        let groups = [7, 278_324, 1_000, 1_234_567].map(thousands);
        assert_eq!(groups, ["7", "278,324", "1,000", "1,234,567"]);
    }
}
