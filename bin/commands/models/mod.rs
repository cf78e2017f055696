//! `mish models`: lists the networks, or the layers of one.

mod layers;
mod list;
mod markdown;

use candle_mish::activation::Activation;
use candle_mish_models::pretrained::Pretrained;
use candle_mish_models::{self as models, Entry, Form, Stem};
use serde::Serialize;

use crate::args::positive;
use crate::failure::{Done, usage};
use crate::table::thousands;
use crate::{Context, output};
use layers::{layer_table, layers};
use list::list;
use markdown::markdown;

/// Flags of `mish models`.
#[derive(Debug, clap::Args)]
pub struct ModelsArgs {
    /// The network whose layers to show; or only networks whose name or family contains this, or
    /// is this where it has wildcards: * for any text and ? for one character
    pattern: Option<String>,
    /// The form whose layers to show: cifar or imagenet
    #[arg(long, value_name = "NAME", default_value_t = Stem::Cifar)]
    stem: Stem,
    /// The activation of the network whose layers to show
    #[arg(long, value_name = "NAME", default_value = "mish")]
    activation: Activation,
    /// Classes of the network whose layers to show [default: 100, or 1000 with --stem imagenet]
    #[arg(long, value_name = "N", value_parser = positive)]
    num_classes: Option<usize>,
    /// Height and width of the image that goes through the layers [default: the form's own]
    #[arg(long, value_name = "PIXELS", value_parser = positive)]
    img_size: Option<usize>,
    /// Print the list as the page docs/models.md
    #[arg(long, conflicts_with = "pattern")]
    markdown: bool,
}

/// A network in the list.
#[derive(Serialize)]
struct Row {
    name: &'static str,
    family: &'static str,
    paper: &'static str,
    /// For CIFAR-100.
    cifar: Size,
    /// For ImageNet, if it has such a form.
    imagenet: Option<Size>,
    /// Weights on the Hugging Face Hub, the default first.
    pretrained: Vec<Weights>,
}

/// Weights that `--pretrained` takes by their tag.
#[derive(Serialize)]
struct Weights {
    tag: &'static str,
    repo: &'static str,
    file: &'static str,
    stem: Stem,
    activation: String,
    num_classes: usize,
    input_size: usize,
    crop_pct: f64,
    interpolation: &'static str,
    mean: [f32; 3],
    std: [f32; 3],
    license: &'static str,
}

impl From<&Pretrained> for Weights {
    fn from(row: &Pretrained) -> Self {
        Self {
            tag: row.tag,
            repo: row.repo,
            file: row.file,
            stem: row.stem,
            activation: row.activation.to_string(),
            num_classes: row.num_classes,
            input_size: row.input_size,
            crop_pct: row.crop_pct,
            interpolation: row.interpolation,
            mean: row.mean,
            std: row.std,
            license: row.license,
        }
    }
}

#[derive(Serialize)]
struct Size {
    params: usize,
    multiply_adds: u64,
    input: [usize; 3],
}

impl From<&Form> for Size {
    fn from(form: &Form) -> Self {
        let (channels, height, width) = form.input;
        Self {
            params: form.params,
            multiply_adds: form.multiply_adds,
            input: [channels, height, width],
        }
    }
}

impl From<&Entry> for Row {
    fn from(entry: &Entry) -> Self {
        Self {
            name: entry.name,
            family: entry.family,
            paper: entry.paper,
            cifar: (&entry.cifar).into(),
            imagenet: entry.imagenet.as_ref().map(Size::from),
            pretrained: entry.pretrained().map(Weights::from).collect(),
        }
    }
}

/// Lists.
pub fn run(args: &ModelsArgs, context: &Context) -> anyhow::Result<Done> {
    let pattern = args.pattern.as_deref().unwrap_or_default().to_lowercase();
    let found = models::find(&pattern);
    if let Ok(entry) = found {
        let layers = layers(entry, args)?;
        if context.json {
            output::json(&layers)?;
        } else {
            output::text(&layer_table(&layers))?;
        }
        return Ok(Done::Complete);
    }
    let rows: Vec<Row> = models::list(&pattern).into_iter().map(Row::from).collect();
    if rows.is_empty() {
        // Says which name is similar.
        return Err(found.map_or_else(usage, |_| usage("no network")));
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

/// The default weights' tag and how many others there are.
fn short_tags(weights: &[Weights]) -> String {
    match weights {
        [] => String::new(),
        [only] => only.tag.to_string(),
        [first, others @ ..] => format!("{} and {} more", first.tag, others.len()),
    }
}

/// Parameters, millions of multiply-adds and the input's size.
fn size_cells(size: Option<&Size>) -> [String; 3] {
    match size {
        None => Default::default(),
        Some(size) => [
            thousands(size.params as u64),
            format!(
                "{} M",
                thousands((size.multiply_adds + 500_000) / 1_000_000)
            ),
            format!("{0}x{0}", size.input[1]),
        ],
    }
}
