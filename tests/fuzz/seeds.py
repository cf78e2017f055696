"""Writes the seeds of the fuzz targets: small valid files of each kind, by the tools that write them.

    pip install torch==2.15.0 safetensors numpy pillow pyarrow
    python tests/fuzz/seeds.py        # writes tests/fuzz/seeds
"""

import gzip
import io
import json
import pathlib
import pickle
import re
import shutil
import struct
import tarfile
import zipfile
from collections import OrderedDict

import numpy as np
import pyarrow
import pyarrow.parquet
import torch
from PIL import Image
from safetensors.torch import save

here = pathlib.Path(__file__).parent / "seeds"


def write(target: str, name: str, data: bytes | str) -> None:
    path = here / target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())


def saved(value, **options) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


def safetensors(tensors: dict, metadata: dict) -> bytes:
    """The file, with its metadata in order: the library's order changes from run to run."""
    data = save(tensors, metadata)
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    header = json.dumps(header, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data[end:]


def renumbered(legacy: bytes) -> bytes:
    """A file in the format before PyTorch 1.6 whose storages have numbers as keys, not addresses."""
    text = re.compile(rb"X[\x0a-\x14]\0\0\0(\d{10,20})")
    keys = list(dict.fromkeys(text.findall(legacy)))
    return text.sub(lambda key: b"X\x01\0\0\0%d" % keys.index(key[1]), legacy)


def checkpoints() -> None:
    numbers = torch.arange(6, dtype=torch.float32).reshape(2, 3) / 7
    plain = OrderedDict({"fc.weight": numbers, "fc.bias": numbers[0].double()})
    state = {
        "epoch": 3,
        "lr": 0.1,
        "args": {"sizes": [1, 2, 2**40], "nested": (True, None)},
        "state_dict": OrderedDict(
            {
                "module.transposed": numbers.T,
                "module.parameter": torch.nn.Parameter(numbers[1:]),
                # Every storage has 24 bytes, as in the archive of the fuzz target.
                "module.half": numbers.repeat(2, 1).half(),
                "module.counters": torch.arange(3),
            }
        ),
    }
    write("checkpoint", "plain.pth", saved(plain))
    write("checkpoint", "plain.safetensors", safetensors(dict(plain), {"model": "resnet20"}))
    write("checkpoint", "legacy.pth", renumbered(saved(plain, _use_new_zipfile_serialization=False)))
    write("checkpoint", "array.pkl", pickle.dumps({"fc.weight": numbers.numpy()}, protocol=4))
    write("index", "index.json", '{"metadata": {"total_size": 1}, "weight_map": {"a": "shard.safetensors"}}')
    with zipfile.ZipFile(io.BytesIO(saved(state))) as archive:
        write("pickle", "state.pkl", archive.read("archive/data.pkl"))
    with zipfile.ZipFile(io.BytesIO(saved(plain))) as archive:
        write("pickle", "plain.pkl", archive.read("archive/data.pkl"))


def weights() -> None:
    conv, norm = torch.zeros(16, 3, 3, 3), torch.ones(16)
    tensors = {
        "module.conv1.weight": conv.half(),
        "module.bn1.weight": norm.bfloat16(),
        "module.layer1.0.conv1.weight": torch.zeros(16, 16, 1, 1).half(),
        "module.fc.weight": torch.zeros(3, 64).half(),
        "module.fc.bias": torch.zeros(3),
    }
    header = {
        "model": "resnet20",
        "activation": "prelu:0.1",
        "num_classes": "3",
        "stem": "cifar",
        "in_chans": "3",
        "image_size": "32",
        "classes": '["a", "b", "c"]',
        "mean": "[0.5,0.4,0.3]",
        "std": "[0.2,0.2,0.2]",
        "crop_pct": "0.9",
        "interpolation": "bilinear",
    }
    write("weights", "described.safetensors", safetensors(tensors, header))
    description = {
        "architecture": "resnet50",
        "num_classes": 3,
        "label_names": ["a", "b", "c"],
        "model_args": {"act_layer": "mish", "in_chans": 1, "drop_rate": 0.1},
        "pretrained_cfg": {
            "input_size": [3, 224, 224],
            "crop_pct": 0.95,
            "crop_mode": "center",
            "interpolation": "bicubic",
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
        },
    }
    write("description", "config.json", json.dumps(description))


def pixels(height: int = 5, width: int = 7, channels: int = 3) -> np.ndarray:
    values = np.arange(height * width * channels) * 37 % 251
    return values.astype(np.uint8).reshape(height, width, channels)


def encoded(image: Image.Image, form: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def images() -> None:
    rgb = Image.fromarray(pixels())
    rgba = Image.fromarray(pixels(channels=4), "RGBA")
    grey = rgb.convert("L")
    deep = Image.fromarray((np.arange(35) * 1900 % 65536).astype(np.uint16).reshape(5, 7))
    forms = {
        "rgb.png": (rgb, "PNG", {}),
        "rgba.png": (rgba, "PNG", {}),
        "palette.png": (rgb.quantize(8), "PNG", {"transparency": 0}),
        "deep.png": (deep, "PNG", {}),
        "bits.png": (grey.convert("1"), "PNG", {}),
        "baseline.jpg": (rgb, "JPEG", {}),
        "progressive.jpg": (rgb, "JPEG", {"progressive": True, "subsampling": 0}),
        "grey.jpg": (grey, "JPEG", {}),
        "cmyk.jpg": (rgb.convert("CMYK"), "JPEG", {}),
        "lossy.webp": (rgb, "WEBP", {}),
        "lossless.webp": (rgba, "WEBP", {"lossless": True}),
        "plain.tiff": (rgb, "TIFF", {}),
        "lzw.tiff": (rgb, "TIFF", {"compression": "tiff_lzw"}),
        "deflate.tiff": (grey, "TIFF", {"compression": "tiff_adobe_deflate"}),
        "packbits.tiff": (grey.convert("1"), "TIFF", {"compression": "packbits"}),
        "rgb.bmp": (rgb, "BMP", {}),
        "palette.bmp": (rgb.quantize(8), "BMP", {}),
        "rgb.ppm": (rgb, "PPM", {}),
        "grey.pgm": (grey, "PPM", {}),
        "bits.pbm": (grey.convert("1"), "PPM", {}),
    }
    for name, (image, form, options) in forms.items():
        for target in ("image", "image_folder"):
            write(target, name, encoded(image, form, **options))
    exif = Image.Exif()
    exif[0x0112] = 6
    for target in ("image", "image_folder"):
        write(target, "oriented.jpg", encoded(rgb, "JPEG", exif=exif))
        write(target, "oriented.png", encoded(rgb, "PNG", exif=exif))
        write(target, "big.tiff", encoded(grey.convert("1"), "TIFF", big_tiff=True))
    write("image", "plain.ppm", "P3\n2 1\n255\n1 2 3 250 251 252\n")


def cifar() -> None:
    record = bytes([3, 42]) + bytes(3072)
    write("cifar_binary", "record.bin", record)
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name in ("train.bin", "test.bin"):
            member = tarfile.TarInfo(f"cifar-100-binary/{name}")
            member.size = len(record)
            archive.addfile(member, io.BytesIO(record))
    # Without the padding to 20 blocks, which tar does not require.
    write("cifar_archive", "binary.tar", file.getvalue()[:9216])
    batch = {
        b"data": np.zeros((1, 3072), np.uint8),
        b"fine_labels": [42],
        b"coarse_labels": [3],
        b"filenames": [b"a.png"],
        b"batch_label": b"training batch 1 of 1",
    }
    for protocol in (2, 5):
        write("cifar_python", f"protocol{protocol}.pkl", pickle.dumps(batch, protocol))
    png = encoded(Image.new("RGB", (32, 32), (9, 90, 200)), "PNG")
    rows = {
        "img": [{"bytes": png, "path": None}] * 2,
        "fine_label": [3, 99],
        "coarse_label": [0, 19],
    }
    bytes_and_path = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    columns = [("img", bytes_and_path), ("fine_label", pyarrow.int64()), ("coarse_label", pyarrow.int64())]
    table = pyarrow.table(rows, pyarrow.schema(columns))
    for compression in ("none", "snappy", "gzip", "zstd"):
        file = io.BytesIO()
        pyarrow.parquet.write_table(table, file, compression=compression, store_schema=False)
        write("parquet", f"{compression}.parquet", file.getvalue())


def mnist() -> None:
    image = bytes([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 28, 0, 0, 0, 28]) + bytes(28 * 28)
    write("idx", "images", image)
    write("idx", "images.gz", gzip.compress(image, mtime=0))
    write("idx", "labels", bytes([0, 0, 8, 1, 0, 0, 0, 1, 7]))


def class_maps() -> None:
    write("class_map", "lines.txt", "n01440764\ntench, goldfish 2\n")
    write("class_map", "spaces.txt", "cat 1\ndog 0\n")
    write("class_map", "commas.csv", "cat,1\ndog,0\n")
    write("class_map", "labels.json", '{"cat": 1, "dog": 0}')
    write("class_map", "names.json", '{"0": "cat", "1": ["dog", "puppy"]}')
    write("class_map", "list.json", '["cat", "dog"]')


def darknet() -> None:
    write("darknet_cfg", "layers.cfg", DARKNET)
    # Two filters of 3x3 with batch norm on one channel, and three logits.
    values = np.linspace(0.1, 1, 4 * 2 + 2 * 9 + 3 + 3 * 2, dtype="<f4").tobytes()
    write("darknet_weights", "0.1.weights", struct.pack("<iiiI", 0, 1, 0, 64) + values)
    write("darknet_weights", "0.2.weights", struct.pack("<iiiQ", 0, 2, 5, 64) + values)


# Every kind of layer.
DARKNET = """\
[net]
# Testing
height = 16
width = 16
channels = 3

[convolutional]
batch_normalize=1
filters=8
size=3
stride=2
pad=1
activation=mish

[maxpool]
size=2
stride=2

[convolutional]
batch_normalize=1
filters=8
groups=2
activation=linear

[shortcut]
from=-2
activation=leaky

[route]
layers=-1,-3
groups=2
group_id=1

[avgpool]

[convolutional]
filters=8
activation=logistic

[scale_channels]
from=-3

[connected]
output=6
activation=relu

[dropout]
probability=.5

[connected]
output=3
activation=linear

[softmax]
groups=1

[cost]
type=sse
"""

RECIPE = """\
epochs = 12
batch_size = 32
seed = 3
opt = "adamw"
lr = 0.3
opt_betas = [0.9, 0.999]
sched = "multistep"
warmup_epochs = 0.5
decay_milestones = [3.0, 7.5]
loss = "cross_entropy"
clip_grad = 1.0
clip_mode = "norm"
crop_pad_mode = "reflect"
scale = [0.08, 1.0]
layer_decay = 0.75
"""

CONFIGURATION = """\
model = "resnet20"
activation = "prelu:0.1"
num_classes = 3
stem = "cifar"
in_chans = 3
gate = "sigmoid"

[data]
dataset = "folder"
data_dir = "images"
val_split = 0.1
limit_train = 5

[data.preprocess]
input_size = 32
crop_pct = 0.9
interpolation = "bilinear"

[recipe]
"""

STATE = """\
step = 3
epoch = 1
batch = 1
train_seconds = 0.25
train_images = 4

[partial]
loss = 4.5
seconds = 0.125

[partial.totals]
images = 2
top1 = 1
top5 = 2
loss = 4.5

[[records]]
epoch = 1
step = 2
lr = 0.1
train_loss = 4.0
train_top1 = 0.5
loss = 4.0
top1 = 0.5
top5 = 1.0
images_per_second = 9.0
seconds = 0.5

[generators]
dropout = '{"s":[1,2,3,4]}'
"""

if __name__ == "__main__":
    shutil.rmtree(here, ignore_errors=True)
    checkpoints()
    weights()
    images()
    cifar()
    mnist()
    class_maps()
    darknet()
    write("recipe", "recipe.toml", RECIPE)
    write("configuration", "config.toml", CONFIGURATION + RECIPE)
    write("run_state", "progress.toml", STATE)
