"""Writes augment.json: pixel augmentations of timm and torchvision on Pillow images.

tests/data/augment.rs makes the same images by the same rule. The file holds

- operations with given parameters: the CRC-32 of the result on each image (planar bytes), and for one value
  of each the bytes of one small image;
- the parameters of timm's operations at many magnitudes, and torchvision's magnitudes at every step;
- policies as data: operations, probabilities, magnitudes, counts;
- policies with recorded draws: the operations that were drawn, and the CRC-32 of the result.

Pillow 13 refuses to posterize to 0 bits, which timm's policies ask for. Before Pillow 13 the image became
black; so it does here.

    pip install torch==2.15.0 torchvision==0.29.2 timm==1.0.31 pillow==13.0.0 numpy
    python augment.py               # writes augment.json
"""

import json
import math
import os
import pathlib
import random
import zlib

# PyTorch's linspace depends on the vector instructions: with AVX2, one of TrivialAugment's translations is
# 15.999999 pixels instead of 16, which become 15.
os.environ["ATEN_CPU_CAPABILITY"] = "default"

import numpy as np
import PIL
import timm
import torch
import torchvision
import torchvision.transforms.autoaugment as vision
import torchvision.transforms.functional as F
from PIL import Image, ImageFilter
from timm.data import auto_augment as aa
from torchvision import transforms

# What the image shows, channels, height, width.
IMAGES = [
    ("scene", 3, 32, 32),
    ("noise", 3, 17, 23),
    ("flat", 3, 8, 8),
    ("two", 3, 9, 6),
    ("dark", 3, 28, 31),
    ("noise", 3, 1, 1),
    ("noise", 3, 4, 4),
    ("noise", 3, 2, 5),
    ("scene", 1, 28, 28),
    ("noise", 1, 13, 9),
    ("dark", 1, 3, 40),
]
# The image whose bytes are written.
SMALL = 6
FILL = (124, 116, 104)
RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


