//! `mish models`: lists the networks.

use candle_mish_models as models;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::failure::Done;
use crate::{Context, output};

/// Flags of `mish models`.
#[derive(Debug, clap::Args)]
pub struct ModelsArgs {
    /// Only networks whose name or family contains this, where * stands for any text
    filter: Option<String>,
}

#[derive(Serialize)]
struct Row {
    name: &'static str,
    family: &'static str,
    params: usize,
    paper: &'static str,
}

/// Lists.
pub fn run(args: &ModelsArgs, context: &Context) -> anyhow::Result<Done> {
    let filter = args.filter.as_deref().unwrap_or_default().to_lowercase();
    let rows: Vec<Row> = models::entries()
        .filter(|entry| contains(entry.name, &filter) || contains(entry.family, &filter))
        .map(|entry| Row {
            name: entry.name,
            family: entry.family,
            params: entry.cifar.params,
            paper: entry.paper,
        })
        .collect();
    if context.json {
        output::json(&rows)?;
        return Ok(Done::Complete);
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["model", "family", "parameters", "paper"]);
    for row in &rows {
        let params = thousands(row.params);
        table.add_row([row.name, row.family, &params, row.paper]);
    }
    if let Some(column) = table.column_mut(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    output::text(&table.trim_fmt())?;
    Ok(Done::Complete)
}

/// Whether the parts of `pattern` between asterisks stand in `text`, one after the other.
fn contains(text: &str, pattern: &str) -> bool {
    let mut rest = text;
    pattern.split('*').all(|part| {
        let found = rest.find(part);
        if let Some(start) = found {
            rest = &rest[start + part.len()..];
        }
        found.is_some()
    })
}

/// 278324 as 278,324.
fn thousands(number: usize) -> String {
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

#[cfg(test)]
mod tests {
    use super::{contains, thousands};

    #[test]
    fn asterisks_stand_for_any_text() {
        assert!(contains("resnetv2_20", "resnetv2*"));
        assert!(contains("resnet20", "net2"));
        assert!(contains("resnet20", ""));
        assert!(!contains("resnet20", "20*res"));
        assert!(!contains("resnet20", "resnet20*0"));
    }

    #[test]
    fn groups_digits() {
        let groups = [7, 278_324, 1_000, 1_234_567].map(thousands);
        assert_eq!(groups, ["7", "278,324", "1,000", "1,234,567"]);
    }
}
