//! The parameters and buffers of a network under their checkpoint keys.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use candle_core::{DType, Device, Result, Shape, Tensor, Var};
use candle_nn::init::{FanInOut, NormalOrUniform};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

use super::initialiser::Initialisation;
use crate::rng::Generator;

/// PyTorch's names for the buffers of normalisation layers. A checkpoint holds them; training
/// doesn't update them by gradients.
const BUFFERS: [&str; 3] = ["running_mean", "running_var", "num_batches_tracked"];

/// The variables of a network, in the order of their creation. Building a network from
/// [`ParamStore::var_builder`] fills the store.
///
/// Unlike Candle's `VarMap` it keeps the order of creation, draws every initial value from a seed,
/// and separates parameters from buffers. The initial values of a tensor depend on the seed and
/// the tensor's name only. Clones share the variables.
#[derive(Clone)]
pub struct ParamStore {
    entries: Arc<Mutex<Entries>>,
    dtype: DType,
    device: Device,
    /// The seed of the initial values. Without a seed, zeros replace random values.
    seed: Option<u64>,
    frozen: bool,
    /// Replaces the distributions that the layers ask for.
    initialisation: Option<Initialisation>,
    /// The tensors whose distribution it does not replace.
    own_initialisation: &'static [&'static str],
    /// The path of the layer that still learns in a frozen store.
    learning: Option<Arc<str>>,
}

#[derive(Default)]
struct Entries {
    in_order: Vec<(String, Var)>,
    position: HashMap<String, usize>,
}

impl Entries {
    fn get(&self, name: &str) -> Option<&Var> {
        let position = *self.position.get(name)?;
        self.in_order.get(position).map(|(_, var)| var)
    }

    fn push(&mut self, name: &str, var: Var) {
        self.position.insert(name.to_string(), self.in_order.len());
        self.in_order.push((name.to_string(), var));
    }
}

/// The differences between a network and a checkpoint that was loaded into it. The network's names
/// are in the order of creation, the checkpoint's are sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Tensors of the network that the checkpoint lacks.
    pub missing: Vec<String>,
    /// Tensors of the checkpoint that the network lacks.
    pub unexpected: Vec<String>,
    /// Tensors with another shape: name, shape in the network, shape in the checkpoint.
    pub mismatched: Vec<(String, Shape, Shape)>,
}

impl LoadReport {
    /// Whether names and shapes are equal on both sides.
    pub fn is_exact(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.mismatched.is_empty()
    }

    /// Every difference, one per line; [`Display`](std::fmt::Display) shows the first few only.
    pub fn lines(&self) -> Vec<String> {
        let wrong = self
            .mismatched
            .iter()
            .map(|(name, want, got)| format!("wrong shape: {name} (is {got:?}, must be {want:?})"));
        let missing = self.missing.iter().map(|name| format!("missing: {name}"));
        let unexpected = self.unexpected.iter();
        let unexpected = unexpected.map(|name| format!("unexpected: {name}"));
        wrong.chain(missing).chain(unexpected).collect()
    }

    /// Whether [`Display`](std::fmt::Display) omits a difference.
    pub fn is_abridged(&self) -> bool {
        let counts = [
            self.missing.len(),
            self.unexpected.len(),
            self.mismatched.len(),
        ];
        counts.into_iter().any(|count| count > SHOWN)
    }
}

/// The number of names of each kind that a report's `Display` shows.
const SHOWN: usize = 3;

impl std::fmt::Display for LoadReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |names: Vec<String>| {
            let more = names.len().saturating_sub(SHOWN);
            let shown = names.into_iter().take(SHOWN).collect::<Vec<_>>().join(", ");
            if more > 0 {
                format!("{shown} and {more} more")
            } else {
                shown
            }
        };
        let mut parts = Vec::new();
        if !self.mismatched.is_empty() {
            let names = self.mismatched.iter();
            let names = names.map(|(n, want, got)| format!("{n} (is {got:?}, must be {want:?})"));
            parts.push(format!("wrong shape: {}", list(names.collect())));
        }
        if !self.missing.is_empty() {
            parts.push(format!("missing: {}", list(self.missing.clone())));
        }
        if !self.unexpected.is_empty() {
            parts.push(format!("unexpected: {}", list(self.unexpected.clone())));
        }
        if parts.is_empty() {
            parts.push("every tensor matches".to_string());
        }
        f.write_str(&parts.join("; "))
    }
}

impl ParamStore {
    /// An empty store. Floating-point tensors have the type `dtype`; `seed` determines their
    /// initial values.
    pub fn new(dtype: DType, device: &Device, seed: u64) -> Self {
        Self {
            entries: Arc::default(),
            dtype,
            device: device.clone(),
            seed: Some(seed),
            frozen: false,
            initialisation: None,
            own_initialisation: &[],
            learning: None,
        }
    }

    /// An empty store that creates zeros in place of random values. Use it to load a checkpoint:
    /// drawing the initial values of a large network takes time.
    pub fn zeros(dtype: DType, device: &Device) -> Self {
        Self {
            seed: None,
            ..Self::new(dtype, device, 0)
        }
    }

