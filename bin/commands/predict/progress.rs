//! The progress bar of many files.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

use crate::context::Context;

/// A progress bar on the terminal, which disappears when it is dropped.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// The bar for `files`. Lines on the same terminal show the progress themselves: then, which is
    /// unless the results are `quiet`, there is no bar.
    pub(super) fn new(files: usize, quiet: bool, context: &Context) -> Self {
        let quiet = quiet || !std::io::stdout().is_terminal();
        if files < 2 || !quiet || !std::io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = context.bars.add(ProgressBar::new(files as u64));
        let template = "{bar:30} {pos}/{len} files {per_sec} {eta}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// Counts complete files.
    pub(super) fn advance(&self, files: usize) {
        self.0.inc(files as u64);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
