//! The structure of JPEG files, which the decoder does not check: it fills missing data with grey.

use std::io::{ErrorKind, Read, Seek, SeekFrom};

use super::metadata;

const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;
const APP0: u8 = 0xe0;
const APP1: u8 = 0xe1;
const APP14: u8 = 0xee;
/// TEM and the restart markers, which have no length.
const BARE: [u8; 9] = [0x01, 0xd0, 0xd1, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7];

/// The byte of Adobe's segment that names the colour transform: after the name, the version and two
/// words of flags.
const TRANSFORM: usize = 11;

/// The most pixels that a byte of image data can stand for. The code of a block of 8 x 8 pixels has at
/// least one bit, and sampling factors of 4 x 4 leave at least 4 blocks for 32 x 32 pixels.
const MOST_PIXELS_PER_BYTE: u64 = 2048;

/// What the segments before the first scan say.
#[derive(Debug, Default)]
pub(super) struct Frame {
    pub(super) width: u32,
    pub(super) height: u32,
    /// The orientation in EXIF or XMP, 1 to 8.
    pub(super) orientation: u8,
    components: u8,
    jfif: bool,
    /// Adobe's colour transform, and where it is in the file.
    adobe: Option<(u8, u64)>,
    /// Where the first scan's data begins, with its header.
    scan: u64,
}

impl Frame {
    /// Reads the segments up to the first scan. The error is the problem alone.
    pub(super) fn read<R: Read + Seek>(file: &mut R) -> Result<Self, String> {
        let cut = |error: std::io::Error| match error.kind() {
            ErrorKind::UnexpectedEof => "the JPEG ends within its header".to_owned(),
            _ => error.to_string(),
        };
        let mut frame = Self::default();
        let (mut exif, mut xmp) = (None, None);
        loop {
            let marker = next_marker(file).map_err(cut)?;
            match marker {
                SOI => continue,
                EOI => return Err("the JPEG has no image data".to_owned()),
                bare if BARE.contains(&bare) => continue,
                _ => {}
            }
            let start = file.stream_position().map_err(cut)?;
            let mut length = [0; 2];
            file.read_exact(&mut length).map_err(cut)?;
            let length = u16::from_be_bytes(length).saturating_sub(2);
            match marker {
                SOS => {
                    frame.scan = start;
                    break;
                }
                0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                    let body = segment(file, length).map_err(cut)?;
                    frame.start_of_frame(marker, &body)?;
                }
                APP0 | APP1 | APP14 => {
                    let body = segment(file, length).map_err(cut)?;
                    match marker {
                        APP0 => frame.jfif |= body.starts_with(b"JFIF\0"),
                        APP14 if body.starts_with(b"Adobe") => {
                            let transform = body.get(TRANSFORM);
                            let at = start + 2 + TRANSFORM as u64;
                            frame.adobe = transform.map(|transform| (*transform, at));
                        }
                        APP1 if exif.is_none() => {
                            exif = body.strip_prefix(b"Exif\0\0").and_then(metadata::exif);
                            xmp = xmp.or_else(|| metadata::xmp(&body));
                        }
                        _ => {}
                    }
                }
                _ => file.seek_relative(i64::from(length)).map_err(cut)?,
            }
        }
        if frame.components == 0 {
            return Err("the JPEG has no frame header".to_owned());
        }
        frame.orientation = exif.or(xmp).unwrap_or(1);
        Ok(frame)
    }

    fn start_of_frame(&mut self, marker: u8, body: &[u8]) -> Result<(), String> {
        let &[precision, h1, h0, w1, w0, components, ..] = body else {
            return Err("the JPEG's frame header is truncated".to_owned());
        };
        if !(0xc0..=0xc2).contains(&marker) {
            return Err(
                "a lossless, hierarchical or arithmetic JPEG cannot be decoded; baseline and \
                 progressive can"
                    .to_owned(),
            );
        }
        if precision != 8 {
            return Err(format!(
                "a JPEG of {precision} bits cannot be decoded; 8 bits can"
            ));
        }
        if !matches!(components, 1 | 3 | 4) {
            return Err(format!(
                "a JPEG of {components} components has no known colours"
            ));
        }
        self.height = u32::from(u16::from_be_bytes([h1, h0]));
        self.width = u32::from(u16::from_be_bytes([w1, w0]));
        self.components = components;
        Ok(())
    }

    /// Checks that the image data ends with an end-of-image marker. libjpeg and so Pillow refuse a
    /// file without. Reads the end of the file only, if the marker is there.
    pub(super) fn check_end<R: Read + Seek>(&self, file: &mut R) -> Result<(), String> {
        let io = |error: std::io::Error| error.to_string();
        let mut end = [0; 2];
        let length = file.seek(SeekFrom::End(0)).map_err(io)?;
        self.check_amount(length.saturating_sub(self.scan))?;
        file.seek(SeekFrom::End(-2)).map_err(io)?;
        file.read_exact(&mut end).map_err(io)?;
        if end == [0xff, EOI] {
            return Ok(());
        }
        // Something follows the image, or the image is cut short.
        file.seek(SeekFrom::Start(self.scan)).map_err(io)?;
        let mut scans = Vec::new();
        file.read_to_end(&mut scans).map_err(io)?;
        check_scans(&scans)
    }

    /// Checks the image data of a whole file: its markers must be those that libjpeg accepts, with
    /// an end-of-image marker after the last scan.
    pub(super) fn check_data(&self, file: &[u8]) -> Result<(), String> {
        let data = file.get(self.scan as usize..).unwrap_or_default();
        self.check_amount(data.len() as u64)?;
        check_scans(data)
    }

    /// Refuses a size that the data cannot hold, for which the decoder would only make grey.
    fn check_amount(&self, bytes: u64) -> Result<(), String> {
        let Self { width, height, .. } = self;
        let pixels = u64::from(*width) * u64::from(*height);
        if pixels > bytes.saturating_mul(MOST_PIXELS_PER_BYTE) {
            return Err(format!(
                "the JPEG is truncated: {bytes} bytes of data for {width} x {height} pixels"
            ));
        }
        Ok(())
    }

    /// Rewrites Adobe's colour transform to what libjpeg makes of it: a JFIF file with three
    /// components is YCbCr, and an unknown transform is YCbCr or YCCK.
    pub(super) fn normalise_transform(&self, file: &mut [u8]) {
        let Some((transform, at)) = self.adobe else {
            return;
        };
        let taken = match (self.components, transform) {
            (3, 0) if !self.jfif => 0,
            (3, _) => 1,
            (4, 0) => 0,
            (4, _) => 2,
            _ => return,
        };
        if taken != transform
            && let Some(byte) = file.get_mut(at as usize)
        {
            *byte = taken;
        }
    }
}

