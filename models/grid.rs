//! Networks of any depth and width, by name: `mlp_25x300`, `conv2_mlp_17x500`.

use std::sync::{Mutex, PoisonError};

use crate::entry::{Entry, Grid};
use crate::error::ModelError;
use crate::{conv_dense, plain};

/// Makes the entry of a name with its depth and width.
type NewEntry = fn(&'static str, Grid) -> Entry;

/// The names before depth and width, and the entry of each depth and width.
const GRIDS: [(&str, NewEntry); 3] = [
    ("mlp_", plain::mlp_entry),
    ("conv2_mlp_", conv_dense::conv2_mlp),
    ("conv4_mlp_", conv_dense::conv4_mlp),
];

/// The largest depth and width of a name.
const LARGEST: Grid = (1000, 10_000);
/// The most parameters of a named network: 4 GB in f32.
const MOST_PARAMS: usize = 1_000_000_000;

/// The entry of a network of any depth and width, made on first use and kept for the whole process.
///
/// # Errors
/// If it would have too many parameters.
pub(crate) fn named(name: &str) -> Result<Option<&'static Entry>, ModelError> {
    static NAMED: Mutex<Vec<&'static Entry>> = Mutex::new(Vec::new());
    let found = GRIDS
        .iter()
        .find_map(|(prefix, entry)| Some((grid_of(name.strip_prefix(prefix)?)?, entry)));
    let Some((grid, entry)) = found else {
        return Ok(None);
    };
    let mut named = NAMED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(entry) = named.iter().find(|entry| entry.name == name) {
        return Ok(Some(entry));
    }
    let params = entry("", grid).cifar.params;
    if params > MOST_PARAMS {
        let message = format!("{name} has {params} parameters, the limit is {MOST_PARAMS}");
        return Err(ModelError::Option(message));
    }
    let entry: &'static Entry = Box::leak(Box::new(entry(name.to_string().leak(), grid)));
    named.push(entry);
    Ok(Some(entry))
}

/// Depth and width as a name has them.
fn grid_of(text: &str) -> Option<Grid> {
    let (depth, width) = text.split_once('x')?;
    let grid = (depth.parse().ok()?, width.parse().ok()?);
    let in_range = (1..=LARGEST.0).contains(&grid.0) && (1..=LARGEST.1).contains(&grid.1);
    (in_range && text == format!("{}x{}", grid.0, grid.1)).then_some(grid)
}
