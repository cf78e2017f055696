//! The command line of a run that starts from the weights of another one.

use std::path::Path;

use candle_mish::data::{DataOptions, DatasetKind};
use candle_mish::train::Recipe;
use candle_mish_models::ModelArgs;
use toml::{Table, Value};

use crate::config::{Config, read_recipe};
use crate::network;
use crate::shell::quoted;

/// Values that the checkpoint records.
const IN_WEIGHTS: [&str; 9] = [
    "model",
    "activation",
    "layer_activations",
    "stem",
    "in_chans",
    "img_size",
    "gate",
    "bn_eps",
    "cfg",
];

/// Hyperparameters of random weights, and those whose defaults depend on the weights and the number of
/// epochs.
const NOT_KEPT: [&str; 4] = ["init", "init_gain", "epochs", "lr"];

/// The options whose values are one word, with commas. A pair has two words.
const LISTS: [&str; 3] = ["color_jitter", "decay_milestones", "fallback_list"];

/// The command that trains the network of `config` for `epochs` more epochs from the file `weights`,
/// on the same images and with the same recipe. The learning rate is the default for trained weights.
pub(super) fn from_weights(config: &Config, weights: &Path, epochs: usize) -> String {
    let mut words = vec![
        "mish".to_string(),
        "train".to_string(),
        quoted(config.model()),
    ];
    words.push("--pretrained".to_string());
    words.push(quoted(&weights.display().to_string()));
    words.extend(network_flags(config));
    if config.grad_checkpointing {
        words.push("--grad-checkpointing".to_string());
    }
    words.extend(data_flags(&config.data));
    words.extend(recipe_flags(config));
    words.push(format!("--epochs {epochs}"));
    words.join(" ")
}

fn network_flags(config: &Config) -> Vec<String> {
    let defaults = Config::new(&ModelArgs::default(), config.recipe.clone());
    let changed = changed(&table(&config.network), &table(&defaults.network));
    let known = |(key, _): &(String, Value)| !IN_WEIGHTS.contains(&key.as_str());
    changed.into_iter().filter(known).map(flag).collect()
}

fn data_flags(options: &DataOptions) -> Vec<String> {
    let mut options = options.clone();
    let mut flags = Vec::new();
    if options.dataset == DatasetKind::Folder
        && let Some(folder) = options.data_dir.take()
    {
        let value = format!("folder:{}", folder.display());
        flags.push(flag(("dataset".to_string(), Value::String(value))));
        options.dataset = DatasetKind::default();
    }
    // The checkpoint records the preprocessing, and bad images are found again.
    options.preprocess = None;
    options.skipped = Vec::new();
    let changed = changed(&table(&options), &table(&DataOptions::default()));
    flags.extend(changed.into_iter().map(|(key, value)| match &*key {
        "seed" => flag(("data_seed".to_string(), value)),
        // The run has the content of the file, not its name.
        "class_map" => "--class-map FILE".to_string(),
        _ => flag((key, value)),
    }));
    flags
}

fn recipe_flags(config: &Config) -> Vec<String> {
    let own = network::entry(config.model()).ok();
    let own = own.and_then(|entry| read_recipe(entry.recipe, None).ok());
    let own = own.unwrap_or_default();
    let changed = changed(&table(&config.recipe), &table(&own));
    let kept = |(key, _): &(String, Value)| {
        let Recipe { sched, opt, .. } = &config.recipe;
        let used = sched.check_reads(key).is_ok() && opt.kind.check_reads(key).is_ok();
        used && !NOT_KEPT.contains(&key.as_str())
    };
    changed.into_iter().filter(kept).map(flag).collect()
}

/// The values of a configuration by key.
fn table(part: &impl serde::Serialize) -> Table {
    // A configuration has a form in TOML: it was read from there.
    Table::try_from(part).unwrap_or_default()
}

