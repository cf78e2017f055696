//! `mish models`: lists the networks, or the layers of one.

mod embedded;
mod layers;
mod list;
mod markdown;
mod rows;

use candle_mish::activation::Activation;
use candle_mish_models::{self as models, Stem};

use crate::args::range::{MAX_CLASSES, count};
use crate::context::Context;
use crate::failure::{Done, usage};
use crate::network::choice;
use crate::output;
use layers::{Form, layer_table, layers};
use list::list;
use markdown::markdown;
use rows::Row;

/// Limit of `--img-size`. The command runs an image of this size through the network, which takes
/// gigabytes of memory for some networks.
const MAX_IMAGE: usize = 1024;
/// Heading of the flags that apply to the layers of one network.
const LAYERS: &str = "Layers of one network";

/// Flags of `mish models`.
#[derive(Debug, clap::Args)]
pub struct ModelsArgs {
    /// A network, to show its layers; or part of a name or family, or a pattern with * (any text)
    /// and ? (any character), to list matching networks
    pattern: Option<String>,
    /// Form of the network: cifar or imagenet
    #[arg(long, value_name = "NAME", default_value_t = Stem::Cifar, help_heading = LAYERS)]
    stem: Stem,
    /// Activation
    #[arg(long, value_name = "NAME", default_value = "mish", help_heading = LAYERS)]
    activation: Activation,
    /// Number of classes [default: 100, or 1000 with --stem imagenet]
    #[arg(long, value_name = "N", help_heading = LAYERS, value_parser = count(1..=MAX_CLASSES))]
    num_classes: Option<usize>,
    /// Height and width of the image [default: the network's own]
    #[arg(long, value_name = "PIXELS", help_heading = LAYERS,
          value_parser = count(1..=MAX_IMAGE))]
    img_size: Option<usize>,
    /// List the weights built into this program
    #[arg(long, conflicts_with_all = ["pattern", "markdown"])]
    embedded: bool,
    /// Print the list as the page docs/models.md
    #[arg(long, conflicts_with = "pattern")]
    markdown: bool,
}

/// Prints the networks, or the layers of one.
///
/// # Errors
/// If no network matches, or a flag does not suit the network.
pub fn run(args: &ModelsArgs, context: &Context) -> anyhow::Result<Done> {
    if args.embedded {
        let rows = embedded::rows(None);
        if context.json {
            output::json(&rows)?;
        } else {
            output::text(&embedded::list(&rows))?;
        }
        return Ok(Done::Complete);
    }
    let pattern = args.pattern.as_deref().unwrap_or_default().to_lowercase();
    let found = models::find(&pattern);
    if let Ok(entry) = found {
        let form = Form {
            stem: args.stem,
            activation: args.activation,
            num_classes: args.num_classes,
            img_size: args.img_size,
        };
        let layers = layers(entry, &form)?;
        if context.json {
            output::json(&layers)?;
        } else {
            output::text(&layer_table(&layers))?;
        }
        return Ok(Done::Complete);
    }
    let rows: Vec<Row> = models::list(&pattern).into_iter().map(Row::from).collect();
    if rows.is_empty() {
        // The error suggests a similar name.
        return Err(found.map_or_else(choice, |_| usage("no network matches")));
    }
    if context.json {
        output::json(&rows)?;
    } else if args.markdown {
        output::text(&markdown(&rows))?;
    } else {
        output::text(&list(&rows))?;
    }
    Ok(Done::Complete)
}
