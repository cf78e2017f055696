//! The flags that name trained weights, and the progress bar of a download.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use candle_mish::activation::Activation;
use candle_mish_models::ModelError;
use candle_mish_models::weights::{self, FetchOptions, LoadError};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::context::Context;
use crate::failure::usage;
use crate::network::{Weights, explained};

/// Which weights to read. One of the two is required.
#[derive(Debug, Clone, Args)]
#[group(skip)]
#[command(group = clap::ArgGroup::new("source").required(true).multiple(false))]
pub struct WeightsArgs {
    /// A checkpoint: safetensors, a PyTorch file (.pth, .bin), or darknet weights (.weights)
    #[arg(long, value_name = "FILE", group = "source")]
    weights: Option<PathBuf>,
    /// Weights from the Hugging Face Hub: a tag (`mish models NAME` lists them),
    /// hf://owner/name[@revision][/file], or without a value the network's default. embedded: the
    /// weights built into this program (`mish models --embedded` lists them). A file is read as with
    /// --weights
    #[arg(long, value_name = "TAG", num_args = 0..=1, default_missing_value = "", group = "source")]
    pretrained: Option<String>,
    /// The .cfg file of darknet weights [default: the file with the name of the weights and the
    /// extension .cfg]
    #[arg(
        long,
        value_name = "FILE",
        requires = "weights",
        conflicts_with = "state_dict_key"
    )]
    cfg: Option<PathBuf>,
    /// State dict to load if a PyTorch file holds several, as a dotted path such as state.model
    /// [default: chosen, with a warning that lists the others]
    #[arg(long, value_name = "KEY")]
    state_dict_key: Option<String>,
}

impl WeightsArgs {
    /// Reads the weights. `model` and `activation` come from the command line. `offline` uses only
    /// the Hub's cache.
    ///
    /// # Errors
    /// If the weights cannot be found or read.
    pub fn read(
        &self,
        model: Option<&str>,
        activation: Option<Activation>,
        offline: bool,
        context: &Context,
    ) -> anyhow::Result<Weights> {
        if let Some((path, cfg)) = self.weights.as_ref().zip(self.cfg.as_ref()) {
            return Weights::read_darknet(path, cfg, model);
        }
        match (&self.weights, &self.pretrained) {
            (Some(path), _) => Weights::read(path, model, self.state_dict_key.as_deref()),
            (None, Some(text)) => fetch(
                (model, activation),
                text,
                self.state_dict_key.as_deref(),
                offline,
                context,
            ),
            // clap requires one of them.
            (None, None) => Err(usage("give --weights or --pretrained")),
        }
    }
}

/// Finds, downloads and reads the weights that `text` names for a model. Embedded weights with its
/// activation come before others. `state_dict_key` names the
/// table of weights in a PyTorch file.
///
/// # Errors
/// If `text` names no weights, or the Hub does not provide them.
pub fn fetch(
    (model, activation): (Option<&str>, Option<Activation>),
    text: &str,
    state_dict_key: Option<&str>,
    offline: bool,
    context: &Context,
) -> anyhow::Result<Weights> {
    let mut bar: Option<(String, ProgressBar)> = None;
    let mut progress = |file: &str, received: u64, expected: u64| {
        if bar.as_ref().is_none_or(|(name, _)| name != file) {
            finish(bar.take());
        }
        let (_, bar) = bar.get_or_insert_with(|| (file.to_string(), new_bar(file, context)));
        bar.set_length(expected);
        bar.set_position(received);
    };
    let options = FetchOptions {
        offline,
        activation,
        state_dict_key: state_dict_key.map(str::to_string),
        progress: &mut progress,
    };
    let weights = weights::fetch(model, text, options);
    finish(bar);
    let weights = weights.map_err(|error| match (error, hub_address(text)) {
        // `--pretrained cat.png` takes the image as the name of the weights.
        (LoadError::Model(error @ ModelError::Option(_)), _)
            if model.is_some() && is_file(text) =>
        {
            usage(format!("{error}; files go before --pretrained"))
        }
        (LoadError::Model(ModelError::Option(_)), Some(address)) => usage(format!(
            "a repository on the Hub has an address: --pretrained {address}"
        )),
        (error, _) => explained(error),
    })?;
    tracing::info!("weights from {}", weights.origin);
    Ok(weights.into())
}

fn is_file(text: &str) -> bool {
    Path::new(text).is_file()
}

/// The address of the repository that `text` names as timm or the Hub does: `hf-hub:owner/name` or
/// `owner/name`.
fn hub_address(text: &str) -> Option<String> {
    let name = text.strip_prefix("hf-hub:").unwrap_or(text);
    let (owner, repository) = name.split_once('/')?;
    let plain = |part: &str| !part.is_empty() && !part.contains([':', '/']);
    let is_name = plain(owner) && plain(repository) && !Path::new(text).exists();
    is_name.then(|| format!("hf://{name}"))
}

fn finish(bar: Option<(String, ProgressBar)>) {
    if let Some((_, bar)) = bar {
        bar.finish_and_clear();
    }
}

/// The bar of a download, on a terminal.
fn new_bar(name: &str, context: &Context) -> ProgressBar {
    let template = "{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    let bar = terminal_bar(context);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.with_message(name.to_string())
}

/// A progress bar, which is hidden if stderr is no terminal.
pub fn terminal_bar(context: &Context) -> ProgressBar {
    if std::io::stderr().is_terminal() {
        context.bars.add(ProgressBar::new(0))
    } else {
        ProgressBar::hidden()
    }
}
