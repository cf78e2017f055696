//! The orientation in the metadata of image files.

use image::metadata::Orientation;
use image::{ImageDecoder, ImageFormat};

/// The orientation in a block of EXIF data, 1 to 8.
pub(super) fn exif(data: &[u8]) -> Option<u8> {
    Orientation::from_exif_chunk(data).map(Orientation::to_exif)
}

/// The orientation in XMP data, 1 to 8, in both forms that Pillow reads: an attribute or an element.
pub(super) fn xmp(data: &[u8]) -> Option<u8> {
    const NAME: &[u8] = b"tiff:Orientation";
    let mut names = data.windows(NAME.len()).enumerate();
    names.find_map(|(at, name)| {
        if name != NAME {
            return None;
        }
        let rest = &data[at + NAME.len()..];
        let value = rest
            .strip_prefix(b"=\"")
            .or_else(|| rest.strip_prefix(b">"))?;
        let value = value.first()?.wrapping_sub(b'0');
        (1..=8).contains(&value).then_some(value)
    })
}

/// The orientation that a decoder finds in EXIF, or else in XMP. `None` if the image is upright.
pub(super) fn orientation(
    decoder: &mut impl ImageDecoder,
    format: ImageFormat,
) -> Option<Orientation> {
    let found = if format == ImageFormat::Tiff {
        return upright(decoder.orientation().ok()?);
    } else {
        let own = decoder.exif_metadata().ok().flatten();
        let own = own.and_then(|data| exif(data.strip_prefix(b"Exif\0\0").unwrap_or(&data)));
        own.or_else(|| xmp(&decoder.xmp_metadata().ok().flatten()?))
    };
    from_value(found?)
}

/// The transformation for an EXIF value. `None` if the image is upright.
pub(super) fn from_value(value: u8) -> Option<Orientation> {
    upright(Orientation::from_exif(value)?)
}

fn upright(orientation: Orientation) -> Option<Orientation> {
    Some(orientation).filter(|orientation| *orientation != Orientation::NoTransforms)
}
