//! What to do about an error of the library on the command line. The library knows no flags.

use std::error::Error;
use std::path::Path;

use candle_mish::data::DataError;
use candle_mish::hub::HubError;
use candle_mish::report::ReportError;
use candle_mish::train::run_folder::CONFIG;
use candle_mish::train::{NonFiniteOrigin, TrainError};

/// What to do about an error, if there is something that its message does not say.
pub fn remedy(error: &(dyn Error + 'static)) -> Option<String> {
    let training = error.downcast_ref().and_then(of_training);
    let data = || error.downcast_ref().and_then(of_data);
    let hub = || error.downcast_ref().and_then(of_hub);
    let report = || error.downcast_ref().and_then(of_report);
    training.or_else(data).or_else(hub).or_else(report)
}

fn of_training(error: &TrainError) -> Option<String> {
    let text = match error {
        // These come of updates with a finite loss and gradient.
        TrainError::NonFiniteLoss {
            origin: Some(NonFiniteOrigin::Evaluation),
            ..
        }
        | TrainError::NonFiniteWeight { .. }
        | TrainError::NoFiniteUpdate { .. } => {
            "lower --lr, raise --warmup-epochs or clip gradients with --clip-grad"
        }
        TrainError::NonFiniteLoss { .. } | TrainError::NonFiniteGradient { .. } => {
            "lower --lr, raise --warmup-epochs, clip gradients with --clip-grad, or leave out such \
             updates with --nan skip"
        }
        TrainError::TimeLimitTooShort(_) => "raise --time-limit",
        TrainError::FolderTaken(_) => {
            "continue it with --resume, or choose another folder with --output"
        }
        TrainError::FolderNotEmpty { folder, .. } => return Some(subfolder(folder)),
        TrainError::NothingToResume { folder, .. } => return runs_below(folder),
        _ => return None,
    };
    Some(text.to_string())
}

fn of_data(error: &DataError) -> Option<String> {
    let text = match error {
        DataError::Unavailable { .. } => "name its folder with --data-dir",
        DataError::Option {
            option: "dataset", ..
        } => "give it as --dataset folder:PATH",
        _ => return None,
    };
    Some(text.to_string())
}

fn of_hub(error: &HubError) -> Option<String> {
    let text = "check the network connection, or use cached files with HF_HUB_OFFLINE=1";
    matches!(error, HubError::Unreachable { .. }).then(|| text.to_string())
}

fn of_report(error: &ReportError) -> Option<String> {
    match error {
        ReportError::NoRun { folder, .. } => runs_below(folder),
        _ => None,
    }
}

/// A folder for the results of a command, in one that holds other files.
pub fn subfolder(folder: &Path) -> String {
    let example = folder.join("NAME");
    format!("name a new folder, such as --output {}", example.display())
}

/// Where the runs are, if they are in the folder's subfolders.
fn runs_below(folder: &Path) -> Option<String> {
    let mut entries = std::fs::read_dir(folder).ok()?.flatten();
    let has_run = entries.any(|entry| entry.path().join(CONFIG).is_file());
    has_run.then(|| "its subfolders hold runs: name one, or all of them with /*".to_string())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use candle_mish::report::ReportError;
    use candle_mish::train::{NonFiniteOrigin, TrainError};

    use super::remedy;

    #[test]
    fn updates_are_left_out_only_if_that_helps() {
        let diverged = |origin| TrainError::NonFiniteLoss {
            loss: f64::NAN,
            epoch: 1,
            step: 10,
            lr: 1.0,
            origin,
        };
        for (origin, skips) in [
            (None, true),
            (Some(NonFiniteOrigin::Loss), true),
            (Some(NonFiniteOrigin::Evaluation), false),
        ] {
            let found = remedy(&diverged(origin)).expect("a remedy");
            assert_eq!(found.contains("--nan skip"), skips, "{found}");
        }
    }

    #[test]
    fn folders_of_runs_have_their_runs_named() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let no_run = || ReportError::NoRun {
            folder: folder.path().to_path_buf(),
            missing: "config.toml",
        };
        assert_eq!(remedy(&no_run()), None);
        std::fs::create_dir(folder.path().join("a"))?;
        std::fs::write(folder.path().join("a/config.toml"), "")?;
        assert!(remedy(&no_run()).is_some_and(|text| text.contains("subfolders")));
        let other = TrainError::FolderNotEmpty {
            folder: PathBuf::from("runs/"),
            entry: "a".to_string(),
        };
        let expected = "name a new folder, such as --output runs/NAME";
        assert_eq!(remedy(&other).as_deref(), Some(expected));
        Ok(())
    }
}