    /// Draws the weights of convolutions and linear layers (tensors of two or four dimensions) from
    /// `initialisation` instead of the distribution of their layer. Biases then start at zero.
    /// Constants stay as they are, and so does everything else.
    pub fn with_initialisation(self, initialisation: Option<Initialisation>) -> Self {
        Self {
            initialisation,
            ..self
        }
    }

    /// Exempts the tensors `names` from [`ParamStore::with_initialisation`]: weights of two or four
    /// dimensions that belong to neither a convolution nor a linear layer.
    pub fn with_own_initialisation(self, names: &'static [&'static str]) -> Self {
        Self {
            own_initialisation: names,
            ..self
        }
    }

    /// The device of the tensors.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// A builder whose paths are the checkpoint keys. It creates the tensors that the store lacks
    /// and returns the same variable each time a name is requested.
    pub fn var_builder(&self) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(self.clone()), self.dtype, self.device.clone())
    }

    /// A view of this store for evaluation: a network built from it records no graph and sees
    /// every later update of this store.
    pub fn frozen(&self) -> Self {
        Self {
            frozen: true,
            ..self.clone()
        }
    }

    /// As [`ParamStore::frozen`], but the layer at `path` still learns.
    pub fn frozen_except(&self, path: &str) -> Self {
        Self {
            learning: Some(path.into()),
            ..self.frozen()
        }
    }

    /// Name and variable of each trained parameter, in the order of creation.
    pub fn params(&self) -> Vec<(String, Var)> {
        self.select(|name| !is_buffer(name))
    }

    /// Name and variable of each buffer (running statistics), in the order of creation.
    pub fn buffers(&self) -> Vec<(String, Var)> {
        self.select(is_buffer)
    }

    /// Name and detached value of each parameter and buffer, in the order of creation: the content
    /// of a checkpoint.
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        let entries = self.entries();
        let detached = |(name, var): &(String, Var)| (name.clone(), var.as_detached_tensor());
        entries.in_order.iter().map(detached).collect()
    }

    /// Sets all running means to 0, variances to 1 and counts of batches to 0: PyTorch's
    /// `reset_running_stats`.
    ///
    /// # Errors
    /// If a buffer cannot be written.
    pub fn reset_statistics(&self) -> Result<()> {
        for (name, buffer) in self.buffers() {
            let zeros = buffer.as_detached_tensor().zeros_like()?;
            let is_variance = name.ends_with("running_var");
            buffer.set(&if is_variance { (zeros + 1.0)? } else { zeros })?;
        }
        Ok(())
    }

    /// The number of trained values.
    pub fn num_params(&self) -> usize {
        let params = self.params();
        params.iter().map(|(_, var)| var.elem_count()).sum()
    }

    /// Removes the tensors at `path` and below it. The next layer built there gets new initial
    /// values and may have another shape.
    pub fn remove(&self, path: &str) {
        let mut entries = self.entries();
        let kept: Vec<_> = entries.in_order.drain(..).collect();
        entries.position.clear();
        for (name, var) in kept.into_iter().filter(|(name, _)| !is_below(name, path)) {
            entries.push(&name, var);
        }
    }

    /// Copies the tensors of `checkpoint` into the store's tensors of the same name and shape, and
    /// reports the differences. Tensors without a counterpart keep their values. Values are
    /// converted to the type of the store's tensor.
    ///
    /// With the feature `checkpoint`, `ParamStore::load` reads a file.
    ///
    /// # Errors
    /// If a value cannot be converted or copied to the device.
    pub fn load_tensors(&self, checkpoint: &HashMap<String, Tensor>) -> Result<LoadReport> {
        let mut report = LoadReport::default();
        let entries = self.entries();
        for (name, var) in &entries.in_order {
            match checkpoint.get(name) {
                None => report.missing.push(name.clone()),
                Some(tensor) if tensor.shape() != var.shape() => report.mismatched.push((
                    name.clone(),
                    var.shape().clone(),
                    tensor.shape().clone(),
                )),
                Some(tensor) => {
                    // Convert first: a device may lack the type of the checkpoint. Copy, because
                    // Candle refuses to set a variable to itself.
                    let tensor = tensor.to_dtype(var.dtype())?.to_device(&self.device)?;
                    var.set(&tensor.force_contiguous()?)?;
                }
            }
        }
        let unknown = checkpoint.keys().filter(|name| entries.get(name).is_none());
        report.unexpected = unknown.cloned().collect();
        report.unexpected.sort();
        Ok(report)
    }

    fn select(&self, keep: impl Fn(&str) -> bool) -> Vec<(String, Var)> {
        let entries = self.entries();
        let kept = entries.in_order.iter().filter(|(name, _)| keep(name));
        kept.cloned().collect()
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        // The lock guards single insertions, so a panic leaves the entries valid.
        self.entries.lock().unwrap_or_else(|p| p.into_inner())
    }

    /// The tensor `name` as a layer receives it, if `entries` has one. It must have this shape.
    fn existing(&self, entries: &Entries, shape: &Shape, name: &str) -> Result<Option<Tensor>> {
        let Some(var) = entries.get(name) else {
            return Ok(None);
        };
        if var.shape() != shape {
            candle_core::bail!(
                "parameter {name} has the shape {:?}, requested as {shape:?}",
                var.shape()
            );
        }
        Ok(Some(self.hand_out(name, var)))
    }

    /// The tensor of a variable as a layer receives it.
    fn hand_out(&self, name: &str, var: &Var) -> Tensor {
        // A buffer stays a variable in a frozen store: its layer sets it, and detaches it before
        // computing with it.
        let learning = self.learning.as_deref();
        let learns = learning.is_some_and(|path| is_below(name, path));
        if self.frozen && !learns && !is_buffer(name) {
            var.as_detached_tensor()
        } else {
            var.as_tensor().clone()
        }
    }

    /// The initial value of a tensor. It depends on the seed and on `name` only.
    fn initial(&self, shape: &Shape, name: &str, init: Init, dtype: DType) -> Result<Var> {
        let device = &self.device;
        if let Init::Const(value) = init {
            let tensor = Tensor::full(value, shape, &Device::Cpu)?.to_dtype(dtype)?;
            return Var::from_tensor(&tensor.to_device(device)?);
        }
        let Some(seed) = self.seed else {
            return Var::zeros(shape, dtype, device);
        };
        let generator = Generator::named(seed, name);
        let mut rng = generator.lock();
        if let Some(initialisation) = &self.initialisation
            && !self.own_initialisation.contains(&name)
        {
            let last = name.rsplit('.').next().unwrap_or(name);
            if last == "bias" {
                return Var::zeros(shape, dtype, device);
            }
            if matches!(shape.rank(), 2 | 4) {
                let distribution = initialisation.distribution(shape.dims());
                let weight = distribution.draw(shape, &mut *rng)?;
                return Var::from_tensor(&weight.to_dtype(dtype)?.to_device(device)?);
            }
        }
        let mut normal = |mean: f64, std: f64| {
            let draw = || mean + std * Distribution::<f64>::sample(&StandardNormal, &mut *rng);
            drawn(shape, dtype, device, draw)
        };
        match init {
            Init::Randn { mean, stdev } => normal(mean, stdev),
            Init::Kaiming {
                dist: NormalOrUniform::Normal,
                fan,
                non_linearity,
            } => normal(0.0, kaiming_std(shape, fan, non_linearity)),
            Init::Uniform { lo, up } => drawn(shape, dtype, device, || {
                lo + (up - lo) * rng.random::<f64>()
            }),
            Init::Kaiming {
                dist: NormalOrUniform::Uniform,
                fan,
                non_linearity,
            } => {
                let bound = 3f64.sqrt() * kaiming_std(shape, fan, non_linearity);
                let draw = || -bound + (bound + bound) * rng.random::<f64>();
                drawn(shape, dtype, device, draw)
            }
            Init::Const(value) => drawn(shape, dtype, device, || value),
        }
    }
}

