//! `mish models`: lists the networks, or the layers of one.

use candle_core::{DType, Tensor};
use candle_mish::activation::Activation;
use candle_mish::nn::{LayerRecord, summarize};
use candle_mish_models::pretrained::Pretrained;
use candle_mish_models::{self as models, Entry, Form, Stem};
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::args::positive;
use crate::failure::{Done, usage};
use crate::network::{Architecture, Network};
use crate::{Context, output};

/// Flags of `mish models`.
#[derive(Debug, clap::Args)]
pub struct ModelsArgs {
    /// The network whose layers to show; or only networks whose name or family contains this,
    /// where * stands for any text
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

/// A network with its layers.
#[derive(Serialize)]
struct Layers {
    name: &'static str,
    family: &'static str,
    paper: &'static str,
    stem: Stem,
    activation: String,
    num_classes: usize,
    input: [usize; 3],
    params: usize,
    multiply_adds: u64,
    pretrained: Vec<Weights>,
    layers: Vec<Layer>,
}

#[derive(Serialize)]
struct Layer {
    path: String,
    kind: &'static str,
    /// Without the batch.
    output: Vec<usize>,
    params: usize,
    multiply_adds: u64,
}

impl From<LayerRecord> for Layer {
    fn from(record: LayerRecord) -> Self {
        Self {
            path: record.path,
            kind: record.kind,
            output: record.output.into_iter().skip(1).collect(),
            params: record.params,
            multiply_adds: record.multiply_adds,
        }
    }
}

/// Lists.
pub fn run(args: &ModelsArgs, context: &Context) -> anyhow::Result<Done> {
    let pattern = args.pattern.as_deref().unwrap_or_default().to_lowercase();
    if let Ok(entry) = models::find(&pattern) {
        let layers = layers(entry, args)?;
        if context.json {
            output::json(&layers)?;
        } else {
            output::text(&layer_table(&layers))?;
        }
        return Ok(Done::Complete);
    }
    let rows: Vec<Row> = models::entries()
        .filter(|entry| contains(entry.name, &pattern) || contains(entry.family, &pattern))
        .map(Row::from)
        .collect();
    if rows.is_empty() {
        // Says which name is similar.
        return Err(models::find(&pattern).map_or_else(usage, |_| usage("no network")));
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

/// Runs an empty image through the network and notes its layers.
fn layers(entry: &Entry, args: &ModelsArgs) -> anyhow::Result<Layers> {
    let (channels, height, width) = entry.form(args.stem).map_err(usage)?.input;
    let (height, width) = match args.img_size {
        Some(size) => (size, size),
        None => (height, width),
    };
    let num_classes = args.num_classes.unwrap_or(match args.stem {
        Stem::Cifar => 100,
        Stem::ImageNet => 1000,
    });
    let architecture = Architecture::evaluated(
        entry.name.to_string(),
        args.activation,
        num_classes,
        args.stem,
    );
    let network = Network::new(&architecture, 0)?;
    let image = Tensor::zeros(
        (1, channels, height, width),
        DType::F32,
        network.store.device(),
    )?;
    let (_, records) = summarize(|| network.frozen.forward_t(&image, false))?;
    Ok(Layers {
        name: entry.name,
        family: entry.family,
        paper: entry.paper,
        stem: args.stem,
        activation: args.activation.to_string(),
        num_classes,
        input: [channels, height, width],
        params: network.store.num_params(),
        multiply_adds: records.iter().map(|record| record.multiply_adds).sum(),
        pretrained: entry.pretrained().map(Weights::from).collect(),
        layers: records.into_iter().map(Layer::from).collect(),
    })
}

fn layer_table(network: &Layers) -> String {
    let mut table = table(&["layer", "type", "output", "parameters", "multiply-adds"]);
    for layer in &network.layers {
        table.add_row([
            layer.path.clone(),
            layer.kind.to_string(),
            shape(&layer.output),
            thousands(layer.params as u64),
            thousands(layer.multiply_adds),
        ]);
    }
    table.add_row([
        "total".to_string(),
        String::new(),
        String::new(),
        thousands(network.params as u64),
        thousands(network.multiply_adds),
    ]);
    align_right(&mut table, &[2, 3, 4]);
    let weights = if network.pretrained.is_empty() {
        String::new()
    } else {
        format!(
            "\n\nweights (--pretrained TAG)\n\n{}",
            weights_table(&network.pretrained)
        )
    };
    format!(
        "{} ({}) with {}, {} classes, for an image of {}\n\n{}{weights}",
        network.name,
        network.paper,
        network.activation,
        network.num_classes,
        shape(&network.input),
        table.trim_fmt()
    )
}

fn weights_table(weights: &[Weights]) -> String {
    let mut table = table(&[
        "tag",
        "repository",
        "classes",
        "images",
        "crop",
        "filter",
        "licence",
    ]);
    for row in weights {
        table.add_row([
            row.tag.to_string(),
            row.repo.to_string(),
            row.num_classes.to_string(),
            format!("{0}x{0}", row.input_size),
            row.crop_pct.to_string(),
            row.interpolation.to_string(),
            row.license.to_string(),
        ]);
    }
    align_right(&mut table, &[2]);
    table.trim_fmt()
}

fn list(rows: &[Row]) -> String {
    let mut table = table(&[
        "model",
        "family",
        "CIFAR-100: parameters",
        "multiply-adds",
        "ImageNet: parameters",
        "multiply-adds",
        "input",
        "weights",
        "paper",
    ]);
    for row in rows {
        let [params, multiply_adds, _] = size_cells(Some(&row.cifar));
        let [imagenet_params, imagenet_multiply_adds, input] = size_cells(row.imagenet.as_ref());
        table.add_row([
            row.name.to_string(),
            row.family.to_string(),
            params,
            multiply_adds,
            imagenet_params,
            imagenet_multiply_adds,
            input,
            short_tags(&row.pretrained),
            row.paper.to_string(),
        ]);
    }
    align_right(&mut table, &[2, 3, 4, 5, 6]);
    table.trim_fmt()
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

/// The page docs/models.md.
fn markdown(rows: &[Row]) -> String {
    let mut page = String::from(
        "# The networks\n\n\
         <!-- Written by `mish models --markdown`; a test compares. -->\n\n\
         Parameters and multiply-adds (of convolutions and linear layers, for one image) with an\n\
         activation that has no parameters of its own. The CIFAR form has 100 classes and takes\n\
         32x32 images, the ImageNet form has 1000 classes and the size given. `mish models NAME`\n\
         shows the layers of one, `--stem imagenet` those of its ImageNet form. The weights are those\n\
         that `--pretrained` takes from the Hugging Face Hub, the default first; their table is below.\n",
    );
    let mut family = "";
    for row in rows {
        if row.family != family {
            family = row.family;
            page += &format!(
                "\n## {family}\n\n`train-{family}`\n\n\
                 | model | CIFAR-100: parameters | multiply-adds | ImageNet: parameters | multiply-adds | input | weights | paper |\n\
                 | --- | ---: | ---: | ---: | ---: | --- | --- | --- |\n"
            );
        }
        let [params, multiply_adds, _] = size_cells(Some(&row.cifar));
        let [imagenet_params, imagenet_multiply_adds, input] = size_cells(row.imagenet.as_ref());
        let cells = [
            format!("`{}`", row.name),
            params,
            multiply_adds,
            imagenet_params,
            imagenet_multiply_adds,
            input,
            short_tags(&row.pretrained),
            paper_link(row.paper),
        ];
        page += &format!("| {} |\n", cells.join(" | "));
    }
    page += &weights_page(rows);
    page
}

/// The page's table of weights.
fn weights_page(rows: &[Row]) -> String {
    let mut page = String::from(
        "\n## Weights on the Hugging Face Hub\n\n\
         With `--pretrained TAG`. The size of the images, the share that is kept of a scaled picture\n\
         and the filter are those that the weights were made for.\n\n\
         | model | tag | repository | activation | classes | images | crop | filter | mean | std | licence |\n\
         | --- | --- | --- | --- | ---: | --- | ---: | --- | --- | --- | --- |\n",
    );
    let numbers = |values: [f32; 3]| values.map(|value| value.to_string()).join(", ");
    for (model, row) in rows
        .iter()
        .flat_map(|row| row.pretrained.iter().map(|w| (row.name, w)))
    {
        let repo = row.repo;
        let cells = [
            format!("`{model}`"),
            format!("`{}`", row.tag),
            format!("[{repo}](https://huggingface.co/{repo})"),
            row.activation.clone(),
            row.num_classes.to_string(),
            format!("{0}x{0}", row.input_size),
            row.crop_pct.to_string(),
            row.interpolation.to_string(),
            numbers(row.mean),
            numbers(row.std),
            row.license.to_string(),
        ];
        page += &format!("| {} |\n", cells.join(" | "));
    }
    page
}

/// A link for an arXiv number; any other text as it is.
fn paper_link(paper: &str) -> String {
    match paper.strip_prefix("arXiv:") {
        Some(number) => format!("[{paper}](https://arxiv.org/abs/{number})"),
        None => paper.to_string(),
    }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(header);
    table
}

fn align_right(table: &mut Table, columns: &[usize]) {
    for column in columns {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// [16, 32, 32] as 16x32x32.
fn shape(dims: &[usize]) -> String {
    let dims: Vec<String> = dims.iter().map(ToString::to_string).collect();
    dims.join("x")
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
fn thousands(number: u64) -> String {
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
