//! The result of a run in one line.

use std::path::Path;

use candle_mish::eval::Evaluation;
use candle_mish::train::Summary;

/// The result of the run in `folder`, whose recipe has this number of epochs. All figures are those on
/// the test images.
pub(super) fn line(summary: &Summary, epochs: usize, folder: &Path) -> String {
    let chosen = summary
        .best_chosen_on
        .map(|set| format!(", chosen on the {set} images"));
    let chosen = chosen.unwrap_or_default();
    let early = match summary.stopped_early {
        true => format!(
            "; stopped early after {} of {epochs} epochs",
            summary.epochs
        ),
        false => String::new(),
    };
    let averaged = |name: &str, evaluation: Evaluation| {
        format!(" {name} top-1 {:.2} %,", 100.0 * evaluation.top1)
    };
    let ema = summary.ema.map(|ema| averaged("EMA", ema.last));
    let swa = summary.swa.map(|swa| averaged("SWA", swa));
    let averages: String = ema.into_iter().chain(swa).collect();
    format!(
        "{} with {} on {}: test top-1 {:.2} % (best weights {:.2} %, of epoch {}{chosen}), top-5 \
         {:.2} %,{averages} loss {:.4}{early}; {:.0} img/s, {:.0} s; saved in {}",
        summary.model,
        summary.activation,
        summary.dataset,
        100.0 * summary.final_top1,
        100.0 * summary.best_top1,
        summary.best_epoch,
        100.0 * summary.final_top5,
        summary.final_loss,
        summary.train_images_per_second,
        summary.seconds,
        folder.display(),
    )
}