/// A variable with a value of `draw` for each element, in row-major order.
fn drawn(
    shape: &Shape,
    dtype: DType,
    device: &Device,
    mut draw: impl FnMut() -> f64,
) -> Result<Var> {
    let count = shape.elem_count();
    if dtype == DType::F32 {
        // Without a copy in f64, which would be the largest tensor of networks such as VGG.
        let values: Vec<f32> = (0..count).map(|_| draw() as f32).collect();
        return Var::from_vec(values, shape, device);
    }
    let values: Vec<f64> = (0..count).map(|_| draw()).collect();
    let tensor = Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(dtype)?;
    Var::from_tensor(&tensor.to_device(device)?)
}

fn kaiming_std(shape: &Shape, fan: FanInOut, non_linearity: candle_nn::init::NonLinearity) -> f64 {
    non_linearity.gain() / (fan.for_shape(shape) as f64).sqrt()
}

/// Whether `name` is `path` or below it.
fn is_below(name: &str, path: &str) -> bool {
    name.strip_prefix(path)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn is_buffer(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    BUFFERS.contains(&last)
}

impl SimpleBackend for ParamStore {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        init: Init,
        dtype: DType,
        _device: &Device,
    ) -> Result<Tensor> {
        let existing = self.existing(&self.entries(), &shape, name)?;
        if let Some(tensor) = existing {
            return Ok(tensor);
        }
        if self.frozen {
            candle_core::bail!("parameter {name} is not in this store");
        }
        // Without the lock: the values of a large tensor take long to draw.
        let var = self.initial(&shape, name, init, dtype)?;
        let mut entries = self.entries();
        // Another thread may have created the variable meanwhile.
        if let Some(tensor) = self.existing(&entries, &shape, name)? {
            return Ok(tensor);
        }
        entries.push(name, var.clone());
        Ok(var.as_tensor().clone())
    }

    fn get_unchecked(&self, name: &str, _dtype: DType, _device: &Device) -> Result<Tensor> {
        match self.entries().get(name) {
            Some(var) => Ok(self.hand_out(name, var)),
            None => candle_core::bail!("parameter {name} is not in this store"),
        }
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.entries().get(name).is_some()
    }
}
