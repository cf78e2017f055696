//! Event files of TensorBoard.
//!
//! An [`EventWriter`] writes a file that TensorBoard reads: numbers, histograms, images and texts, each
//! with a tag and a step. [`read_events`] reads a file back, and [`proto`] has its messages.
//!
//! ```
//! use candle_mish::tensorboard::EventWriter;
//!
//! # fn main() -> std::io::Result<()> {
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! let mut events = EventWriter::create(folder, None)?;
//! for step in 1..=10 {
//!     events.scalar("train/loss", step, 1.0 / step as f64)?;
//! }
//! events.flush()
//! # }
//! ```

mod histogram;
pub mod proto;
mod read;
mod record;
mod writer;

pub use histogram::Histogram;
pub use read::read_events;
pub use record::{RecordError, Records};
pub use writer::{EventWriter, event_files};
