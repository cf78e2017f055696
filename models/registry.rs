//! The table of all networks.

use candle_mish::pattern::matches;
use candle_mish::suggest::suggest;
use candle_nn::VarBuilder;

use crate::context::BuildContext;
use crate::entry::Entry;
use crate::error::ModelError;
use crate::layers::Layers;
use crate::model::Model;
use crate::spec::{ModelSpec, Shortcut};
use crate::used::Used;
use crate::{
    airbench, capsnet, cfg_network, conv_dense, darknet, densenet, efficientnet, grid, inception,
    inception_resnet, mobilenet, peleenet, plain, resnet, resnet_cifar, resnet9, resnetv2_cifar,
    shufflenet, simplenet, speedrun, squeezenet, vgg, wide_resnet, xception,
};

/// The limit of [`ModelSpec::img_size`]: a dense layer over larger images would be huge.
const LARGEST_IMAGE: usize = 1024;

/// All networks, family by family.
pub fn entries() -> impl Iterator<Item = &'static Entry> {
    let families: [&[Entry]; 25] = [
        &resnet::ENTRIES,
        &resnet_cifar::ENTRIES,
        &resnetv2_cifar::ENTRIES,
        &resnet::WIDE_ENTRIES,
        &wide_resnet::ENTRIES,
        &resnet::RESNEXT_ENTRIES,
        &resnet::SENET_ENTRIES,
        &densenet::ENTRIES,
        &vgg::ENTRIES,
        &mobilenet::ENTRIES,
        &shufflenet::ENTRIES,
        &squeezenet::ENTRIES,
        &inception::ENTRIES,
        &inception_resnet::ENTRIES,
        &xception::ENTRIES,
        &efficientnet::ENTRIES,
        &darknet::ENTRIES,
        &peleenet::ENTRIES,
        &simplenet::ENTRIES,
        &capsnet::ENTRIES,
        &resnet9::ENTRIES,
        &airbench::ENTRIES,
        &speedrun::ENTRIES,
        &plain::ENTRIES,
        &conv_dense::ENTRIES,
    ];
    families.into_iter().flatten()
}

/// The entries whose name or family matches `pattern`. With wildcards, `*` for any characters and
/// `?` for one, the pattern matches the whole name; without, any part of it.
pub fn list(pattern: &str) -> Vec<&'static Entry> {
    let describes = |text: &str| {
        if pattern.contains(['*', '?']) {
            matches(pattern, text)
        } else {
            text.contains(pattern)
        }
    };
    let matching = entries().filter(|entry| describes(entry.name) || describes(entry.family));
    matching.collect()
}

/// The entry called `name`: a row of the table, a network of any depth and width, such as
/// `mlp_25x300` or `conv2_mlp_17x500`, or `darknet_cfg`, the network of [`ModelSpec::cfg`].
///
/// # Errors
/// [`ModelError::Unknown`], with the most similar name, or [`ModelError::Option`] for a network that
/// is too large.
pub fn find(name: &str) -> Result<&'static Entry, ModelError> {
    if let Some(entry) = entries().find(|entry| entry.name == name) {
        return Ok(entry);
    }
    if name == cfg_network::ENTRY.name {
        return Ok(&cfg_network::ENTRY);
    }
    // timm's form of a network and its weights.
    if let Some((network, tag)) = name.split_once('.')
        && entries().any(|entry| entry.name == network)
    {
        return Err(ModelError::Option(format!(
            "{name} names a network and its weights; give the network {network}, and {tag} as pretrained"
        )));
    }
    grid::named(name)?.ok_or_else(|| ModelError::Unknown {
        name: name.to_string(),
        suggestion: suggest(name, entries().map(|entry| entry.name)),
    })
}

/// Builds the network that `spec` describes from the variables of `vb`, whose paths are the
/// checkpoint keys: timm's `create_model`.
///
/// # Errors
/// If the name is unknown, the network does not offer a choice of `spec`, or `vb` holds tensors of
/// other shapes.
pub fn create(spec: &ModelSpec, vb: VarBuilder) -> Result<Box<dyn Model>, ModelError> {
    create_with(spec, &BuildContext::default(), vb)
}

/// As [`create`], with a random generator, a swapped activation or another kind of batch-norm
/// statistics.
///
/// # Errors
/// As [`create`].
pub fn create_with(
    spec: &ModelSpec,
    context: &BuildContext,
    vb: VarBuilder,
) -> Result<Box<dyn Model>, ModelError> {
    build(spec, context, vb).map(|(model, _)| model)
}

/// As [`create_with`], with the options that the network's layers used.
pub(crate) fn build(
    spec: &ModelSpec,
    context: &BuildContext,
    vb: VarBuilder,
) -> Result<(Box<dyn Model>, Used), ModelError> {
    let entry = find(&spec.model)?;
    for (name, value) in [
        ("num_classes", spec.num_classes),
        ("in_chans", spec.in_chans),
    ] {
        if value == 0 {
            return Err(ModelError::Option(format!("{name} must be at least 1")));
        }
    }
    for (name, rate) in [
        ("drop_rate", spec.drop_rate),
        ("drop_path_rate", spec.drop_path_rate),
    ] {
        if !(0.0..1.0).contains(&rate) {
            let message = format!("{name} is {rate}, must be in [0, 1)");
            return Err(ModelError::Option(message));
        }
    }
    let momentum = spec.bn_momentum.unwrap_or(1.0);
    if !(momentum > 0.0 && momentum <= 1.0) {
        let message = format!("bn_momentum is {momentum}, must be positive and at most 1");
        return Err(ModelError::Option(message));
    }
    let eps = spec.bn_eps.unwrap_or(1.0);
    if !(eps > 0.0 && eps <= 1.0) {
        let message = format!("bn_eps is {eps}, must be positive and at most 1");
        return Err(ModelError::Option(message));
    }
    entry.form(spec.stem)?;
    if spec.shortcut != Shortcut::default() && !entry.has_shortcuts {
        let message = format!("shortcut has no effect on {}", entry.name);
        return Err(ModelError::Option(message));
    }
    match (entry.has_cfg, &spec.cfg) {
        (false, Some(_)) => {
            let message = format!("cfg has no effect on {}", entry.name);
            return Err(ModelError::Option(message));
        }
        (true, None) => {
            let message = format!(
                "{} is the network of a darknet .cfg file: give weights with their .cfg file",
                entry.name
            );
            return Err(ModelError::Option(message));
        }
        _ => {}
    }
    if let Some(size) = spec.img_size {
        if !entry.has_img_size {
            let message = format!("img_size has no effect on {}", entry.name);
            return Err(ModelError::Option(message));
        }
        if !(1..=LARGEST_IMAGE).contains(&size) {
            let message = format!("img_size is {size}, must be from 1 to {LARGEST_IMAGE}");
            return Err(ModelError::Option(message));
        }
    }
    let layers = Layers::new(spec, context, vb);
    let used = layers.used.clone();
    Ok((entry.build(layers)?, used))
}
