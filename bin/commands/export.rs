//! `mish export`: writes weights for other programs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use candle_core::{DType, Device, Tensor};
use candle_mish::autograd::trace::trace;
use candle_mish::checkpoint::{self, write_atomically};
use candle_mish::data::Preprocess;
use candle_mish::onnx::{self, ExportOptions};
use candle_mish_models::{ModelSpec, Stem};
use serde::Serialize;

use crate::args::{NetworkArgs, OUTPUT, PreprocessArgs};
use crate::context::Context;
use crate::device;
use crate::failure::{Done, usage};
use crate::network::{Network, Weights};
use crate::output_file::OutputFile;
use crate::source::WeightsArgs;
use crate::table::thousands;
use crate::{output, preprocessing};

/// Images in the traced batch: two, so that the trace fails if a network mixes images.
const TRACED: usize = 2;

/// Flags of `mish export`.
#[derive(Debug, clap::Args)]
#[command(allow_negative_numbers = true)]
pub struct ExportArgs {
    /// The network [default: from the weights]
    model: Option<String>,
    #[command(flatten, next_help_heading = "Weights")]
    weights: WeightsArgs,
    /// Use only local files
    #[arg(long, help_heading = "Weights")]
    offline: bool,
    #[command(flatten)]
    network: NetworkArgs,
    /// File to write
    #[arg(long, short, value_name = "FILE", help_heading = OUTPUT)]
    out: PathBuf,
    /// safetensors (with the keys of timm or torchvision) or onnx [default: from the extension of
    /// --out]
    #[arg(long, value_name = "NAME", help_heading = OUTPUT)]
    format: Option<Format>,
    /// safetensors: type of the floating-point values, f32, f16 or bf16 [default: f32]
    #[arg(long, value_name = "NAME", help_heading = OUTPUT)]
    dtype: Option<FloatType>,
    #[arg(long, value_name = "N", help_heading = OUTPUT, value_parser = opset, help = opset_help())]
    opset: Option<i64>,
    /// onnx: compose Mish and HardSwish from older operators, for runtimes that lack them
    #[arg(long, help_heading = OUTPUT)]
    decompose: bool,
    // An ONNX file records the preprocessing.
    #[command(flatten)]
    preprocess: PreprocessArgs,
}

fn opset(text: &str) -> Result<i64, String> {
    match text.parse() {
        Ok(opset) if onnx::OPSETS.contains(&opset) => Ok(opset),
        _ => {
            let (first, last) = (onnx::OPSETS.start(), onnx::OPSETS.end());
            Err(format!("must be a whole number from {first} to {last}"))
        }
    }
}

fn opset_help() -> String {
    let (first, last) = (onnx::OPSETS.start(), onnx::OPSETS.end());
    format!(
        "onnx: version of the operator set, {first} to {last}. Mish is an operator from 18 on and is \
         composed from others before [default: {}]",
        onnx::OPSET
    )
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    Safetensors,
    Onnx,
}

/// The type of the values in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum FloatType {
    F32,
    F16,
    Bf16,
}

#[derive(Serialize)]
struct Answer<'a> {
    file: &'a Path,
    format: Format,
    #[serde(skip_serializing_if = "Option::is_none")]
    dtype: Option<FloatType>,
    model: &'a str,
    activation: String,
    stem: Stem,
    num_classes: usize,
    params: usize,
    /// The graph of an ONNX file.
    #[serde(skip_serializing_if = "Option::is_none")]
    graph: Option<Graph>,
}

#[derive(Serialize)]
struct Graph {
    opset: i64,
    nodes: usize,
    /// Without the batch axis, which is dynamic.
    input: Vec<usize>,
}

/// Exports a network and prints what it wrote.
///
/// # Errors
/// If flags or weights are wrong, an op has no ONNX form, or the file cannot be written.
pub fn run(args: &ExportArgs, context: &Context) -> anyhow::Result<Done> {
    let format = format(args)?;
    if format == Format::Safetensors
        && let Some(flag) = preprocessing::given(&args.preprocess).next()
    {
        return Err(usage(format!(
            "{flag} needs --format onnx: a safetensors file records what the weights record"
        )));
    }
    if format == Format::Safetensors && (args.opset.is_some() || args.decompose) {
        return Err(usage("--opset and --decompose need --format onnx"));
    }
    if format == Format::Onnx && args.dtype.is_some() {
        return Err(usage("--dtype needs --format safetensors"));
    }
    let file = OutputFile::of_any_content("--out", &args.out)?;
    // A trace needs our own ops. Other devices compose them from Candle's.
    device::stay_on_cpu();
    let model = args.model.as_deref();
    let weights = args
        .weights
        .read(model, args.network.activation, args.offline, context)?;
    file.check_is_no_input([weights.path.as_path()], "the file of the weights")?;
    let spec = weights.spec(&args.network.model_args(model))?;
    let network = Network::load(&spec, &weights)?;
    let metadata = metadata(&spec, &weights);
    let graph = match format {
        Format::Safetensors => {
            let tensors = match args.dtype {
                None => network.store.tensors(),
                Some(dtype) => converted(network.store.tensors(), dtype)?,
            };
            checkpoint::write(&args.out, &tensors, &metadata)?;
            None
        }
        Format::Onnx => Some(write_onnx(args, &spec, &network, &weights, metadata)?),
    };
    let answer = Answer {
        file: &args.out,
        format,
        dtype: args.dtype,
        model: &spec.model,
        activation: spec.activation.to_string(),
        stem: spec.stem,
        num_classes: spec.num_classes,
        params: network.store.num_params(),
        graph,
    };
    report(&answer, context)?;
    Ok(Done::Complete)
}

