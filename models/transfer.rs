//! Copies weights of other programs or tasks into a network and reports every tensor.

use std::collections::HashMap;
use std::fmt;

use candle_core::{DType, Result, Shape, Tensor};
use candle_mish::nn::{LoadReport, ParamStore};

use crate::entry::{Entry, Renames};
use crate::model::Model;

/// Prefixes that wrappers add to all keys: `DataParallel`, Lightning, `torch.compile`.
const PREFIXES: [&str; 3] = ["module.", "model.", "_orig_mod."];

/// The image channels of weights that can be adapted.
const BASE_CHANNELS: usize = 3;

/// A counter that old checkpoints lack. It affects no result.
const COUNTER: &str = "num_batches_tracked";

/// The result of [`load`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transfer {
    /// The prefix that was removed from all keys.
    pub prefix: String,
    /// The number of keys that were renamed from another program's or version's style.
    pub renamed: usize,
    /// The number of ignored tensors. They belong to parts that the network does not have, such as
    /// auxiliary classifiers.
    pub ignored: usize,
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

impl Transfer {
    /// Whether every tensor outside the classifier was loaded.
    pub fn is_complete(&self) -> bool {
        self.report.is_exact()
    }

    /// What was changed to make the weights fit, as phrases. [`Transfer::report`] is not included.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.prefix.is_empty() {
            notes.push(format!("removed the key prefix '{}'", self.prefix));
        }
        if self.renamed > 0 {
            notes.push(format!("renamed {} keys", self.renamed));
        }
        if self.ignored > 0 {
            let count = self.ignored;
            notes.push(format!("ignored {count} tensors of auxiliary parts"));
        }
        if let Some((key, from, to)) = &self.adapted {
            notes.push(format!("adapted {key} from {from} to {to} channels"));
        }
        if self.fresh_classifier {
            let found = match self.classes {
                Some(classes) => format!("the weights have {classes} classes"),
                None => "the weights have none".to_string(),
            };
            notes.push(format!(
                "initialised a new classifier {}: {found}",
                self.classifier
            ));
        }
        notes
    }
}

impl fmt::Display for Transfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let notes = self.notes().into_iter();
        let report = (!self.is_complete()).then(|| self.report.to_string());
        let parts: Vec<String> = notes.chain(report).collect();
        if parts.is_empty() {
            return f.write_str("every tensor matches");
        }
        f.write_str(&parts.join("; "))
    }
}

