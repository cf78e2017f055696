//! The operators that a file may use.

use std::ops::RangeInclusive;

use candle_core::{Result, bail};

/// The default opset, the first with Mish.
pub const OPSET: i64 = 18;
/// The opsets that the exporter writes. The forms of its operators do not change after the last one
/// that it treats specially; the upper bound is the newest that was run.
pub const OPSETS: RangeInclusive<i64> = 13..=25;

/// The first opset with each operator that opset 13 lacks.
const ADDED: [(&str, i64); 2] = [("HardSwish", 14), ("Mish", 18)];
/// The first opset in which each reduction takes its axes as an input. Before it they are an
/// attribute.
const AXES_AS_INPUT: [(&str, i64); 2] = [("ReduceSum", 13), ("ReduceL2", 18)];
/// The version of the file format that came with each opset.
const IR_VERSIONS: [(i64, i64); 7] = [
    (13, 7),
    (15, 8),
    (19, 9),
    (21, 10),
    (23, 11),
    (24, 12),
    (25, 13),
];

/// The operators that a file may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportOptions {
    /// The version of ONNX's operator set, in [`OPSETS`].
    pub opset: i64,
    /// Composes Mish and HardSwish from operators of opset 13 even if `opset` has them, for runtimes
    /// that do not.
    pub decompose: bool,
}

impl Default for ExportOptions {
    /// [`OPSET`] with all its operators.
    fn default() -> Self {
        Self {
            opset: OPSET,
            decompose: false,
        }
    }
}

impl ExportOptions {
    /// Refuses an opset outside [`OPSETS`].
    pub(super) fn check(&self) -> Result<()> {
        if !OPSETS.contains(&self.opset) {
            let (first, last) = (OPSETS.start(), OPSETS.end());
            bail!("opset is {}, must be {first} to {last}", self.opset);
        }
        Ok(())
    }

    /// Whether the file may use `operator`. Otherwise, it must be decomposed.
    pub(super) fn has(&self, operator: &str) -> bool {
        match ADDED.iter().find(|(name, _)| *name == operator) {
            Some((_, first)) => !self.decompose && self.opset >= *first,
            None => true,
        }
    }

    /// Whether the reduction `operator` takes its axes as an input instead of an attribute.
    pub(super) fn takes_axes_as_input(&self, operator: &str) -> bool {
        let first = AXES_AS_INPUT.iter().find(|(name, _)| *name == operator);
        first.is_some_and(|(_, first)| self.opset >= *first)
    }

    /// The version of the file format.
    pub(super) fn ir_version(&self) -> i64 {
        let known = IR_VERSIONS.iter().rev();
        let mut reached = known.filter(|(opset, _)| *opset <= self.opset);
        reached
            .next()
            .map_or(IR_VERSIONS[0].1, |(_, version)| *version)
    }
}
