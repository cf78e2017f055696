//! The table of all networks.

use candle_core::Result;
use candle_nn::VarBuilder;

use crate::{Model, Options, resnet_cifar, resnetv2_cifar};

/// One row of the zoo.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The name to create it by.
    pub name: &'static str,
    /// The family, which is also the name of its training binary without `train-`.
    pub family: &'static str,
    /// The paper that describes it.
    pub paper: &'static str,
    /// Trained values with 100 classes and an activation without parameters.
    pub params: usize,
    /// Channels, height and width of the images it is meant for.
    pub input: (usize, usize, usize),
    pub(crate) build: Build,
}

/// Builds one variant.
pub(crate) type Build = fn(&Options, VarBuilder) -> Result<Box<dyn Model>>;

impl Entry {
    /// A network for 32x32 colour images.
    pub(crate) const fn cifar(
        name: &'static str,
        family: &'static str,
        paper: &'static str,
        params: usize,
        build: Build,
    ) -> Self {
        Self {
            name,
            family,
            paper,
            params,
            input: (3, 32, 32),
            build,
        }
    }
}

/// Why a network could not be created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// No network has this name.
    #[error("unknown model '{name}'{}", hint(suggestion))]
    Unknown {
        /// What was asked for.
        name: String,
        /// The most similar name, if one is similar.
        suggestion: Option<&'static str>,
    },
    /// An option has a value that no network can have.
    #[error("{0}")]
    Option(String),
    /// A layer could not be built, for example because the weights have another shape.
    #[error(transparent)]
    Build(#[from] candle_core::Error),
}

fn hint(suggestion: &Option<&'static str>) -> String {
    match suggestion {
        Some(name) => format!("; did you mean '{name}'?"),
        None => "; `mish models` lists all".to_string(),
    }
}

/// All networks, family by family.
pub fn entries() -> impl Iterator<Item = &'static Entry> {
    let families: [&[Entry]; 2] = [&resnet_cifar::ENTRIES, &resnetv2_cifar::ENTRIES];
    families.into_iter().flatten()
}

/// The entries whose names match `pattern`, in which `*` stands for any characters and `?`
/// for one.
pub fn list(pattern: &str) -> Vec<&'static Entry> {
    let pattern: Vec<char> = pattern.chars().collect();
    let matching = entries().filter(|entry| {
        let name: Vec<char> = entry.name.chars().collect();
        matches(&pattern, &name)
    });
    matching.collect()
}

fn matches(pattern: &[char], name: &[char]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some(('*', rest)), _) => {
            matches(rest, name) || name.split_first().is_some_and(|(_, n)| matches(pattern, n))
        }
        (Some((p, rest)), Some((n, tail))) => (*p == '?' || p == n) && matches(rest, tail),
        _ => false,
    }
}

/// The entry called `name`.
///
/// # Errors
/// [`ModelError::Unknown`], with the most similar name.
pub fn find(name: &str) -> std::result::Result<&'static Entry, ModelError> {
    let found = entries().find(|entry| entry.name == name);
    found.ok_or_else(|| ModelError::Unknown {
        name: name.to_string(),
        suggestion: most_similar(name),
    })
}

fn most_similar(name: &str) -> Option<&'static str> {
    let name = name.to_lowercase();
    let scored = entries().map(|e| (strsim::jaro_winkler(&name, e.name), e.name));
    let best = scored.max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.filter(|(score, _)| *score > 0.8).map(|(_, name)| name)
}

/// Builds the network called `name` from the variables of `vb`, whose paths are the checkpoint
/// keys.
///
/// # Errors
/// If the name or an option is wrong, or if `vb` has tensors of other shapes.
pub fn create(
    name: &str,
    options: &Options,
    vb: VarBuilder,
) -> std::result::Result<Box<dyn Model>, ModelError> {
    let entry = find(name)?;
    if options.num_classes == 0 || options.in_channels == 0 {
        let message = "num_classes and in_channels must be at least 1";
        return Err(ModelError::Option(message.to_string()));
    }
    if !(0.0..1.0).contains(&options.drop_rate) {
        let message = format!("drop_rate is {}, must be in [0, 1)", options.drop_rate);
        return Err(ModelError::Option(message));
    }
    Ok((entry.build)(options, vb)?)
}
