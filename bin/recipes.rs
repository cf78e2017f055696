//! Recipes by name, and recipe files.

use std::path::Path;

use anyhow::Context as _;

use crate::embedded::{self, Embedded, embedded};
use crate::failure::usage;

/// All recipes of this program. A text starts with two lines of comments: what the recipe is, and its
/// source.
pub static SHIPPED: [Embedded; 9] = embedded![
    "recipes":
    "quick",
    "fast",
    "speedrun",
    "pytorch-cifar100",
    "resnet20-200",
    "timm-cifar",
    "mish-paper",
    "finetune",
    "finetune-head",
];

/// What a recipe is, in one line.
pub fn about(recipe: &Embedded) -> &'static str {
    comment(recipe, 0)
}

/// Where the values of a recipe come from.
pub fn source(recipe: &Embedded) -> &'static str {
    let line = comment(recipe, 1);
    line.strip_prefix("Source: ").unwrap_or(line)
}

fn comment(recipe: &Embedded, index: usize) -> &'static str {
    let line = recipe.text.lines().nth(index).unwrap_or_default();
    line.trim_start_matches("# ")
}

/// The recipe called `name`.
pub fn find(name: &str) -> Option<&'static Embedded> {
    embedded::find(&SHIPPED, name)
}

/// The text of the recipe that `--recipe` names: one of this program, or a file.
///
/// # Errors
/// If the file cannot be read. A name without a file is a usage error with the most similar recipe.
pub fn read(recipe: &Path) -> anyhow::Result<String> {
    let name = recipe.to_str().unwrap_or_default();
    if let Some(shipped) = find(name) {
        return Ok(shipped.text.to_string());
    }
    if !recipe.exists() && !name.contains(['/', '\\', '.']) {
        return Err(unknown(name));
    }
    std::fs::read_to_string(recipe)
        .with_context(|| format!("cannot read --recipe {}", recipe.display()))
}

/// A usage error for a name that no recipe has.
pub fn unknown(name: &str) -> anyhow::Error {
    let advice = embedded::advice(&SHIPPED, name, "mish recipes");
    usage(format!("unknown recipe '{name}'; {advice}"))
}