/// The next marker. Bytes before it are skipped, as libjpeg does.
fn next_marker<R: Read>(file: &mut R) -> std::io::Result<u8> {
    let mut byte = [0];
    loop {
        while byte[0] != 0xff {
            file.read_exact(&mut byte)?;
        }
        while byte[0] == 0xff {
            file.read_exact(&mut byte)?;
        }
        if byte[0] != 0 {
            return Ok(byte[0]);
        }
    }
}

fn segment<R: Read>(file: &mut R, length: u16) -> std::io::Result<Vec<u8>> {
    let mut body = vec![0; usize::from(length)];
    file.read_exact(&mut body)?;
    Ok(body)
}

/// Checks the markers of scans, from the header of the first one on.
fn check_scans(data: &[u8]) -> Result<(), String> {
    let mut rest = skip_segment(data);
    while let Some(at) = memchr::memchr(0xff, rest) {
        rest = &rest[at + 1..];
        match rest.first() {
            Some(&EOI) => return Ok(()),
            // Stuffing and fill bytes belong to the data.
            Some(0 | 0xff) | None => {}
            Some(marker) if BARE.contains(marker) => {}
            // Another scan, tables for it, or a comment.
            Some(&marker @ (0xc4 | 0xcc | SOS..=0xdd | APP0..=0xef | 0xfe)) => {
                rest = skip_segment(&rest[1..]);
                if rest.is_empty() {
                    return Err(format!("the JPEG ends within segment {marker:#04x}"));
                }
            }
            Some(marker) => {
                return Err(format!(
                    "the JPEG is damaged: marker {marker:#04x} in its data"
                ));
            }
        }
    }
    Err("the JPEG is truncated: its end marker is missing".to_owned())
}

fn skip_segment(data: &[u8]) -> &[u8] {
    let length = match data {
        [high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
        _ => data.len(),
    };
    data.get(length..).unwrap_or_default()
}
