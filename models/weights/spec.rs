//! Decides which network weights belong to, and says why tensors do not fit another one.

use candle_mish::activation::{Activation, LayerActivations};

use crate::entry::Entry;
use crate::key_style::refused;
use crate::registry::find;
use crate::spec::{COLOUR_CHANNELS, ModelArgs, ModelSpec, Shortcut};
use crate::transfer::{BASE_CHANNELS, Transfer};
use crate::weights::error::LoadError;
use crate::weights::file::Weights;
use crate::weights::fixed::Fixed;
use crate::weights::inspect::Inspection;
use crate::weights::note::Note;

impl Weights {
    /// The network of these weights: `given` values first, then recorded ones, then what the names
    /// and shapes of the tensors decide (the stem, the number of classes, the image channels, the
    /// shortcuts, a learned activation), then defaults. The notes report assumed defaults, and
    /// decisions that a name alone would not make.
    ///
    /// # Errors
    /// If nothing names the network, the registry lacks it, or a recorded value is not valid.
    pub fn spec(&self, given: &ModelArgs) -> Result<(ModelSpec, Vec<Note>), LoadError> {
        let own = self.args()?;
        let model = self.model(given.model.as_deref())?;
        let entry = find(&model)?;
        // candle-mish records every value that is not the default.
        let records_all =
            own.activation.is_some() && own.num_classes.is_some() && own.stem.is_some();
        let known = given.or(&own);
        let found = if records_all {
            Inspection::default()
        } else {
            Inspection::of(entry, &self.checkpoint.tensors, &known)?
        };
        let mut notes = Vec::new();
        let (activation, note) = self.choose_activation(given, entry, &found)?;
        notes.extend(note);
        let stem = match known.stem.or(found.stem) {
            Some(stem) => stem,
            None => {
                let size = self.image_size()?;
                let stem = entry.default_stem(size);
                if size.is_none() && entry.imagenet.is_some() {
                    notes.push(Note::assumed_stem(&self.origin, stem));
                }
                stem
            }
        };
        let shortcut = match (known.shortcut, found.shortcut) {
            (None, Some(Shortcut::A)) => {
                notes.push(Note::without_projections(&self.origin));
                Shortcut::A
            }
            (known, found) => known.or(found).unwrap_or_default(),
        };
        let num_classes = match known.num_classes.or(found.num_classes) {
            Some(num_classes) => num_classes,
            None => return Err(self.no_classifier(&model, found.classifier)),
        };
        notes.extend(self.assumed_classes_of(num_classes));
        let spec = ModelSpec {
            activation,
            layer_activations: choose_layers(given, own),
            num_classes,
            stem,
            in_chans: known.in_chans.or(found.in_chans).unwrap_or(COLOUR_CHANNELS),
            img_size: known.img_size,
            gate: known.gate,
            shortcut,
            bn_momentum: given.bn_momentum,
            bn_eps: known.bn_eps,
            cfg: known.cfg,
            drop_rate: given.drop_rate.unwrap_or(0.0),
            drop_path_rate: given.drop_path_rate.unwrap_or(0.0),
            ..ModelSpec::new(model)
        };
        Ok((spec, notes))
    }

    /// The activation: the `given` one, the recorded one, one whose parameters the tensors have,
    /// the one of the program with these keys, or the one of the network's published weights.
    fn choose_activation(
        &self,
        given: &ModelArgs,
        entry: &Entry,
        found: &Inspection,
    ) -> Result<(Activation, Option<Note>), LoadError> {
        let open = given.activation.is_none() && self.own_activation()?.is_none();
        let of_style = found
            .style
            .and_then(|style| Some((style.name, style.activation?)));
        match (found.learned, of_style) {
            (Some(learned), _) if open => {
                let note = Note::learned_activation(&self.origin, learned);
                Ok((learned, Some(note)))
            }
            (_, Some((style, activation))) if open => {
                let note = Note::activation_of_style(&self.origin, activation, style);
                Ok((activation, Some(note)))
            }
            _ => self.activation_like(given.activation.as_ref(), Some(entry)),
        }
    }

    /// Refuses the keys of another program's network that differs from `entry`'s network.
    pub(super) fn refuse_style(&self, entry: &Entry) -> Result<(), LoadError> {
        let refuse = |style, reason| {
            Err(LoadError::Refused {
                origin: self.origin.clone(),
                model: entry.name,
                style,
                reason,
            })
        };
        if let Some(difference) = self.difference {
            return refuse("transformers", difference);
        }
        match refused(entry, &self.checkpoint.tensors) {
            None => Ok(()),
            Some(refused) => refuse(refused.name, refused.reason),
        }
    }

    /// Why tensors do not fit: the form of the network that they belong to, if it is another one,
    /// else all differences.
    pub(super) fn mismatch(&self, spec: &ModelSpec, transfer: Transfer, fixed: Fixed) -> LoadError {
        let differences = match self.differences(spec, fixed) {
            Ok(differences) => differences,
            Err(error) => return error,
        };
        let transfer = Box::new(transfer);
        let (origin, spec) = (self.origin.clone(), Box::new(spec.clone()));
        if differences.is_empty() {
            LoadError::Mismatch {
                origin,
                spec,
                transfer,
            }
        } else {
            LoadError::OtherForm {
                origin,
                spec,
                differences,
                transfer,
            }
        }
    }

    /// The values of `spec` that the tensors contradict.
    fn differences(&self, spec: &ModelSpec, fixed: Fixed) -> Result<Vec<String>, LoadError> {
        let entry = find(&spec.model)?;
        let known = ModelArgs {
            cfg: spec.cfg.clone(),
            ..ModelArgs::default()
        };
        let found = Inspection::of(entry, &self.checkpoint.tensors, &known)?;
        let mut differences = Vec::new();
        let mut compare = |name: &str, given: String, own: String| {
            if given != own {
                differences.push(format!("{name} is {own}, not {given}"));
            }
        };
        // Weights for colour images are adapted to other channels.
        if let Some(in_chans) = found.in_chans.filter(|own| *own != BASE_CHANNELS) {
            compare("in_chans", spec.in_chans.to_string(), in_chans.to_string());
        }
        if let Some(shortcut) = found.shortcut {
            compare("shortcut", spec.shortcut.to_string(), shortcut.to_string());
        }
        if fixed == Fixed::Layers {
            return Ok(differences);
        }
        if let Some(stem) = found.stem {
            compare("stem", spec.stem.to_string(), stem.to_string());
        }
        if let Some(num_classes) = found.num_classes {
            let given = spec.num_classes.to_string();
            compare("num_classes", given, num_classes.to_string());
        }
        let name = |activation: Option<Activation>| match activation {
            Some(activation) => activation.name().to_string(),
            None => "one without parameters".to_string(),
        };
        let given = Some(spec.activation).filter(Activation::is_learnable);
        if given.map(|a| a.name()) != found.learned.map(|a| a.name()) {
            let given = spec.activation.name().to_string();
            compare("activation", given, name(found.learned));
        }
        Ok(differences)
    }
}

/// The activations of single layers: the `given` ones, or the `own` ones of weights whose activation
/// is not replaced.
fn choose_layers(given: &ModelArgs, own: ModelArgs) -> LayerActivations {
    let replaced = given.activation.is_some() && given.activation != own.activation;
    let own = own.layer_activations.filter(|_| !replaced);
    given.layer_activations.clone().or(own).unwrap_or_default()
}
