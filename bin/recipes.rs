//! Recipes by name, and recipe files.

use std::path::Path;

use anyhow::Context as _;
use candle_mish::suggest::suggest;

use crate::failure::usage;

/// A recipe of this program. Its text starts with two lines of comments: what it is, and its source.
pub struct Shipped {
    /// The value of `--recipe`.
    pub name: &'static str,
    /// The recipe in TOML.
    pub text: &'static str,
}

/// All recipes of this program.
pub const SHIPPED: [Shipped; 7] = [
    Shipped {
        name: "quick",
        text: include_str!("recipes/quick.toml"),
    },
    Shipped {
        name: "pytorch-cifar100",
        text: include_str!("recipes/pytorch-cifar100.toml"),
    },
    Shipped {
        name: "resnet20-200",
        text: include_str!("recipes/resnet20-200.toml"),
    },
    Shipped {
        name: "timm-cifar",
        text: include_str!("recipes/timm-cifar.toml"),
    },
    Shipped {
        name: "mish-paper",
        text: include_str!("recipes/mish-paper.toml"),
    },
    Shipped {
        name: "finetune",
        text: include_str!("recipes/finetune.toml"),
    },
    Shipped {
        name: "finetune-head",
        text: include_str!("recipes/finetune-head.toml"),
    },
];

impl Shipped {
    /// What the recipe is, in one line.
    pub fn about(&self) -> &'static str {
        self.comment(0)
    }

    /// Where its values come from.
    pub fn source(&self) -> &'static str {
        let line = self.comment(1);
        line.strip_prefix("Source: ").unwrap_or(line)
    }

    fn comment(&self, index: usize) -> &'static str {
        let line = self.text.lines().nth(index).unwrap_or_default();
        line.trim_start_matches("# ")
    }
}

/// The recipe called `name`.
pub fn find(name: &str) -> Option<&'static Shipped> {
    SHIPPED.iter().find(|recipe| recipe.name == name)
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
    let names = SHIPPED.iter().map(|recipe| recipe.name);
    let advice = match suggest(name, names) {
        Some(similar) => format!("did you mean '{similar}'?"),
        None => "`mish recipes` lists all".to_string(),
    };
    usage(format!("unknown recipe '{name}'; {advice}"))
}