/// The tensors with floating-point values of another type. Integers keep theirs.
fn converted(
    tensors: Vec<(String, Tensor)>,
    dtype: FloatType,
) -> anyhow::Result<Vec<(String, Tensor)>> {
    let dtype = match dtype {
        FloatType::F32 => DType::F32,
        FloatType::F16 => DType::F16,
        FloatType::Bf16 => DType::BF16,
    };
    let convert = |(path, tensor): (String, Tensor)| {
        if !tensor.dtype().is_float() {
            return Ok((path, tensor));
        }
        let converted = tensor.to_dtype(dtype)?;
        let values = converted.to_dtype(DType::F32)?.flatten_all()?;
        if !values
            .to_vec1::<f32>()?
            .iter()
            .all(|value| value.is_finite())
        {
            bail!("{path} has values that {} cannot hold", dtype.as_str());
        }
        Ok((path, converted))
    };
    tensors.into_iter().map(convert).collect()
}

/// The format from the flags.
fn format(args: &ExportArgs) -> anyhow::Result<Format> {
    let extension = args
        .out
        .extension()
        .and_then(|extension| extension.to_str());
    match (args.format, extension) {
        (Some(format), _) => Ok(format),
        (None, Some("safetensors")) => Ok(Format::Safetensors),
        (None, Some("onnx")) => Ok(Format::Onnx),
        (None, _) => Err(usage(format!(
            "--out {}: the extension must be .safetensors or .onnx, or give --format",
            args.out.display()
        ))),
    }
}

/// The header of the weights, updated with the network that is exported.
fn metadata(spec: &ModelSpec, weights: &Weights) -> BTreeMap<String, String> {
    let mut metadata = weights.checkpoint.metadata.clone();
    metadata.insert("format".to_string(), "pt".to_string());
    metadata.extend(spec.to_metadata());
    metadata
}

/// Traces the network and writes its graph.
fn write_onnx(
    args: &ExportArgs,
    spec: &ModelSpec,
    network: &Network,
    weights: &Weights,
    mut metadata: BTreeMap<String, String>,
) -> anyhow::Result<Graph> {
    let Preprocess {
        input_size: size,
        crop_pct,
        interpolation,
        mean,
        std,
    } = preprocessing::for_weights(weights, spec, None, &args.preprocess)?;
    let channels = spec.in_chans;
    let images = Tensor::zeros((TRACED, channels, size, size), DType::F32, &Device::Cpu)?;
    let forward = |images: &Tensor| network.frozen.forward_t(images, false);
    let graph = trace(&images, network.store.tensors(), forward)
        .with_context(|| format!("{spec} cannot be exported"))?;
    // "format" belongs to checkpoints. Readers of the ONNX file need the preprocessing.
    metadata.remove("format");
    metadata.insert("image_size".to_string(), size.to_string());
    metadata.insert("mean".to_string(), serde_json::to_string(&mean)?);
    metadata.insert("std".to_string(), serde_json::to_string(&std)?);
    metadata.insert("crop_pct".to_string(), crop_pct.to_string());
    metadata.insert("interpolation".to_string(), interpolation.to_string());
    let metadata: Vec<(String, String)> = metadata.into_iter().collect();
    let options = ExportOptions {
        opset: args.opset.unwrap_or(onnx::OPSET),
        decompose: args.decompose,
    };
    let proto = onnx::model_with(&graph, &spec.model, &metadata, &options)
        .with_context(|| format!("{spec} cannot be exported"))?;
    let bytes = proto.to_bytes();
    if i32::try_from(bytes.len()).is_err() {
        bail!(
            "{spec} takes {} bytes; an ONNX file must be smaller than 2 GiB",
            bytes.len()
        );
    }
    write_atomically(&args.out, |file| file.write_all(&bytes))
        .with_context(|| format!("cannot write {}", args.out.display()))?;
    Ok(Graph {
        opset: options.opset,
        nodes: proto.graph.map_or(0, |graph| graph.node.len()),
        input: vec![channels, size, size],
    })
}

fn report(answer: &Answer, context: &Context) -> anyhow::Result<()> {
    if context.json {
        return output::json(answer);
    }
    let form = match &answer.graph {
        None => match answer.dtype {
            None => "safetensors".to_string(),
            Some(dtype) => format!("safetensors, {dtype:?}").to_lowercase(),
        },
        Some(Graph {
            opset,
            nodes,
            input,
        }) => format!("ONNX with opset {opset}, {nodes} nodes, images {input:?}"),
    };
    output::text(&format!(
        "{}: {} with {}, {} classes, the {} stem, {} parameters; {form}",
        answer.file.display(),
        answer.model,
        answer.activation,
        answer.num_classes,
        answer.stem,
        thousands(answer.params as u64),
    ))
}
