//! The progress bar of many files.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

use crate::context::Context;
use crate::source::terminal_bar;

/// A progress bar on the terminal, which disappears when it is dropped.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// The bar for this number of files. There is none if the results are printed on the terminal,
    /// where they show the progress; `in_file` says that they are in a file.
    pub(super) fn new(files: usize, in_file: bool, context: &Context) -> Self {
        let printed = !in_file && std::io::stdout().is_terminal();
        if files < 2 || printed {
            return Self(ProgressBar::hidden());
        }
        let bar = terminal_bar(context);
        bar.set_length(files as u64);
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
