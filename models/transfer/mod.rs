//! Copies weights of other programs or tasks into a network and reports every tensor.

mod matching;
mod notes;

use std::collections::HashMap;

use candle_core::{DType, Result, Shape, Tensor};
use candle_mish::nn::{LoadReport, ParamStore};

use crate::entry::Entry;
use crate::key_style::KeyStyle;
use crate::model::Model;
use crate::tensors::Tensors;
use matching::{differs_in_channels, is_reshaped};

pub(crate) use matching::Matching;
#[cfg(feature = "checkpoint")]
pub(crate) use matching::Score;

/// The image channels of weights that can be adapted.
pub(crate) const BASE_CHANNELS: usize = 3;

/// A counter that old checkpoints lack. It affects no result.
const COUNTER: &str = "num_batches_tracked";

/// Tensors of floating-point values that training tools keep with the weights, by the last part of
/// their keys: the operations that a profiler counted, and the keys of contrastive learning.
const BOOKKEEPING: [&str; 3] = ["total_ops", "total_params", "queue"];

/// The result of [`load`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transfer {
    /// The prefix that was removed from all keys: the one with which most tensors fit.
    pub prefix: String,
    /// Other prefixes with which as many tensors fit.
    pub other_prefixes: Vec<String>,
    /// The program whose key style the weights have, if it is not the network's own.
    pub style: Option<&'static str>,
    /// The number of keys that were renamed from that style.
    pub renamed: usize,
    /// The number of ignored tensors. They belong to parts that the network does not have, such as
    /// auxiliary classifiers.
    pub ignored: usize,
    /// The tensors without the prefix, and counters and queues of training tools: they belong to
    /// other parts of the training, such as a second network or its projection head.
    pub passed_over: Vec<String>,
    /// The number of biases that were subtracted from the running means of norms, because the
    /// network's convolutions have none.
    pub merged_biases: usize,
    /// The key of the first convolution if its weights were adapted, with the old and the new
    /// number of image channels.
    pub adapted: Option<(String, usize, usize)>,
    /// The path of the classifier.
    pub classifier: String,
    /// The number of classes of the checkpoint's classifier, if it has one.
    pub classes: Option<usize>,
    /// Whether the network's classifier keeps its initial values, because the checkpoint has none
    /// of its shape.
    pub fresh_classifier: bool,
    /// All other tensors that are missing, unexpected or of another shape.
    pub report: LoadReport,
}

/// Copies the weights that fit into a network of `entry` that was built on `store`:
///
/// - removes the prefix with which most tensors fit, and passes over tensors without it;
/// - renames the key styles of other programs and versions;
/// - reshapes between linear layers and 1x1 convolutions (larger ones after a flattened map);
/// - subtracts biases of convolutions that the network does not have from the norms after them;
/// - adapts the first convolution to another number of image channels with
///   [`adapt_input_conv`];
/// - keeps the initial classifier if the number of classes differs.
///
/// Values of any floating-point type are converted to the type of the network's tensors. The caller
/// decides whether the tensors in [`Transfer::report`] are acceptable.
///
/// # Errors
/// If a value cannot be converted.
pub fn load(
    model: &dyn Model,
    entry: &Entry,
    store: &ParamStore,
    checkpoint: &HashMap<String, Tensor>,
) -> Result<Transfer> {
    let tensors = store.tensors().into_iter();
    let shapes = tensors.map(|(name, tensor)| (name, tensor.shape().clone()));
    let network = Tensors::new(shapes, model.classifier());
    let matching = Matching::best(entry, &network, checkpoint);
    let mut tensors = HashMap::with_capacity(matching.names.len());
    let mut renamed = 0;
    for (key, name) in &matching.names {
        renamed += usize::from(key[matching.prefix.len()..] != **name);
        if let Some(tensor) = checkpoint.get(key) {
            tensors.insert(name.clone(), tensor.clone());
        }
    }
    let mut transfer = Transfer {
        classifier: network.classifier.clone(),
        style: matching.style.map(|style| style.name),
        renamed,
        ignored: matching.ignored.len(),
        passed_over: matching.outside,
        prefix: matching.prefix,
        other_prefixes: matching.alternatives,
        ..Transfer::default()
    };
    if let Some(style) = matching.style {
        transfer.merge_biases(style, &network, &mut tensors)?;
    }
    for (name, tensor) in &mut tensors {
        if let Some(shape) = network.shapes.get(name)
            && is_reshaped(tensor.shape(), shape)
        {
            *tensor = tensor.reshape(shape)?;
        }
    }
    transfer.adapt_input(&network, &mut tensors)?;
    transfer.pass_over_bookkeeping(&network, &mut tensors);
    let unfit = transfer.remove_unfit_classifier(&network, &mut tensors);
    transfer.report = store.load_tensors(&tensors)?;
    transfer.fresh_classifier = unfit;
    let LoadReport {
        missing,
        unexpected,
        ..
    } = &mut transfer.report;
    let counter = |name: &String| name.ends_with(COUNTER);
    let of_classifier = |name: &String| unfit && is_below(name, model.classifier());
    missing.retain(|name| !counter(name) && !of_classifier(name));
    unexpected.retain(|name| !counter(name));
    Ok(transfer)
}

impl Transfer {
    /// Whether every tensor outside the classifier was loaded.
    pub fn is_complete(&self) -> bool {
        self.report.is_exact()
    }

