"""Writes preprocess.json: pixels of timm's evaluation transform with Pillow's resampling.

tests/data/preprocess.rs generates the same images by the same rule. Each case holds the CRC-32 of the
result (planar RGB bytes), a few pixels, and their normalised values.

    pip install torch==2.15.0 torchvision==0.29.2 timm==1.0.31 pillow==13.0.0 numpy
    python preprocess.py            # writes preprocess.json
"""

import json
import pathlib
import zlib

import numpy as np
import PIL
import timm
import torchvision
from PIL import Image
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.data.transforms_factory import transforms_imagenet_eval

# Height and width of the image, size of the input, share of the crop.
SIZES = [
    (375, 500, 224, 0.875),
    (500, 333, 224, 0.95),
    (97, 131, 64, 0.875),
    (31, 17, 32, 0.875),
    (40, 48, 32, 1.0),
    (256, 256, 224, 0.875),
    (257, 300, 224, 0.875),
    (33, 33, 32, 0.97),
    (60, 200, 299, 0.8975),
    (1, 1, 5, 0.875),
    (2, 9, 7, 0.9),
    (7, 1, 3, 1.0),
    (640, 101, 96, 0.887),
    (299, 299, 299, 0.903),
    (63, 62, 240, 1.0),
    (11, 1000, 16, 1.0),
]


def pattern(height: int, width: int) -> np.ndarray:
    """An image [height, width, 3] with slopes, edges and noise: filters overshoot in both directions."""
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    slope = (7 * x + 5 * y + 60 * c) // 4 % 256
    noise = (x * 73856093 ^ y * 19349663 ^ c * 83492791) >> 7 & 255
    edge = np.where((x // 9 + y // 7) % 2 == 1, 255, 0)
    return np.choose((x // 23 + y // 19) % 3, [slope, noise, edge]).astype(np.uint8)


def case(height, width, size, crop_pct, interpolation):
    image = Image.fromarray(pattern(height, width))
    arguments = dict(img_size=size, crop_pct=crop_pct, interpolation=interpolation)
    pixels = transforms_imagenet_eval(**arguments, normalize=False)(image).numpy()
    values = transforms_imagenet_eval(
        **arguments, mean=IMAGENET_DEFAULT_MEAN, std=IMAGENET_DEFAULT_STD
    )(image).numpy()
    assert pixels.shape == values.shape == (3, size, size) and pixels.dtype == np.uint8
    places = np.linspace(0, pixels.size - 1, 12).astype(int)
    return {
        "height": height,
        "width": width,
        "size": size,
        "crop_pct": crop_pct,
        "interpolation": interpolation,
        "crc32": zlib.crc32(pixels.tobytes()),
        "places": places.tolist(),
        "pixels": pixels.ravel()[places].tolist(),
        "values": values.ravel()[places].tolist(),
    }


if __name__ == "__main__":
    cases = [case(*s, i) for s in SIZES for i in ("bilinear", "bicubic")]
    versions = {"pillow": PIL.__version__, "torchvision": torchvision.__version__}
    found = {"timm": timm.__version__, **versions, "cases": cases}
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(found, indent=1) + "\n")
