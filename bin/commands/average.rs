//! `mish average`: the mean of the weights of several checkpoints.

use std::path::{Path, PathBuf};

use anyhow::bail;
use candle_mish::checkpoint::{self, Checkpoint};
use candle_mish::train::RunState;
use serde::Serialize;

use crate::args::OUTPUT;
use crate::context::Context;
use crate::failure::Done;
use crate::output;
use crate::output_file::{Content, OutputFile};

/// Flags of `mish average`.
#[derive(Debug, clap::Args)]
pub struct AverageArgs {
    /// Checkpoints of one network: safetensors or PyTorch files
    #[arg(required = true, num_args = 2.., value_name = "CHECKPOINT")]
    checkpoints: Vec<PathBuf>,
    /// File to write
    #[arg(long, short, value_name = "FILE", help_heading = OUTPUT)]
    output: PathBuf,
}

#[derive(Serialize)]
struct Answer<'a> {
    file: &'a Path,
    averaged: &'a [PathBuf],
    tensors: usize,
}

/// Entries of a header that describe the network. Weights of different networks have no mean.
const NETWORK: [&str; 11] = [
    "model",
    "activation",
    "layer_activations",
    "num_classes",
    "stem",
    "in_chans",
    "gate",
    "shortcut",
    "bn_eps",
    "cfg",
    "classes",
];

/// Writes the mean and prints what it wrote.
///
/// # Errors
/// If a file cannot be read or written, or belongs to another network.
pub fn run(args: &AverageArgs, context: &Context) -> anyhow::Result<Done> {
    let (file, paths) = (&args.output, &args.checkpoints);
    let inputs = paths.iter().map(PathBuf::as_path);
    OutputFile::new("--output", file, Content::Safetensors)?
        .check_is_no_input(inputs, "one of the checkpoints")?;
    check_networks(paths)?;
    let Checkpoint {
        tensors,
        mut metadata,
        ..
    } = checkpoint::average(paths)?;
    metadata.insert("averaged".to_string(), serde_json::to_string(paths)?);
    let mut tensors: Vec<_> = tensors.into_iter().collect();
    tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
    checkpoint::write(file, &tensors, &metadata)?;
    let answer = Answer {
        file,
        averaged: paths,
        tensors: tensors.len(),
    };
    if context.json {
        output::json(&answer)?;
    } else {
        output::text(&format!(
            "{}: the mean of {} checkpoints, {} tensors",
            file.display(),
            paths.len(),
            tensors.len()
        ))?;
    }
    Ok(Done::Complete)
}

/// Refuses files whose headers describe different networks.
fn check_networks(paths: &[PathBuf]) -> anyhow::Result<()> {
    let mut first: Option<(&Path, Vec<Option<String>>)> = None;
    for path in paths {
        let header = checkpoint::read(path)?.metadata;
        if RunState::is_header(&header) {
            bail!(
                "{} is the state of a run, not a checkpoint: leave it out",
                path.display()
            );
        }
        let own: Vec<_> = NETWORK
            .iter()
            .map(|key| header.get(*key).cloned())
            .collect();
        let Some((other, expected)) = &first else {
            first = Some((path, own));
            continue;
        };
        let mut pairs = NETWORK.iter().zip(expected.iter().zip(&own));
        if let Some((key, (expected, own))) = pairs.find(|(_, (expected, own))| expected != own) {
            if *key == "classes" {
                bail!(
                    "{} and {} have different classes",
                    other.display(),
                    path.display()
                );
            }
            let value =
                |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_string());
            bail!(
                "{} cannot be averaged with {}: its {key} is {}, not {}",
                path.display(),
                other.display(),
                value(own),
                value(expected)
            );
        }
    }
    Ok(())
}