/// Copies the weights that fit into a network of `entry` that was built on `store`:
///
/// - removes prefixes of wrappers and renames the key styles of other programs and versions;
/// - reshapes between linear layers and 1x1 convolutions (larger ones after a flattened map);
/// - adapts the first convolution to another number of image channels with
///   [`adapt_input_conv`];
/// - keeps the initial classifier if the number of classes differs.
///
/// The caller decides whether the tensors in [`Transfer::report`] are acceptable.
///
/// # Errors
/// If a value cannot be converted.
pub fn load(
    model: &dyn Model,
    entry: &Entry,
    store: &ParamStore,
    checkpoint: &HashMap<String, Tensor>,
) -> Result<Transfer> {
    let shapes: HashMap<String, Shape> = store
        .tensors()
        .into_iter()
        .map(|(name, tensor)| (name, tensor.shape().clone()))
        .collect();
    let mut transfer = Transfer {
        classifier: model.classifier().to_string(),
        ..Transfer::default()
    };
    let mut tensors = transfer.rename(entry, &shapes, checkpoint);
    for (name, tensor) in &mut tensors {
        if let Some(shape) = shapes.get(name)
            && is_reshaped(tensor.shape(), shape)
        {
            *tensor = tensor.reshape(shape)?;
        }
    }
    transfer.adapt_input(store, &mut tensors)?;
    let unfit = transfer.remove_unfit_classifier(&shapes, &mut tensors);
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
    /// Renames the tensors to the network's keys.
    fn rename(
        &mut self,
        entry: &Entry,
        shapes: &HashMap<String, Shape>,
        checkpoint: &HashMap<String, Tensor>,
    ) -> HashMap<String, Tensor> {
        let pairs = PREFIXES
            .iter()
            .flat_map(|outer| PREFIXES.iter().map(move |inner| format!("{outer}{inner}")));
        let single = PREFIXES.iter().map(ToString::to_string);
        let candidates = std::iter::once(String::new()).chain(single).chain(pairs);
        let known = |prefix: &str| {
            let name = |key: &&String| {
                let key = key.strip_prefix(prefix)?;
                let renamed = renamed(key, entry.renames, shapes)?;
                shapes.contains_key(&renamed).then_some(())
            };
            checkpoint.keys().filter_map(|key| name(&key)).count()
        };
        // Of equally good prefixes the first: the empty one.
        let best = candidates
            .map(|prefix| (known(&prefix), prefix))
            .reduce(|best, next| if next.0 > best.0 { next } else { best });
        self.prefix = best.map(|(_, prefix)| prefix).unwrap_or_default();
        let mut tensors = HashMap::with_capacity(checkpoint.len());
        for (key, tensor) in checkpoint {
            let key = key.strip_prefix(&*self.prefix).unwrap_or(key);
            match renamed(key, entry.renames, shapes) {
                None => self.ignored += 1,
                Some(name) => {
                    self.renamed += usize::from(name != key);
                    tensors.insert(name, tensor.clone());
                }
            }
        }
        tensors
    }

    /// Adapts the first convolution if only the number of image channels differs.
    fn adapt_input(
        &mut self,
        store: &ParamStore,
        tensors: &mut HashMap<String, Tensor>,
    ) -> Result<()> {
        let first = store.params().into_iter().find(|(_, var)| var.rank() == 4);
        let Some((name, var)) = first else {
            return Ok(());
        };
        let Some(weight) = tensors.get(&name) else {
            return Ok(());
        };
        let (want, have) = (var.dims(), weight.dims());
        let same = have.len() == 4 && want[0] == have[0] && want[2..] == have[2..];
        if same && want[1] != have[1] && have[1] == BASE_CHANNELS {
            let channels = want[1];
            let adapted = adapt_input_conv(weight, channels)?;
            tensors.insert(name.clone(), adapted);
            self.adapted = Some((name, BASE_CHANNELS, channels));
        }
        Ok(())
    }

    /// Records the checkpoint's number of classes. Removes its classifier if it does not fit, and
    /// returns whether the network has none to load.
    fn remove_unfit_classifier(
        &mut self,
        shapes: &HashMap<String, Shape>,
        tensors: &mut HashMap<String, Tensor>,
    ) -> bool {
        let path = self.classifier.clone();
        let own = |name: &str| is_below(name, &path);
        let parts = tensors.iter().filter(|(name, _)| own(name));
        // The tensor with the shortest name: capsules have a decoder below the same path.
        let weights = parts.clone().filter(|(_, tensor)| tensor.rank() >= 2);
        let weight = weights.min_by_key(|(name, _)| (name.len(), *name));
        self.classes = weight.map(|(name, weight)| {
            // The first axis, except in capsules.
            let wanted = shapes.get(name).map_or(&[][..], Shape::dims);
            let mut pairs = weight.dims().iter().zip(wanted);
            let axis = pairs.position(|(have, want)| have != want);
            weight.dims().get(axis.unwrap_or(0)).copied().unwrap_or(1)
        });
        let fits = |(name, tensor): (&String, &Tensor)| {
            shapes.get(name).is_none_or(|shape| shape == tensor.shape())
        };
        let unfit = self.classes.is_none() || !parts.clone().all(fits);
        if unfit {
            tensors.retain(|name, _| !own(name));
        }
        unfit
    }
}

/// Whether the tensor `name` belongs to the layer at `path`.
fn is_below(name: &str, path: &str) -> bool {
    name.strip_prefix(path)
        .is_some_and(|rest| rest.starts_with('.'))
}

/// The network's name for a key of the checkpoint; `None` if it has no such part.
fn renamed(key: &str, renames: Renames, shapes: &HashMap<String, Shape>) -> Option<String> {
    let mut name = key.to_string();
    for (old, new) in renames {
        if shapes.contains_key(&name) {
            break;
        }
        if name.contains(old) {
            name = name.replace(old, (*new)?);
        }
    }
    Some(name)
}

/// Whether the shapes belong to a linear layer and to the same layer written as a convolution.
fn is_reshaped(given: &Shape, wanted: &Shape) -> bool {
    let ranks = (given.rank(), wanted.rank());
    matches!(ranks, (2, 4) | (4, 2))
        && given.dims()[0] == wanted.dims()[0]
        && given.elem_count() == wanted.elem_count()
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
