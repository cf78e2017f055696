//! Studies: the same training, or the same measurement of time, with every combination of some options, repeated over seeds, and
//! compared with statistics.
//!
//! A [`Study`] is read from TOML. It lists its [runs](Study::runs) in a balanced order, and
//! [analyses](Study::analyse) their outcomes.

mod analysis;
mod definition;
mod error;
mod grid;
mod metric;
mod outcome;
mod page;
mod published;
mod published_column;
pub mod statistics;
mod wording;

pub use analysis::{Analysis, CellResult, ComparisonResult, OverallResult, RankedSetting, Ranking};
pub use definition::{Axis, Settings, Study, StudyKind, WITHOUT_EFFECT, plain};
pub use error::StudyError;
pub use grid::PlannedRun;
pub use metric::Metric;
pub use outcome::{FAILURE, Failure, Outcome, Place, TIMING, Timed};
pub use page::{ReportedRun, StudyReport};
pub use published::{Published, PublishedFigure};
pub use published_column::{PublishedColumn, PublishedValue, SettingDifference};
pub use wording::{describe, interval, p_value};
