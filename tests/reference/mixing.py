"""Writes mixing.json: timm's Mixup, RandomErasing and RepeatAugSampler, and Pillow's scaling.

The draws of each case are recorded with its result; src/data/mixup/tests.rs, src/data/erasing/tests.rs
and tests/data/mixing.rs apply them to the same images.

    pip install torch==2.15.0 timm==1.0.31 pillow==13.0.0 numpy
    python mixing.py            # writes mixing.json
"""

import json
import math
import pathlib
import random
import zlib

import numpy as np
import PIL
import timm
import timm.data.mixup as mixup
import timm.data.random_erasing as erasing
import torch
from PIL import Image
from timm.data.distributed_sampler import RepeatAugSampler
from timm.loss import SoftTargetCrossEntropy

from preprocess import pattern


def values(*shape: int) -> torch.Tensor:
    """Values between -1 and 1, by a rule that the tests repeat."""
    count = math.prod(shape)
    return torch.tensor([(37 * i % 101) / 50 - 1 for i in range(count)], dtype=torch.float32).view(shape)


def rounded(tensor: torch.Tensor) -> list[float]:
    return [float(f"{x:.8g}") for x in tensor.flatten().tolist()]


def mixup_case(mode: str, smoothing: float, batch: int, size: tuple[int, int], **options) -> dict:
    classes, channels = 5, 2
    mix = mixup.Mixup(mode=mode, label_smoothing=smoothing, num_classes=classes, **options)
    centres, boxes, units = [], [], []
    randint, bbox = np.random.randint, mixup.cutmix_bbox_and_lam

    def recorded_randint(low, high, size=None):
        drawn = randint(low, high, size=size)
        centres.append(int(drawn))
        return drawn

    def recorded_bbox(*args, **kwargs):
        (yl, yh, xl, xh), lam = bbox(*args, **kwargs)
        boxes.append([int(v) for v in (yl, yh, xl, xh)])
        return (yl, yh, xl, xh), lam

    def recorded(params):
        def call(*args):
            lam, cut = params(*args)
            pairs = zip(np.atleast_1d(lam).tolist(), np.atleast_1d(cut).tolist())
            units.extend({"lam": l, "cutmix": c and l != 1.0} for l, c in pairs)
            return lam, cut

        return call

    mixup.np.random.randint, mixup.cutmix_bbox_and_lam = recorded_randint, recorded_bbox
    mix._params_per_batch = recorded(mix._params_per_batch)
    mix._params_per_elem = recorded(mix._params_per_elem)
    images = values(batch, channels, *size)
    labels = [(3 * i + 1) % classes for i in range(batch)]
    images, targets = mix(images, torch.tensor(labels))
    mixup.np.random.randint, mixup.cutmix_bbox_and_lam = randint, bbox
    per_box = len(centres) // max(len(boxes), 1)
    for unit in units:
        if unit["cutmix"]:
            drawn, unit["box"] = [centres.pop(0) for _ in range(per_box)], boxes.pop(0)
            if "cutmix_minmax" not in options:
                unit["centre"] = drawn
    assert not boxes and not centres
    logits = values(batch, classes) * 3
    return {
        "mode": mode,
        "smoothing": smoothing,
        "batch": batch,
        "size": size,
        "classes": classes,
        "channels": channels,
        "labels": labels,
        "draws": units,
        "images": rounded(images),
        "targets": rounded(targets),
        "loss": SoftTargetCrossEntropy()(logits.double(), targets.double()).item(),
    }


def mixup_cases() -> list[dict]:
    np.random.seed(4)
    options = [
        dict(mixup_alpha=0.4),
        dict(mixup_alpha=0.0, cutmix_alpha=1.0),
        dict(mixup_alpha=0.8, cutmix_alpha=1.0, prob=0.8),
        dict(mixup_alpha=0.2, cutmix_minmax=(0.2, 0.8)),
    ]
    return [
        mixup_case(mode, smoothing, batch, size, **option)
        for option in options
        for mode, smoothing, batch, size in [
            ("batch", 0.0, 2, (4, 5)),
            ("batch", 0.1, 2, (6, 4)),
            ("pair", 0.1, 4, (4, 5)),
            ("elem", 0.0, 4, (5, 6)),
            ("elem", 0.2, 6, (3, 4)),
        ]
    ]


def erasing_case(mode: str, count: int, size: tuple[int, int]) -> dict:
    erase = erasing.RandomErasing(probability=1.0, mode=mode, max_count=count, device="cpu")
    attempts, fills, ints = [], [], []

    class Recorded:
        @staticmethod
        def random():
            return random.random()

        @staticmethod
        def uniform(low, high):
            attempts.append(random.uniform(low, high))
            return attempts[-1]

        @staticmethod
        def randint(low, high):
            ints.append(random.randint(low, high))
            return ints[-1]

    pixels = erasing._get_pixels

    def recorded_pixels(*args, **kwargs):
        drawn = pixels(*args, **kwargs)
        fills.append(drawn.flatten().tolist())
        return drawn

    erasing.random, erasing._get_pixels = Recorded, recorded_pixels
    image = erase(values(2, *size))
    erasing.random, erasing._get_pixels = random, pixels
    drawn = ints.pop(0) if count > 1 else 1
    places = [ints[i : i + 2] for i in range(0, len(ints), 2)]
    return {
        "mode": mode,
        "count": drawn,
        "size": size,
        "attempts": [attempts[i : i + 2] for i in range(0, len(attempts), 2)],
        "places": places,
        "fills": fills if mode != "const" else [],
        "image": rounded(image),
    }


def erasing_cases() -> list[dict]:
    random.seed(3)
    torch.manual_seed(3)
    shapes = [(1, (7, 8)), (3, (9, 6)), (2, (3, 12)), (1, (2, 30))]
    return [erasing_case(mode, *shape) for mode in ("const", "rand", "pixel") for shape in shapes]


def sizes_case(size: int, mode: str) -> dict:
    image = Image.fromarray(pattern(32, 32)).convert(mode)
    scaled = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))
    planar = scaled[None] if mode == "L" else scaled.transpose(2, 0, 1)
    return {"size": size, "grey": mode == "L", "crc32": zlib.crc32(planar.tobytes())}


def order_case(images: int, repeats: int) -> dict:
    sampler = RepeatAugSampler(
        list(range(images)), num_replicas=1, rank=0, shuffle=False, num_repeats=repeats
    )
    order = list(sampler)
    return {
        "images": images,
        "repeats": repeats,
        "count": len(order),
        "first": order[:12],
        "last": order[-6:],
        "sum": sum(order),
    }


if __name__ == "__main__":
    found = {
        "timm": timm.__version__,
        "pillow": PIL.__version__,
        "mixup": mixup_cases(),
        "erasing": erasing_cases(),
        "sizes": [sizes_case(s, m) for m in ("RGB", "L") for s in (1, 8, 20, 24, 28, 31, 32, 33, 48)],
        "orders": [order_case(n, r) for n in (5, 255, 256, 600, 1024) for r in (2, 3, 5)],
    }
    path = pathlib.Path(__file__).with_suffix(".json")
    sections = [f'"{key}": {json.dumps(value)}' for key, value in found.items()]
    path.write_text("{\n" + ",\n".join(sections) + "\n}\n")