/// The entries of `values` that differ from `defaults`.
fn changed(values: &Table, defaults: &Table) -> Vec<(String, Value)> {
    let changed = values
        .iter()
        .filter(|(key, value)| defaults.get(*key) != Some(*value));
    changed
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// The flag of a key, as a shell takes it.
fn flag((key, value): (String, Value)) -> String {
    let words = flag_words(&key, &value);
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    words.join(" ")
}

/// The words of an option: its flag, which is named after the key, and its values. A flag without a
/// value is `true`; `false` needs an equals sign.
pub fn flag_words(key: &str, value: &Value) -> Vec<String> {
    let flag = format!("--{}", key.replace('_', "-"));
    if *value == Value::Boolean(false) {
        return vec![format!("{flag}=false")];
    }
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    let values = match value {
        Value::Boolean(true) => Vec::new(),
        Value::Array(values) => values.iter().map(text).collect(),
        value => vec![text(value)],
    };
    let values = match LISTS.contains(&key) {
        true => vec![values.join(",")],
        false => values,
    };
    std::iter::once(flag).chain(values).collect()
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use candle_mish::data::{DataOptions, DatasetKind, MixupMode, PadMode};
    use candle_mish::train::{LossKind, OptimizerKind, Recipe, ScheduleKind};
    use candle_mish_models::ModelArgs;
    use clap::{CommandFactory, Parser};

    use super::{Config, Value, flag_words, from_weights, read_recipe};
    use crate::commands::train::TrainArgs;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        train: TrainArgs,
    }

    #[test]
    fn the_flags_of_a_configuration_give_it_again() {
        let recipe = Recipe {
            epochs: 7,
            batch_size: 64,
            seed: 5,
            lr: 0.125,
            opt: OptimizerKind::AdamW.into(),
            opt_betas: Some([0.8, 0.95]),
            opt_eps: Some(1e-6),
            sched: ScheduleKind::MultiStep,
            decay_milestones: vec![1.5, 4.0],
            color_jitter: "0.4,0.25,0.125".parse().ok(),
            loss: LossKind::Margin,
            clip_grad: Some(2.0),
            crop_pad_mode: PadMode::Zero,
            scale: [0.5, 0.75],
            layer_decay: Some(0.5),
            freeze_backbone: true,
            cutmix_minmax: Some([0.25, 0.75]),
            mixup_mode: Some(MixupMode::Pair),
            train_img_sizes: "0:16,4:32".parse().ok(),
            ..Recipe::default()
        };
        let network = ModelArgs {
            num_classes: Some(12),
            drop_rate: Some(0.25),
            drop_path_rate: Some(0.125),
            ..ModelArgs::named("resnet20")
        };
        let data = DataOptions {
            dataset: DatasetKind::Folder,
            data_dir: Some(PathBuf::from("/data/pets")),
            cache_dir: Some(PathBuf::from("/cache")),
            offline: true,
            seed: 3,
            val_split: 0.25,
            limit_train: Some(100),
            exif_transpose: true,
            ..DataOptions::default()
        };
        let config = Config {
            grad_checkpointing: true,
            data: data.clone(),
            ..Config::new(&network, recipe.clone())
        };
        let command = from_weights(&config, Path::new("runs/a/last.safetensors"), 3);
        let words = command.strip_prefix("mish ").expect("the program");
        let args = Program::try_parse_from(words.split(' '))
            .expect("valid flags")
            .train
            .setup;
        assert_eq!(args.pretrained.as_deref(), Some("runs/a/last.safetensors"));
        assert_eq!(args.model.as_deref(), Some("resnet20"));
        assert_eq!(args.grad_checkpointing, Some(true));
        let given = args.network();
        assert_eq!(given.num_classes, network.num_classes);
        assert_eq!(given.drop_rate, network.drop_rate);
        assert_eq!(given.drop_path_rate, network.drop_path_rate);
        let mut options = DataOptions::default();
        args.data.apply(&mut options);
        assert_eq!(options, data);
        let own = crate::network::entry("resnet20").expect("a network").recipe;
        let own = read_recipe(own, None).expect("a recipe");
        let mut again = own.clone();
        args.recipe.apply(&mut again);
        let expected = Recipe {
            epochs: 3,
            lr: own.lr,
            ..recipe
        };
        assert_eq!(again, expected);
    }

    #[test]
    fn a_list_is_one_word() {
        let command = Program::command();
        let with_commas = command
            .get_arguments()
            .filter(|arg| arg.get_value_delimiter().is_some());
        let keys = with_commas
            .filter_map(|arg| arg.get_long())
            .map(|long| long.replace('-', "_"));
        let keys: Vec<_> = keys.collect();
        assert!(keys.contains(&"fallback_list".to_string()));
        for key in keys {
            let list = ["a", "b"].map(|text| Value::String(text.to_string()));
            let words = flag_words(&key, &Value::Array(list.to_vec()));
            assert_eq!(words[1..], ["a,b"], "{key}");
        }
    }
}
