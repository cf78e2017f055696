"""Writes image_variants.json: how Pillow reads unusual and damaged image files.

- `variants`: files with the bytes of Pillow's `convert("RGB")`, before and after `ImageOps.exif_transpose`.
  JPEG files with four components, with and without Adobe's marker, with each of its colour transforms; all
  orientations in EXIF, XMP and TIFF; 16-bit grey in PNG, TIFF and PGM.
- `cuts`: for each format, the lengths at which Pillow still reads a file that is cut there.
- `refused`: files that Pillow refuses: other damage, and headers that promise too many pixels.

    pip install pillow==13.0.0 numpy
    python image_variants.py        # writes image_variants.json
"""

import io
import json
import pathlib
import struct
import warnings
import zlib

import numpy as np
import PIL
from PIL import Image, ImageOps

import pictures

pattern, png16, saved, smooth = (
    pictures.pattern,
    pictures.png16,
    pictures.saved,
    pictures.smooth,
)


def rgb() -> Image.Image:
    return Image.fromarray(pattern())


def small() -> Image.Image:
    return Image.fromarray(smooth()[:8, :12])


def cmyk() -> Image.Image:
    """A smooth image whose inks all differ."""
    y, x = np.mgrid[0:16, 0:24]
    inks = np.stack([8 * x, 200 - 9 * y, 30 + 5 * x + 3 * y, 6 * y], axis=-1)
    return Image.fromarray(inks.astype(np.uint8), "CMYK")


def segment(file: bytes, marker: int) -> tuple[int, int]:
    """Where a segment of a JPEG starts and ends."""
    start = file.index(bytes([0xFF, marker]))
    return start, start + 2 + struct.unpack(">H", file[start + 2 : start + 4])[0]


def without(file: bytes, marker: int) -> bytes:
    start, end = segment(file, marker)
    return file[:start] + file[end:]


def with_adobe(file: bytes, transform: int) -> bytes:
    """A JPEG with Adobe's marker, which gets this colour transform."""
    if b"\xff\xee" in file:
        file = without(file, 0xEE)
    marker = b"\xff\xee" + struct.pack(">H", 14) + b"Adobe" + bytes([0, 100, 0, 0, 0, 0, transform])
    return file[:2] + marker + file[2:]


def oriented(format: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}, "PNG": {}}[format]
    return saved(small(), format, exif=exif, **options)


def xmp(orientation: int, element: bool) -> bytes:
    value = f"<tiff:Orientation>{orientation}</tiff:Orientation>" if element else ""
    attribute = "" if element else f' tiff:Orientation="{orientation}"'
    return f"<x:xmpmeta><rdf:Description{attribute}>{value}</rdf:Description></x:xmpmeta>".encode()