def noise(count: int) -> np.ndarray:
    with np.errstate(over="ignore"):
        z = (np.arange(count, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (z >> np.uint64(56)).astype(np.int64)


def planes(kind: str, channels: int, height: int, width: int) -> np.ndarray:
    """An image [channels, height, width]."""
    c, y, x = np.meshgrid(np.arange(channels), np.arange(height), np.arange(width), indexing="ij")
    bytes_ = noise(c.size).reshape(c.shape)
    if kind == "scene":
        slope = (7 * x + 5 * y + 60 * c) // 4 % 256
        edge = np.where((x // 9 + y // 7) % 2 == 1, 255, 0)
        values = np.choose((x // 11 + y // 8) % 3, [slope, bytes_ // 2 + 64, edge])
    elif kind == "noise":
        values = bytes_
    elif kind == "flat":
        values = 37 + 80 * c
    elif kind == "two":
        values = np.where((x + y + c) % 3 == 0, 40, 90)
    else:
        values = bytes_ // 8 + 20
    return values.astype(np.uint8)


def pil(array: np.ndarray) -> Image.Image:
    if array.shape[0] == 1:
        return Image.fromarray(array[0])
    return Image.fromarray(np.ascontiguousarray(array.transpose(1, 2, 0)))


def raw(image: Image.Image) -> bytes:
    array = np.asarray(image)
    array = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    return np.ascontiguousarray(array).tobytes()


def fill(image: Image.Image, colour=FILL):
    return colour[0] if image.mode == "L" else colour


def posterize(image, bits, **_):
    if bits <= 0:
        return image.point([0] * (256 * len(image.getbands())))
    return original_posterize(image, bits)


original_posterize = aa.posterize
aa.NAME_TO_OP.update({name: posterize for name in aa.NAME_TO_OP if name.startswith("Posterize")})


def affine(function):
    def apply(image, value, resampling, colour=FILL):
        return function(image, value, fillcolor=fill(image, colour), resample=RESAMPLING[resampling])

    return apply


def kernel_blur(image, sigma):
    if min(image.size) < 12:
        return None  # torchvision refuses to mirror more than the image
    return F.gaussian_blur(image, 23, [sigma, sigma])


FACTORS = [0.0, 0.1, 0.37, 0.73, 1.0, 1.27, 1.9, 2.8]
TRANSLATIONS = [-9.9, -3.0, -0.5, 0.5, 1.0, 2.7, 4.45, 40.0]
SHEARS = [-0.3, -0.123, 0.05, 0.27, 0.99, 1500.0]
# Name, function of the image and the value, values.
PLAIN = {
    "AutoContrast": (lambda i, _: aa.auto_contrast(i), [0.0]),
    "Equalize": (lambda i, _: aa.equalize(i), [0.0]),
    "Invert": (lambda i, _: aa.invert(i), [0.0]),
    "Posterize": (lambda i, v: posterize(i, int(v)), [-4, 0, 1, 2, 3, 4, 5, 6, 7, 8]),
    "Solarize": (aa.solarize, [0.0, 1.0, 76.8, 101.99, 128.0, 255.0, 256.0]),
    "SolarizeAdd": (lambda i, v: aa.solarize_add(i, int(v)), [0, 33, 110, 128]),
    "Brightness": (aa.brightness, FACTORS),
    "Contrast": (aa.contrast, FACTORS),
    "Color": (aa.color, FACTORS),
    "Sharpness": (aa.sharpness, FACTORS),
    "Hue": (F.adjust_hue, [-0.5, -0.31, -0.1, -0.001, 0.0, 0.004, 0.07, 0.25, 0.5]),
    "GaussianBlur": (aa.gaussian_blur, [0.0, 0.1, 0.5, 1.0, 1.37, 2.0, 4.5]),
    "KernelBlur": (kernel_blur, [0.1, 0.35, 0.8, 1.3, 2.0]),
    "VerticalFlip": (lambda i, _: F.vflip(i), [0.0]),
}
AFFINE = {
    "Rotate": (
        affine(aa.rotate),
        [0.0, 90.0, 180.0, 270.0, -90.0, 1e-13, 3.7, -17.25, 30.0, -30.0, 45.0, 135.0, 222.2],
    ),
    "ShearX": (affine(aa.shear_x), SHEARS),
    "ShearY": (affine(aa.shear_y), SHEARS),
    "TranslateX": (affine(aa.translate_x_abs), TRANSLATIONS),
    "TranslateY": (affine(aa.translate_y_abs), TRANSLATIONS),
}


def operation_cases():
    images = [pil(planes(*image)) for image in IMAGES]
    for name, (function, values) in PLAIN.items():
        for value in values:
            yield name, value, value == values[-2:][0], None, [function(image, value) for image in images]
    for name, (function, values) in AFFINE.items():
        for value in values:
            for resampling in RESAMPLING:
                results = [function(image, value, resampling) for image in images]
                yield name, value, value == values[-2], resampling, results


def operations():
    found = []
    for name, value, shown, resampling, results in operation_cases():
        case = {"op": name, "value": value}
        if resampling:
            case["resampling"] = resampling
        case["crc32"] = [None if r is None else zlib.crc32(raw(r)) for r in results]
        if shown and results[SMALL] is not None:
            case["small"] = raw(results[SMALL]).hex()
        found.append(case)
    return found


LEVELS = [0.0, 1.0, 2.5, 3.0, 4.2, 5.0, 7.7, 9.0, 10.0, 12.5, 20.0]
# Width and height of the image that translations refer to.
LEVEL_SIZE = (10, 20)
SHARE = 0.25


def level_arguments(name, level, negative):
    aa._randomly_negate = lambda v: -v if negative else v
    function = aa.LEVEL_TO_ARG[name]
    if function is None:
        return 0.0
    (value,) = function(level, {})
    if name == "TranslateXRel":
        value = value * LEVEL_SIZE[0]
    if name == "TranslateYRel":
        value = value * LEVEL_SIZE[1]
    if name == "GaussianBlurRand":
        value = 0.1 + (2.0 * value - 0.1) * SHARE
    if name == "Desaturate":
        value = min(1.0, max(0.0, 1.0 - value))
    return value


def levels():
    kept = aa._randomly_negate
    names = [name for name in aa.LEVEL_TO_ARG if name not in ("TranslateX", "TranslateY")]
    found = {
        name: [[level_arguments(name, level, sign) for level in LEVELS] for sign in (False, True)]
        for name in names
    }
    aa._randomly_negate = kept
    return {"levels": LEVELS, "size": LEVEL_SIZE, "share": SHARE, "arguments": found}


def entry(op):
    return [op.name, op.prob, op.magnitude]


def spread(op):
    if op.magnitude_std == math.inf:
        return "uniform"
    return op.magnitude_std


POLICIES = [
    "rand",
    "rand-m9-mstd0.5-inc1",
    "rand-m15-n3-p0.75-mstd101-mmax20",
    "rand-m7-n4-mstd100-tweights",
    "rand-n1-p1-t3a",
    "rand-inc1-t3aw",
    "original",
    "original-mstd0.5",
    "originalr",
    "v0",
    "v0r-mstd1",
    "3a",
    "augmix",
    "augmix-m5-w4-d2",
    "augmix-m1-b1-a0.5-mstd0.5",
]


def transform(text):
    parameters = {"translate_const": 100, "img_mean": FILL}
    if text.startswith("rand"):
        return aa.rand_augment_transform(text, parameters)
    if text.startswith("augmix"):
        return aa.augment_and_mix_transform(text, parameters | {"translate_pct": 0.3})
    return aa.auto_augment_transform(text, parameters)


def policy(text):
    made = transform(text)
    found = {"text": text}
    if text.startswith("rand"):
        found |= {"entries": [entry(op) for op in made.ops], "layers": made.num_layers}
        weights = made.choice_weights
        found["weights"] = None if weights is None else [float(w) for w in weights]
        found["max"] = made.ops[0].magnitude_max or aa._LEVEL_DENOM
        found["spread"] = spread(made.ops[0])
    elif text.startswith("augmix"):
        found |= {"entries": [entry(op) for op in made.ops], "alpha": made.alpha}
        found |= {"width": made.width, "depth": made.depth, "blended": made.blended}
        found["spread"] = spread(made.ops[0])
    else:
        found["policies"] = [[entry(op) for op in ops] for ops in made.policy]
        found["spread"] = spread(made.policy[0][0])
    return found


def vision_spaces():
    auto = vision.AutoAugment(vision.AutoAugmentPolicy.CIFAR10)
    height, width = 32, 28
    spaces = {
        "auto": auto._augmentation_space(10, (height, width)),
        "wide": vision.TrivialAugmentWide()._augmentation_space(31),
    }
    tables = {
        name: {op: values.tolist() if values.ndim else None for op, (values, _) in space.items()}
        for name, space in spaces.items()
    }
    signed = {op: sign for op, (_, sign) in spaces["wide"].items()}
    return {
        "size": [height, width],
        "magnitudes": tables,
        "signed": signed,
        "cifar10": [[list(op) for op in row] for row in auto.policies],
    }


class Recorder:
    """Replaces the operations of timm and torchvision by ones that note their arguments."""

    NAMES = {
        "shear_x": "ShearX",
        "shear_y": "ShearY",
        "translate_x_rel": "TranslateX",
        "translate_y_rel": "TranslateY",
        "auto_contrast": "AutoContrast",
    }

    def __init__(self):
        self.ops = []

    def note(self, name, value=0.0, resampling=None, colour=FILL):
        op = {"op": name, "value": value}
        if resampling is not None:
            op["resampling"] = next(k for k, v in RESAMPLING.items() if v == resampling)
            op["fill"] = colour
        self.ops.append(op)

    def timm(self, function):
        plain = function.__name__
        name = self.NAMES.get(plain, plain.title().replace("_", ""))

        def noted(image, *arguments, fillcolor, resample):
            kwargs = {"fillcolor": fill(image, fillcolor)}
            value = arguments[0] if arguments else 0.0
            geometric = name in AFFINE
            if geometric:
                resample = random.choice(resample)
            kwargs["resample"] = resample
            if plain == "translate_x_rel":
                self.note(name, value * image.size[0], resample)
            elif plain == "translate_y_rel":
                self.note(name, value * image.size[1], resample)
            elif plain == "desaturate":
                self.note("Color", min(1.0, max(0.0, 1.0 - value)))
            elif plain == "gaussian_blur_rand":
                radius = random.uniform(0.1, 2.0 * value)
                self.note("GaussianBlur", radius)
                return image.filter(ImageFilter.GaussianBlur(radius=radius))
            else:
                self.note(name, value, resample if geometric else None)
            return function(image, *arguments, **kwargs)

        return noted

    def vision(self, image, name, magnitude, interpolation, fill):
        nearest, black = Image.Resampling.NEAREST, (0, 0, 0)
        if name in ("ShearX", "ShearY", "Rotate"):
            self.note(name, magnitude, nearest, black)
        elif name in ("TranslateX", "TranslateY"):
            self.note(name, float(-int(magnitude)), nearest, black)
        elif name in ("Brightness", "Color", "Contrast", "Sharpness"):
            self.note(name, 1.0 + magnitude)
        elif name != "Identity":
            self.note(name, magnitude)
        return apply_op(image, name, magnitude, interpolation, fill)


apply_op = vision._apply_op
# Images of the replays.
REPLAYED = [0, 4, 8]


def replays():
    found = []

    def keep(text, at, ops, result, **more):
        found.append({"text": text, "image": at, "ops": ops, **more, "crc32": zlib.crc32(raw(result))})

    plain_functions = dict(aa.NAME_TO_OP)
    for text in POLICIES:
        for at in REPLAYED:
            seed = zlib.crc32(f"{text} {at}".encode())
            random.seed(seed), np.random.seed(seed)
            recorder = Recorder()
            aa.NAME_TO_OP.update({k: recorder.timm(f) for k, f in plain_functions.items()})
            image = pil(planes(*IMAGES[at]))
            made = transform(text)
            if not text.startswith("augmix"):
                keep(text, at, recorder.ops, made(image))
                continue
            weights = np.float32(np.random.dirichlet([made.alpha] * made.width))
            share = np.float32(np.random.beta(made.alpha, made.alpha))
            depths = [1 + i % 3 if made.depth < 1 else made.depth for i in range(made.width)]
            chains = [np.random.choice(made.ops, depth, replace=True) for depth in depths]
            result, chains = mix(made, image, weights, share, chains, recorder)
            more = {"weights": weights.tolist(), "share": float(share), "blended": made.blended}
            keep(text, at, [], result, chains=chains, **more)
    aa.NAME_TO_OP.update(plain_functions)
    vision_policies = {
        "cifar10": vision.AutoAugment(vision.AutoAugmentPolicy.CIFAR10),
        "trivial": vision.TrivialAugmentWide(),
    }
    for text, made in vision_policies.items():
        for run in range(12):
            torch.manual_seed(run)
            recorder = Recorder()
            vision._apply_op = recorder.vision
            at = REPLAYED[run % 3]
            keep(text, at, recorder.ops, made(pil(planes(*IMAGES[at]))))
    vision._apply_op = apply_op
    for run in range(6):
        torch.manual_seed(run)
        jitter = transforms.ColorJitter(0.4, 0.5, 0.6, 0.3)
        order, *factors = jitter.get_params(
            jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue
        )
        names = ["Brightness", "Contrast", "Color", "Hue"]
        ops = [{"op": names[i], "value": factors[i]} for i in order]
        torch.manual_seed(run)
        at = REPLAYED[run % 3]
        keep("color_jitter", at, ops, jitter(pil(planes(*IMAGES[at]))))
    return found


def mix(made, image, weights, share, chains, recorder):
    """timm's AugMix with given draws: the functions that draw return them."""
    kept = np.random.choice, np.random.randint
    remaining = list(chains)
    np.random.choice = lambda *_, **__: remaining.pop(0)
    np.random.randint = lambda *_: 1
    marks, calls = [], [len(recorder.ops)]

    class Marked(list):
        def __iter__(self):
            marks.append(len(recorder.ops))
            return super().__iter__()

    remaining = [Marked(chain) for chain in remaining]
    if made.blended:
        result = made._apply_blended(image, weights, share)
    else:
        result = made._apply_basic(image, weights, share)
    np.random.choice, np.random.randint = kept
    ends = marks[1:] + [len(recorder.ops)]
    assert calls == [0] and len(marks) == len(chains)
    return result, [recorder.ops[a:b] for a, b in zip(marks, ends)]


if __name__ == "__main__":
    versions = {"pillow": PIL.__version__, "torchvision": torchvision.__version__}
    sections = {
        "images": [list(image) for image in IMAGES],
        "small": SMALL,
        "fill": FILL,
        "operations": operations(),
        "levels": levels(),
        "policies": [policy(text) for text in POLICIES],
        "vision": vision_spaces(),
        "replays": replays(),
    }
    # One line for each item keeps the file small and its changes readable.
    lines = [f'"timm": "{timm.__version__}"'] + [f'"{k}": "{v}"' for k, v in versions.items()]
    for name, section in sections.items():
        if isinstance(section, list) and section and isinstance(section[0], dict):
            items = ",\n".join(json.dumps(item, separators=(",", ":")) for item in section)
            lines.append(f'"{name}": [\n{items}\n]')
        else:
            lines.append(f'"{name}": {json.dumps(section, separators=(",", ":"))}')
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
