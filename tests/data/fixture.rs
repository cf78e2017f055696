//! Small data sets in the published layouts.

use std::path::Path;
use std::sync::Arc;

use candle_mish::data::{DataOptions, DatasetKind};
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

/// A byte of image `i`. The images differ everywhere and have no symmetry.
pub fn byte(i: usize, channel: usize, row: usize, column: usize) -> u8 {
    (i * 31 + channel * 85 + row * 7 + column * 3 + row * column) as u8
}

/// The planar bytes of image `i`.
pub fn planar(i: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(3072);
    for channel in 0..3 {
        for row in 0..32 {
            for column in 0..32 {
                bytes.push(byte(i, channel, row, column));
            }
        }
    }
    bytes
}

/// Image `i` as a PNG of the given size.
pub fn png(i: usize, width: u32, height: u32) -> Vec<u8> {
    let image = image::RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([0, 1, 2].map(|channel| byte(i, channel, y as usize, x as usize)))
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// The rows of a parquet file.
#[derive(Clone)]
pub struct Rows {
    pub images: Vec<Vec<u8>>,
    pub label: &'static str,
    pub labels: Vec<i64>,
    /// None for no such column.
    pub coarse: Option<Vec<i64>>,
    pub image: &'static str,
    /// Whether the images are a column of bytes instead of groups with bytes and path.
    pub plain: bool,
    pub compression: Compression,
    /// Metadata of the file.
    pub metadata: Vec<KeyValue>,
    pub group: usize,
}

impl Rows {
    /// `count` images from number `first` on, with CIFAR-100's columns.
    pub fn cifar100(first: usize, count: usize) -> Self {
        Self {
            images: (first..first + count).map(|i| png(i, 32, 32)).collect(),
            label: "fine_label",
            labels: (first..first + count).map(|i| i as i64 % 100).collect(),
            coarse: Some((first..first + count).map(|i| i as i64 % 20).collect()),
            image: "img",
            plain: false,
            compression: Compression::SNAPPY,
            metadata: Vec::new(),
            group: 7,
        }
    }

    /// `count` images from number `first` on, with CIFAR-10's columns.
    pub fn cifar10(first: usize, count: usize) -> Self {
        Self {
            label: "label",
            labels: (first..first + count).map(|i| i as i64 % 10).collect(),
            coarse: None,
            ..Self::cifar100(first, count)
        }
    }

    /// The bytes of the file.
    pub fn bytes(&self) -> Vec<u8> {
        let coarse = match self.coarse {
            Some(_) => "optional int64 coarse_label;",
            None => "",
        };
        let image = if self.plain {
            format!("optional binary {};", self.image)
        } else {
            format!(
                "optional group {} {{ optional binary bytes; optional binary path (UTF8); }}",
                self.image
            )
        };
        let schema = format!(
            "message schema {{ {image} optional int64 {}; {coarse} }}",
            self.label
        );
        let schema = Arc::new(parse_message_type(&schema).unwrap());
        let properties = Arc::new(
            WriterProperties::builder()
                .set_compression(self.compression)
                .set_key_value_metadata(Some(self.metadata.clone()))
                .build(),
        );
        let mut writer = SerializedFileWriter::new(Vec::new(), schema, properties).unwrap();
        let positions: Vec<usize> = (0..self.images.len()).collect();
        for group in positions.chunks(self.group) {
            let mut out = writer.next_row_group().unwrap();
            let images: Vec<ByteArray> = group
                .iter()
                .map(|&i| ByteArray::from(self.images[i].clone()))
                .collect();
            let mut column = out.next_column().unwrap().unwrap();
            let defined = vec![if self.plain { 1 } else { 2 }; group.len()];
            column
                .typed::<ByteArrayType>()
                .write_batch(&images, Some(&defined), None)
                .unwrap();
            column.close().unwrap();
            if !self.plain {
                let mut column = out.next_column().unwrap().unwrap();
                column
                    .typed::<ByteArrayType>()
                    .write_batch(&[], Some(&vec![1; group.len()]), None)
                    .unwrap();
                column.close().unwrap();
            }
            for labels in std::iter::once(&self.labels).chain(&self.coarse) {
                let labels: Vec<i64> = group.iter().map(|&i| labels[i]).collect();
                let mut column = out.next_column().unwrap().unwrap();
                column
                    .typed::<Int64Type>()
                    .write_batch(&labels, Some(&vec![1; group.len()]), None)
                    .unwrap();
                column.close().unwrap();
            }
            out.close().unwrap();
        }
        writer.into_inner().unwrap()
    }

    /// Writes the file.
    pub fn write(&self, path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, self.bytes()).unwrap();
    }
}

/// A folder of 30 training and 10 test images (numbers 100 to 109).
pub fn write_cifar100(folder: &Path) {
    Rows::cifar100(0, 30).write(&folder.join("train-00000-of-00001.parquet"));
    Rows::cifar100(100, 10).write(&folder.join("test-00000-of-00001.parquet"));
}

/// Records of the binary version: labels, then the planar image.
pub fn records(first: usize, count: usize, coarse: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    for i in first..first + count {
        if coarse {
            bytes.extend([(i % 20) as u8, (i % 100) as u8]);
        } else {
            bytes.push((i % 10) as u8);
        }
        bytes.extend(planar(i));
    }
    bytes
}

/// Options that read `folder` and keep decoded images in `cache`.
pub fn options(dataset: DatasetKind, folder: &Path, cache: &Path) -> DataOptions {
    DataOptions {
        dataset,
        data_dir: Some(folder.to_owned()),
        cache_dir: Some(cache.to_owned()),
        offline: true,
        ..DataOptions::default()
    }
}
