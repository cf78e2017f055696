//! Reports of runs: one run as a page with all that one wants to know about it, and several runs
//! compared.
//!
//! [`StoredRun`] reads the folder of a run. [`Comparison`] compares several, and [`RunReport`] adds
//! the predictions of the last weights for the test images.

mod comparison;
mod confusion;
mod error;
mod page;
mod provenance;
mod run_report;
mod settings;
mod stored_run;
mod time;

pub use comparison::{Comparison, Figure};
pub use error::ReportError;
pub use provenance::{HashedFile, hash_data, hash_weights};
pub use run_report::RunReport;
pub use settings::settings;
pub use stored_run::StoredRun;