def with_xmp(orientation: int, element: bool) -> bytes:
    body = b"http://ns.adobe.com/xap/1.0/\0" + xmp(orientation, element)
    file = saved(small(), "JPEG", quality=95, subsampling=0)
    return file[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + file[2:]


def grey16() -> np.ndarray:
    values = pattern()[:8, :12, 0].astype(np.uint16) * 257
    values[::3] %= 300
    return values


def variants() -> dict[str, bytes]:
    ink = saved(cmyk(), "JPEG", quality=95)
    progressive = saved(cmyk(), "JPEG", quality=95, progressive=True)
    colour = saved(small(), "JPEG", quality=95, subsampling=0)
    files = {
        "cmyk.jpg": ink,
        "cmyk_progressive.jpg": progressive,
        "cmyk_without_adobe.jpg": without(ink, 0xEE),
        "cmyk_progressive_without_adobe.jpg": without(progressive, 0xEE),
        "cmyk_transform_1.jpg": with_adobe(ink, 1),
        "ycck.jpg": with_adobe(ink, 2),
        "ycck_progressive.jpg": with_adobe(progressive, 2),
        "cmyk_transform_7.jpg": with_adobe(ink, 7),
        "cmyk.tif": saved(cmyk(), "TIFF"),
        "rgb.jpg": saved(small(), "JPEG", quality=95, keep_rgb=True),
        "rgb_without_adobe.jpg": without(saved(small(), "JPEG", quality=95, keep_rgb=True), 0xEE),
        "jfif_transform_0.jpg": with_adobe(colour, 0),
        "transform_0.jpg": with_adobe(without(colour, 0xE0), 0),
        "transform_2.jpg": with_adobe(without(colour, 0xE0), 2),
        "transform_7.jpg": with_adobe(without(colour, 0xE0), 7),
        "trailing_bytes.jpg": colour + b"\0" * 40 + b"more",
        "trailing_bytes.png": saved(small(), "PNG") + b"more",
        "grey_16_bits.png": png16(0, 1),
        "grey_16_bits.tif": saved(Image.fromarray(grey16()), "TIFF"),
        "grey_16_bits.pgm": b"P5\n12 8\n65535\n" + grey16().astype(">u2").tobytes(),
        "xmp_attribute.jpg": with_xmp(6, False),
        "xmp_element.jpg": with_xmp(8, True),
    }
    for orientation in range(1, 9):
        for format, extension in [("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp")]:
            files[f"orientation_{orientation}.{extension}"] = oriented(format, orientation)
        tagged = saved(small(), "TIFF", tiffinfo={0x0112: orientation})
        files[f"orientation_{orientation}.tif"] = tagged
    return files


def whole_files() -> dict[str, bytes]:
    image = rgb()
    translucent = image.copy()
    translucent.putalpha(image.convert("L"))
    return {
        "baseline.jpg": saved(image, "JPEG", quality=60, subsampling=2),
        "444.jpg": saved(image, "JPEG", quality=60, subsampling=0),
        "progressive.jpg": saved(image, "JPEG", quality=60, subsampling=2, progressive=True),
        "restarts.jpg": saved(image, "JPEG", quality=60, restart_marker_rows=1),
        "cmyk.jpg": saved(image.convert("CMYK"), "JPEG", quality=50),
        "rgb.png": saved(image, "PNG"),
        "palette.png": saved(image.quantize(9), "PNG"),
        "rgb.bmp": saved(image, "BMP"),
        "rgb.ppm": saved(image, "PPM"),
        "raw.tif": saved(image, "TIFF"),
        "lzw.tif": saved(image, "TIFF", compression="tiff_lzw"),
        "deflate.tif": saved(image, "TIFF", compression="tiff_adobe_deflate"),
        "lossless.webp": saved(image, "WEBP", lossless=True),
        "lossy.webp": saved(image, "WEBP", quality=60),
        "alpha.webp": saved(translucent, "WEBP", quality=60),
    }


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def refused() -> dict[str, bytes]:
    jpeg = saved(rgb(), "JPEG", quality=60, subsampling=0)
    png = saved(rgb(), "PNG")
    frame, _ = segment(jpeg, 0xC0)
    scan, header = segment(jpeg, 0xDA)
    middle = (header + len(jpeg)) // 2
    ihdr = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    bmp = bytearray(saved(rgb(), "BMP"))
    bmp[18:26] = struct.pack("<ii", 60000, 60000)
    tiff = bytearray(saved(rgb(), "TIFF"))
    webp = bytearray(saved(rgb(), "WEBP", lossless=True))
    # 14 bits each of width - 1 and height - 1.
    webp[21:25] = struct.pack("<I", 16382 | 16382 << 14 | struct.unpack("<I", webp[21:25])[0] >> 28 << 28)
    for tag in (0x0100, 0x0101):
        at = tiff.index(struct.pack("<HHI", tag, 4, 1)) + 8
        tiff[at : at + 4] = struct.pack("<I", 60000)
    return {
        "no_end.jpg": jpeg[:-2],
        "unknown_marker.jpg": jpeg[:middle] + b"\xff\x4a" + jpeg[middle:],
        "header_alone.jpg": jpeg[:scan],
        "bad_header_checksum.png": png[:29] + bytes([png[29] ^ 1]) + png[30:],
        "too_large.jpg": jpeg[: frame + 5] + struct.pack(">HH", 65500, 65500) + jpeg[frame + 9 :],
        "too_large.png": png[:8] + chunk(b"IHDR", ihdr) + png[33:],
        "too_large.bmp": bytes(bmp),
        "too_large.ppm": b"P6\n60000 60000\n255\n" + bytes(100),
        "too_large.tif": bytes(tiff),
        "too_large.webp": bytes(webp),
        "empty.jpg": b"",
        "text.png": b"<html>not found</html>",
    }


def reads(file: bytes) -> bool:
    try:
        Image.open(io.BytesIO(file)).convert("RGB")
    except Exception:
        return False
    return True


def planar(image: Image.Image) -> dict:
    values = np.asarray(image.convert("RGB"))
    height, width = values.shape[:2]
    return {"height": height, "width": width, "rgb": values.transpose(2, 0, 1).tobytes().hex()}


def variant(name: str, file: bytes) -> dict:
    plain = planar(Image.open(io.BytesIO(file)))
    transposed = planar(ImageOps.exif_transpose(Image.open(io.BytesIO(file))))
    result = {"name": name, "file": file.hex(), "plain": plain}
    return result if transposed == plain else {**result, "transposed": transposed}


def cut(name: str, file: bytes) -> dict:
    step = max(1, len(file) // 60)
    lengths = sorted({*range(0, len(file), step), *range(len(file) - 12, len(file))})
    assert reads(file), name
    read = [length for length in lengths if reads(file[:length])]
    return {"name": name, "file": file.hex(), "lengths": lengths, "read": read}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    bad = refused()
    for name, file in bad.items():
        assert not reads(file), name
    reference = {
        "pillow": PIL.__version__,
        "variants": [variant(name, file) for name, file in variants().items()],
        "cuts": [cut(name, file) for name, file in whole_files().items()],
        "refused": [{"name": name, "file": file.hex()} for name, file in bad.items()],
    }
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(reference) + "\n")
