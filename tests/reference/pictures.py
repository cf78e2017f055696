"""Writes pictures.json: small image files and the pixels that Pillow decodes from them.

Each case holds a file and the planar bytes of Pillow's `convert("RGB")` and `convert("L")`, which timm's
data sets use. The script encodes 16-bit PNG itself, because Pillow reads it but does not write it.

    pip install pillow==13.0.0 numpy
    python pictures.py              # writes pictures.json
"""

import io
import json
import pathlib
import struct
import zlib

import numpy as np
import PIL
from PIL import Image

HEIGHT, WIDTH = 17, 24


def pattern() -> np.ndarray:
    """An image [height, width, 3] with slopes, edges and noise."""
    y, x, c = np.meshgrid(np.arange(HEIGHT), np.arange(WIDTH), np.arange(3), indexing="ij")
    slope = (9 * x + 7 * y + 60 * c) % 256
    noise = (x * 73856093 ^ y * 19349663 ^ c * 83492791) >> 7 & 255
    edge = np.where((x // 3 + y // 5) % 2 == 1, 255, 20 * c)
    return np.choose((x // 8 + y // 6) % 3, [slope, noise, edge]).astype(np.uint8)


def smooth() -> np.ndarray:
    """A smooth image [height, width, 3], like most of a photograph."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack([40 + 6 * x, 30 + 4 * x + 5 * y, 220 - 9 * y], axis=-1).astype(np.uint8)


def saved(image: Image.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def png16(color: int, channels: int) -> bytes:
    """A 16-bit PNG: the image in the high bytes, other values in the low bytes."""
    upper = np.concatenate([pattern(), pattern()[..., :1]], axis=-1)[..., :channels].astype(np.uint16)
    values = upper * 256 + (upper * 7 + 3) % 256
    # Some values that fit a byte.
    values[::4] %= 300

    def chunk(name: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, color, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def files() -> dict[str, bytes]:
    rgb, even = Image.fromarray(pattern()), Image.fromarray(smooth())
    alpha = Image.fromarray(pattern()[..., 1])
    rgba = rgb.copy()
    rgba.putalpha(alpha)
    grey_alpha = rgb.convert("L")
    grey_alpha.putalpha(alpha)
    palette = rgb.quantize(37)
    rotated = Image.Exif()
    rotated[0x0112] = 6
    return {
        "rgb.png": saved(rgb, "PNG"),
        "rgb_transparent_colour.png": saved(rgb, "PNG", transparency=(255, 255, 255)),
        "rgba.png": saved(rgba, "PNG"),
        "grey.png": saved(rgb.convert("L"), "PNG"),
        "grey_transparent.png": saved(rgb.convert("L"), "PNG", transparency=20),
        "grey_alpha.png": saved(grey_alpha, "PNG"),
        "black_and_white.png": saved(rgb.convert("1"), "PNG"),
        "palette.png": saved(palette, "PNG"),
        "palette_4_bits.png": saved(rgb.quantize(11), "PNG", bits=4),
        "palette_transparent.png": saved(palette, "PNG", transparency=bytes(range(0, 37 * 5, 5))),
        "grey_16_bits.png": png16(0, 1),
        "rgb_16_bits.png": png16(2, 3),
        "grey_alpha_16_bits.png": png16(4, 2),
        "rgba_16_bits.png": png16(6, 4),
        "grey.jpg": saved(rgb.convert("L"), "JPEG", quality=90),
        "444.jpg": saved(rgb, "JPEG", quality=90, subsampling=0),
        "422.jpg": saved(rgb, "JPEG", quality=90, subsampling=1),
        "420.jpg": saved(rgb, "JPEG", quality=90, subsampling=2),
        "420_smooth.jpg": saved(even, "JPEG", quality=90, subsampling=2),
        "420_progressive.jpg": saved(rgb, "JPEG", quality=75, subsampling=2, progressive=True),
        "cmyk.jpg": saved(rgb.convert("CMYK"), "JPEG", quality=90),
        "rgb.bmp": saved(rgb, "BMP"),
        "rgb.ppm": saved(rgb, "PPM"),
        "grey.pgm": saved(rgb.convert("L"), "PPM"),
        "rgb.tif": saved(rgb, "TIFF", compression="tiff_lzw"),
        "lossless.webp": saved(rgba, "WEBP", lossless=True, exact=True),
        "lossy.webp": saved(even, "WEBP", quality=90),
        "rotated.jpg": saved(even, "JPEG", quality=90, subsampling=0, exif=rotated),
    }


def case(name: str, file: bytes) -> dict:
    image = Image.open(io.BytesIO(file))
    rgb = np.asarray(image.convert("RGB"))
    return {
        "name": name,
        "file": file.hex(),
        "height": rgb.shape[0],
        "width": rgb.shape[1],
        "rgb": rgb.transpose(2, 0, 1).tobytes().hex(),
        "grey": np.asarray(image.convert("L")).tobytes().hex(),
    }


if __name__ == "__main__":
    cases = [case(name, file) for name, file in files().items()]
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps({"pillow": PIL.__version__, "cases": cases}, indent=1) + "\n")
