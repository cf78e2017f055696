//! Writes an event file.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use prost::Message;

use super::histogram::Histogram;
use super::proto::{
    DataType, Dim, Event, Image, PluginData, SessionLog, SessionStatus, Summary, SummaryMetadata,
    TensorProto, TensorShapeProto, Value, ValueKind, What,
};
use super::record;

/// The first record of every file.
const VERSION: &str = "brain.Event:2";
/// Names of event files start with this, followed by the time in seconds with ten digits.
const PREFIX: &str = "events.out.tfevents.";
/// Events wait in memory for this time, or until they fill the buffer.
const INTERVAL: Duration = Duration::from_secs(10);
const BUFFER: usize = 1 << 16;

/// Writes an event file. Events wait in memory for up to ten seconds; dropping the writer writes them.
#[derive(Debug)]
pub struct EventWriter {
    path: PathBuf,
    file: File,
    buffer: Vec<u8>,
    written: Instant,
}

impl EventWriter {
    /// Starts a file in `folder`, which is created if it is missing. Its name sorts after the event
    /// files in the folder, the order in which TensorBoard reads them.
    ///
    /// `continued` is the first step of a run that continues: TensorBoard drops this step and all
    /// after it from the older files.
    ///
    /// # Errors
    /// If the folder or the file cannot be written.
    pub fn create(folder: &Path, continued: Option<u64>) -> std::io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_secs();
        let newest = event_files(folder)?.last().and_then(|path| seconds(path));
        let seconds = newest.map_or(now, |newest| now.max(newest + 1));
        let path = folder.join(format!("{PREFIX}{seconds:010}.mish"));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)?;
        let mut writer = Self {
            path,
            file,
            buffer: Vec::new(),
            written: Instant::now(),
        };
        let step = continued.unwrap_or_default();
        writer.append(step, What::FileVersion(VERSION.to_string()))?;
        if continued.is_some() {
            let status = SessionStatus::Start as i32;
            writer.append(step, What::SessionLog(SessionLog { status }))?;
        }
        writer.flush()?;
        Ok(writer)
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A number.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn scalar(&mut self, tag: &str, step: u64, value: f64) -> std::io::Result<()> {
        self.value(tag, step, None, ValueKind::SimpleValue(value as f32))
    }

    /// The distribution of numbers.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn histogram(&mut self, tag: &str, step: u64, values: &Histogram) -> std::io::Result<()> {
        self.value(tag, step, None, ValueKind::Histo(values.proto()))
    }

    /// An image: a PNG file of `[channels, height, width]` pixels.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn image(
        &mut self,
        tag: &str,
        step: u64,
        [channels, height, width]: [usize; 3],
        png: Vec<u8>,
    ) -> std::io::Result<()> {
        let size = |pixels: usize| i32::try_from(pixels).unwrap_or(i32::MAX);
        let image = Image {
            height: size(height),
            width: size(width),
            colorspace: size(channels),
            encoded_image_string: png,
        };
        self.value(tag, step, None, ValueKind::Image(image))
    }

    /// A text in Markdown.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn text(&mut self, tag: &str, step: u64, text: &str) -> std::io::Result<()> {
        let tensor = TensorProto {
            dtype: DataType::String as i32,
            tensor_shape: Some(TensorShapeProto {
                dim: vec![Dim { size: 1 }],
            }),
            string_val: vec![text.as_bytes().to_vec()],
        };
        // The name that the text plugin gives its values.
        let tag = format!("{tag}/text_summary");
        self.value(&tag, step, Some("text"), ValueKind::Tensor(tensor))
    }

    fn value(
        &mut self,
        tag: &str,
        step: u64,
        plugin: Option<&str>,
        value: ValueKind,
    ) -> std::io::Result<()> {
        let plugin_data = |name: &str| PluginData {
            plugin_name: name.to_string(),
        };
        let value = Value {
            tag: tag.to_string(),
            metadata: plugin.map(|name| SummaryMetadata {
                plugin_data: Some(plugin_data(name)),
            }),
            value: Some(value),
        };
        self.append(step, What::Summary(Summary { value: vec![value] }))
    }

    fn append(&mut self, step: u64, what: What) -> std::io::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let event = Event {
            wall_time: now.unwrap_or_default().as_secs_f64(),
            step: i64::try_from(step).unwrap_or(i64::MAX),
            what: Some(what),
        };
        record::append(&mut self.buffer, &event.encode_to_vec());
        if self.buffer.len() >= BUFFER || self.written.elapsed() >= INTERVAL {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes the events that wait in memory.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn flush(&mut self) -> std::io::Result<()> {
        self.written = Instant::now();
        let written = self.file.write_all(&self.buffer);
        // Also after an error: a part of them may be in the file.
        self.buffer.clear();
        written
    }
}

impl Drop for EventWriter {
    fn drop(&mut self) {
        if let Err(error) = self.flush() {
            tracing::warn!("cannot write {}: {error}", self.path.display());
        }
    }
}

/// The event files in `folder`, in the order in which TensorBoard reads them.
///
/// # Errors
/// If the folder cannot be read.
pub fn event_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// The time in the name of an event file.
fn seconds(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_prefix(PREFIX)?;
    name.split('.').next()?.parse().ok()
}
