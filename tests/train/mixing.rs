//! Training with mixed and erased images: soft labels reach the loss, and runs resume exactly.

use std::path::Path;

use candle_core::{Device, Tensor};
use candle_mish::data::{FlipMode, MixupMode};
use candle_mish::ops::Target;
use candle_mish::train::run_folder::{BEST, LAST};
use candle_mish::train::{LossKind, Outcome, Recipe};

use crate::trainer::{Session, metrics, recipe, timeless};

fn session(path: &Path) -> Session<'_> {
    let mut session = Session::new(path);
    session.recipe = Recipe {
        mixup: 0.4,
        cutmix: 1.0,
        mixup_mode: Some(MixupMode::Elem),
        mixup_off_epoch: Some(2),
        reprob: 0.5,
        recount: Some(2),
        cutout: 8,
        input_noise: 0.5,
        flip_mode: FlipMode::Alternating,
        aug_repeats: 2,
        ..recipe()
    };
    session
}

#[test]
fn an_interrupted_run_with_mixing_resumes_bit_for_bit() {
    let folder = tempfile::tempdir().expect("a folder");
    let straight = folder.path().join("straight");
    let (outcome, _) = session(&straight).run().expect("a run");
    assert!(matches!(outcome, Outcome::Finished(_)));
    // An epoch has six steps, the last one without mixing.
    for stops in [vec![2], vec![6], vec![8, 10, 15]] {
        let path = folder.path().join(format!("{stops:?}"));
        for (i, stop) in stops.iter().enumerate() {
            let mut part = session(&path);
            part.stop_after = Some(*stop);
            part.resume = i > 0;
            let (outcome, _) = part.run().expect("a run");
            assert_eq!(outcome, Outcome::Interrupted { step: *stop });
        }
        let mut rest = session(&path);
        rest.resume = true;
        let (outcome, _) = rest.run().expect("a run");
        assert!(matches!(outcome, Outcome::Finished(_)));
        for file in [BEST, LAST] {
            let bytes = |folder: &Path| std::fs::read(folder.join(file)).expect("weights");
            assert!(bytes(&straight) == bytes(&path), "{file} after {stops:?}");
        }
        assert_eq!(timeless(&metrics(&straight)), timeless(&metrics(&path)));
    }
}

/// A rectangle as large as the image swaps whole images, so that the labels of a batch are right only
/// if they are swapped too.
#[test]
fn labels_move_with_their_images() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut session = Session::new(folder.path());
    session.recipe = Recipe {
        epochs: 12,
        cutmix_minmax: Some([1.0, 1.0]),
        ..recipe()
    };
    let (outcome, _) = session.run().expect("a run");
    let Outcome::Finished(record) = outcome else {
        panic!("{outcome:?}");
    };
    let (first, last) = (&record.epochs[0], &record.epochs[11]);
    assert!(last.train_loss < first.train_loss - 0.3, "{record:?}");
    // The accuracy on training images is that of the labels of the images before mixing: chance.
    assert!(last.train_top1 < 0.1, "{record:?}");
}

#[test]
fn the_margin_loss_refuses_mixed_labels() {
    let margin = Recipe {
        loss: LossKind::Margin,
        ..Recipe::default()
    };
    let logits = Tensor::new(&[[0.5f32, 0.1]], &Device::Cpu).expect("logits");
    let targets = Tensor::new(&[[0.75f32, 0.25]], &Device::Cpu).expect("targets");
    let error = margin.loss_of(&logits, &Target::Probabilities(&targets));
    let error = error.expect_err("an error").to_string();
    assert!(error.contains("the margin loss takes classes"), "{error}");
    let entropy = Recipe::default();
    let loss = entropy.loss_of(&logits, &Target::Probabilities(&targets));
    let loss = loss
        .and_then(|loss| loss.to_scalar::<f32>())
        .expect("a loss");
    let log_sum = (0.5f32.exp() + 0.1f32.exp()).ln();
    let expected = 0.75 * (log_sum - 0.5) + 0.25 * (log_sum - 0.1);
    assert!((loss - expected).abs() < 1e-6, "{loss} {expected}");
}

fn message(toml: &str) -> String {
    Recipe::from_toml(toml).expect_err(toml).to_string()
}

#[test]
fn recipes_of_mixing_survive_toml_and_have_ranges() {
    let text = "mixup = 0.2\ncutmix_minmax = [0.2, 0.8]\nmixup_mode = 'pair'\nreprob = 0.25\n\
                remode = 'rand'\ntrain_img_sizes = '0:16,2:32'\nflip_mode = 'alternating'\n";
    let recipe = Recipe::from_toml(text).expect("a recipe");
    assert_eq!(recipe.mixup_mode, Some(MixupMode::Pair));
    let written = toml::to_string(&recipe).expect("TOML");
    assert_eq!(Recipe::from_toml(&written).expect("a recipe"), recipe);
    let complete = recipe.with_mixing_defaults();
    assert_eq!(
        (complete.mixup_prob, complete.recount),
        (Some(1.0), Some(1))
    );
    assert_eq!(complete.clone().with_mixing_defaults(), complete);
    assert_eq!(Recipe::default().with_mixing_defaults(), Recipe::default());
    for (toml, said) in [
        ("mixup = -0.1", "mixup is -0.1"),
        ("mixup = inf", "mixup is inf"),
        ("cutmix = 1e9", "cutmix is 1000000000.0"),
        ("cutmix_minmax = [0.0, 0.5]", "cutmix_minmax"),
        ("mixup = 1.0\nmixup_prob = 1.5", "mixup_prob is 1.5"),
        ("mixup = 1.0\nmixup_off_epoch = 0", "mixup_off_epoch is 0"),
        ("reprob = 1.5", "reprob is 1.5"),
        ("input_noise = -1.0", "input_noise is -1"),
        ("reprob = 0.5\nrecount = 0", "recount is 0"),
        ("cutout = 100000", "cutout is 100000"),
        ("aug_repeats = 100000", "aug_repeats is 100000"),
        ("train_img_sizes = '20'", "0:20,4:28,8:32"),
        ("mixup_mode = 'half'", "unknown variant `half`"),
    ] {
        let message = message(toml);
        assert!(message.contains(said), "{toml}: {message}");
    }
}
