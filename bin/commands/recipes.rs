//! `mish recipes`: lists the recipes, or prints one.

use comfy_table::{Table, presets};
use serde::Serialize;

use crate::context::Context;
use crate::embedded::Embedded;
use crate::failure::Done;
use crate::output;
use crate::recipes::{SHIPPED, about, find, source, unknown};

/// Flags of `mish recipes`.
#[derive(Debug, clap::Args)]
pub struct RecipesArgs {
    /// Print this recipe as TOML, as a template for your own
    name: Option<String>,
}

#[derive(Serialize)]
struct Row {
    name: &'static str,
    about: &'static str,
    source: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    recipe: Option<toml::Table>,
}

impl Row {
    fn new(recipe: &Embedded) -> Self {
        Self {
            name: recipe.name,
            about: about(recipe),
            source: source(recipe),
            recipe: None,
        }
    }
}

/// Prints the recipes, or the one that `args` name.
///
/// # Errors
/// If there is no recipe of that name, or stdout is closed.
pub fn run(args: &RecipesArgs, context: &Context) -> anyhow::Result<Done> {
    match &args.name {
        Some(name) => {
            let recipe = find(name).ok_or_else(|| unknown(name))?;
            if context.json {
                let table = Some(toml::from_str(recipe.text)?);
                output::json(&Row {
                    recipe: table,
                    ..Row::new(recipe)
                })?;
            } else {
                output::text(recipe.text.trim_end())?;
            }
        }
        None => {
            let rows: Vec<Row> = SHIPPED.iter().map(Row::new).collect();
            if context.json {
                output::json(&rows)?;
            } else {
                output::text(&table(&rows))?;
            }
        }
    }
    Ok(Done::Complete)
}

fn table(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["recipe", "what it is", "source"]);
    for row in rows {
        table.add_row([row.name, row.about, row.source]);
    }
    table.trim_fmt()
}