    /// Subtracts biases that the network's convolutions do not have from the running means of the
    /// norms after them, which give the same result.
    fn merge_biases(
        &mut self,
        style: &KeyStyle,
        network: &Tensors,
        tensors: &mut HashMap<String, Tensor>,
    ) -> Result<()> {
        let norm_of = |name: &str| {
            let (layer, conv) = name.strip_suffix(".bias")?.rsplit_once('.')?;
            let (_, norm) = style
                .biases
                .iter()
                .find(|(with_bias, _)| *with_bias == conv)?;
            let merged = !network.shapes.contains_key(name);
            merged.then(|| format!("{layer}.{norm}.running_mean"))
        };
        let pairs = tensors.keys();
        let pairs = pairs.filter_map(|name| Some((name.clone(), norm_of(name)?)));
        for (bias, mean) in pairs.collect::<Vec<_>>() {
            if let Some(means) = tensors.get(&mean)
                && let Some(values) = tensors.get(&bias).filter(|b| b.shape() == means.shape())
            {
                let difference = (means - values.to_dtype(means.dtype())?)?;
                tensors.insert(mean, difference);
                tensors.remove(&bias);
                self.merged_biases += 1;
            }
        }
        Ok(())
    }

    /// Adapts the first convolution if only the number of image channels differs.
    fn adapt_input(
        &mut self,
        network: &Tensors,
        tensors: &mut HashMap<String, Tensor>,
    ) -> Result<()> {
        let Some(name) = &network.first_conv else {
            return Ok(());
        };
        let (Some(wanted), Some(weight)) = (network.shapes.get(name), tensors.get(name)) else {
            return Ok(());
        };
        let (want, have) = (wanted.dims(), weight.dims());
        if differs_in_channels(have, want) && have[1] == BASE_CHANNELS {
            let channels = want[1];
            let adapted = adapt_input_conv(weight, channels)?;
            tensors.insert(name.clone(), adapted);
            self.adapted = Some((name.clone(), BASE_CHANNELS, channels));
        }
        Ok(())
    }

    /// Removes counters and queues that the network lacks.
    fn pass_over_bookkeeping(&mut self, network: &Tensors, tensors: &mut HashMap<String, Tensor>) {
        let counts = |name: &str, tensor: &Tensor| {
            let last = name.rsplit('.').next().unwrap_or(name);
            !tensor.dtype().is_float() || tensor.rank() == 0 || BOOKKEEPING.contains(&last)
        };
        let before = self.passed_over.len();
        tensors.retain(|name, tensor| {
            let kept = network.shapes.contains_key(name)
                || name.ends_with(COUNTER)
                || !counts(name, tensor);
            if !kept {
                self.passed_over.push(format!("{}{name}", self.prefix));
            }
            kept
        });
        self.passed_over[before..].sort();
    }

    /// Records the checkpoint's number of classes. Removes its classifier if it does not fit, and
    /// returns whether the network has none to load.
    fn remove_unfit_classifier(
        &mut self,
        network: &Tensors,
        tensors: &mut HashMap<String, Tensor>,
    ) -> bool {
        let own = |name: &str| is_below(name, &network.classifier);
        let parts = tensors.iter().filter(|(name, _)| own(name));
        let shapes = parts
            .clone()
            .map(|(name, tensor)| (name.as_str(), tensor.shape()));
        self.classes = classes(network, shapes);
        let fits = |(name, tensor): (&String, &Tensor)| {
            let wanted = network.shapes.get(name);
            wanted.is_none_or(|shape| shape == tensor.shape())
        };
        let unfit = self.classes.is_none() || !parts.clone().all(fits);
        if unfit {
            tensors.retain(|name, _| !own(name));
        }
        unfit
    }
}

/// The number of classes of a checkpoint, from the shapes of its tensors under the network's names.
pub(crate) fn classes<'a>(
    network: &Tensors,
    tensors: impl Iterator<Item = (&'a str, &'a Shape)>,
) -> Option<usize> {
    let weights =
        tensors.filter(|(name, shape)| is_below(name, &network.classifier) && shape.rank() >= 2);
    // The tensor with the shortest name: capsules have a decoder below the same path.
    let (name, shape) = weights.min_by_key(|(name, _)| (name.len(), *name))?;
    // The first axis, except in capsules.
    let wanted = network.shapes.get(name).map_or(&[][..], Shape::dims);
    let mut pairs = shape.dims().iter().zip(wanted);
    let axis = pairs.position(|(have, want)| have != want);
    Some(shape.dims().get(axis.unwrap_or(0)).copied().unwrap_or(1))
}

/// Whether the tensor `name` belongs to the layer at `path`.
fn is_below(name: &str, path: &str) -> bool {
    name.strip_prefix(path)
        .is_some_and(|rest| rest.starts_with('.'))
}

/// Adapts the weights [O, 3, H, W] of a first convolution to images with `channels` channels, as
/// timm's `adapt_input_conv`: sums them for one channel, else repeats and scales them by
/// 3 / channels.
///
/// # Errors
/// If the weights do not have four dimensions.
pub fn adapt_input_conv(weight: &Tensor, channels: usize) -> Result<Tensor> {
    let (_, base, _, _) = weight.dims4()?;
    let dtype = weight.dtype();
    let weight = weight.to_dtype(DType::F32)?;
    let adapted = if channels == 1 {
        weight.sum_keepdim(1)?
    } else {
        let repeats = channels.div_ceil(base);
        let copies = vec![&weight; repeats];
        let repeated = Tensor::cat(&copies, 1)?.narrow(1, 0, channels)?;
        (repeated * (base as f64 / channels as f64))?
    };
    adapted.contiguous()?.to_dtype(dtype)
}
