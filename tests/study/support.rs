//! What several tests use.

use candle_mish::train::Summary;
use serde_json::json;

/// The summary of a run with this accuracy.
pub fn summary(top1: f64) -> Summary {
    let fields = json!({
        "model": "a", "activation": "relu", "dataset": "synthetic", "source": null, "seed": 0,
        "epochs": 10, "params": 1, "train_images": 1, "test_images": 1, "best_epoch": 10,
        "best_top1": top1, "final_top1": top1, "final_top5": 1.0, "final_loss": 1.0,
        "train_images_per_second": 1.0, "seconds": 1.0, "threads": 1, "version": "0"
    });
    serde_json::from_value(fields).expect("a summary")
}
