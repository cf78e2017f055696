//! Names in the file.

/// The name of the network's input, `[batch, C, H, W]`.
pub const INPUT: &str = "input";
/// The name of its output, `[batch, classes]`.
pub const OUTPUT: &str = "logits";
/// The name of the open first axis of the input and the output.
pub const BATCH: &str = "batch";
