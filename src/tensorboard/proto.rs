//! The messages of event files, with the field numbers of TensorFlow's `event.proto`,
//! `summary.proto` and `tensor.proto`. Only the fields that [`EventWriter`](super::EventWriter) writes.

use prost::{Enumeration, Message, Oneof};

/// A record of an event file.
#[derive(Clone, PartialEq, Message)]
pub struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    pub wall_time: f64,
    /// The step of the run.
    #[prost(int64, tag = "2")]
    pub step: i64,
    /// The content.
    #[prost(oneof = "What", tags = "3, 5, 7")]
    pub what: Option<What>,
}

/// The content of an event.
#[derive(Clone, PartialEq, Oneof)]
pub enum What {
    /// The version of the format, the first record of a file.
    #[prost(string, tag = "3")]
    FileVersion(String),
    /// Values.
    #[prost(message, tag = "5")]
    Summary(Summary),
    /// The run starts or continues.
    #[prost(message, tag = "7")]
    SessionLog(SessionLog),
}

/// A change of the state of the program.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct SessionLog {
    /// The new state.
    #[prost(enumeration = "SessionStatus", tag = "1")]
    pub status: i32,
}

/// The state of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum SessionStatus {
    /// Not known.
    Unspecified = 0,
    /// It starts at the step of the event. Readers drop this step and all after it from older files.
    Start = 1,
}

/// Values of a step.
#[derive(Clone, PartialEq, Message)]
pub struct Summary {
    /// The values.
    #[prost(message, repeated, tag = "1")]
    pub value: Vec<Value>,
}

/// A value with its name.
#[derive(Clone, PartialEq, Message)]
pub struct Value {
    /// The name. A slash separates groups.
    #[prost(string, tag = "1")]
    pub tag: String,
    /// How to show the value.
    #[prost(message, optional, tag = "9")]
    pub metadata: Option<SummaryMetadata>,
    /// The value.
    #[prost(oneof = "ValueKind", tags = "2, 4, 5, 8")]
    pub value: Option<ValueKind>,
}

/// A value.
#[derive(Clone, PartialEq, Oneof)]
pub enum ValueKind {
    /// A number.
    #[prost(float, tag = "2")]
    SimpleValue(f32),
    /// An image.
    #[prost(message, tag = "4")]
    Image(Image),
    /// A distribution.
    #[prost(message, tag = "5")]
    Histo(HistogramProto),
    /// A tensor, here of text.
    #[prost(message, tag = "8")]
    Tensor(TensorProto),
}

/// How to show a value.
#[derive(Clone, PartialEq, Message)]
pub struct SummaryMetadata {
    /// The part of TensorBoard that shows it.
    #[prost(message, optional, tag = "1")]
    pub plugin_data: Option<PluginData>,
}

/// A part of TensorBoard.
#[derive(Clone, PartialEq, Message)]
pub struct PluginData {
    /// Its name.
    #[prost(string, tag = "1")]
    pub plugin_name: String,
}

/// An encoded image.
#[derive(Clone, PartialEq, Message)]
pub struct Image {
    /// Rows.
    #[prost(int32, tag = "1")]
    pub height: i32,
    /// Columns.
    #[prost(int32, tag = "2")]
    pub width: i32,
    /// The number of channels: 1 grey, 3 RGB.
    #[prost(int32, tag = "3")]
    pub colorspace: i32,
    /// The file, for example a PNG.
    #[prost(bytes = "vec", tag = "4")]
    pub encoded_image_string: Vec<u8>,
}

/// The distribution of numbers.
#[derive(Clone, PartialEq, Message)]
pub struct HistogramProto {
    /// The lowest number.
    #[prost(double, tag = "1")]
    pub min: f64,
    /// The highest number.
    #[prost(double, tag = "2")]
    pub max: f64,
    /// How many.
    #[prost(double, tag = "3")]
    pub num: f64,
    /// Their sum.
    #[prost(double, tag = "4")]
    pub sum: f64,
    /// The sum of their squares.
    #[prost(double, tag = "5")]
    pub sum_squares: f64,
    /// The upper end of each bucket.
    #[prost(double, repeated, tag = "6")]
    pub bucket_limit: Vec<f64>,
    /// How many numbers each bucket has.
    #[prost(double, repeated, tag = "7")]
    pub bucket: Vec<f64>,
}

/// A tensor of texts.
#[derive(Clone, PartialEq, Message)]
pub struct TensorProto {
    /// The element type.
    #[prost(enumeration = "DataType", tag = "1")]
    pub dtype: i32,
    /// The dimensions.
    #[prost(message, optional, tag = "2")]
    pub tensor_shape: Option<TensorShapeProto>,
    /// The texts, in UTF-8.
    #[prost(bytes = "vec", repeated, tag = "8")]
    pub string_val: Vec<Vec<u8>>,
}

/// An element type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum DataType {
    /// Not known.
    Invalid = 0,
    /// Text.
    String = 7,
}

/// The dimensions of a tensor.
#[derive(Clone, PartialEq, Message)]
pub struct TensorShapeProto {
    /// Each dimension.
    #[prost(message, repeated, tag = "2")]
    pub dim: Vec<Dim>,
}

/// A dimension.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Dim {
    /// Its size.
    #[prost(int64, tag = "1")]
    pub size: i64,
}
