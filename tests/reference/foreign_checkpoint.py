"""Writes foreign_checkpoint/: files of weights as PyTorch of all ages and other programs write them, and
foreign_checkpoint.json, what torch.load and pickle.load read from them.

For each file, the JSON has the path of the table of weights and, by key, the type, shape and values of its
tensors. Types that Candle lacks, and f8, are listed as the wider ones that hold their values.

    pip install torch==2.15.0 numpy==2.4.6
    python foreign_checkpoint.py
"""

import collections
import io
import json
import pathlib
import pickle
import struct
import sys
import tarfile
import types
import warnings
import zipfile

import numpy as np
import torch
from torch import nn

here = pathlib.Path(__file__)
folder = here.with_suffix("")
folder.mkdir(exist_ok=True)
warnings.filterwarnings("ignore")
torch.manual_seed(14)
numbers = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4) / 7 - 1
WIDER = {"bool": "uint8", "int8": "int16", "uint16": "uint32", "uint64": "int64", "float8_e4m3fn": "float16"}
expected = {}


def weights(scale=1.0):
    """Tensors of every kind that a file can hold."""
    x = numbers * scale
    return collections.OrderedDict(
        float=x,
        double=x[0].double(),
        half=x[0].half(),
        bfloat16=x[0].bfloat16(),
        bool=x[0] > -0.7,
        int8=torch.tensor([-128, 0, 127], dtype=torch.int8),
        uint8=torch.tensor([0, 255], dtype=torch.uint8),
        int16=torch.tensor([-300, 300], dtype=torch.int16),
        int32=torch.tensor([-(2**31), 2**31 - 1], dtype=torch.int32),
        int64=torch.tensor(12345678901),
        transposed=x.permute(2, 0, 1),
        middle=x[1, 1:],
        strided=x[:, ::2, 1],
        parameter=nn.Parameter(x[0, 0]),
        empty=torch.zeros(0, 3),
    )


def record(name, table, path=""):
    """Stores what another program reads from the file `name`."""
    tensors = {}
    for key, value in table.items():
        tensor = torch.as_tensor(value).detach()
        dtype = str(tensor.dtype).removeprefix("torch.")
        tensors[key] = {
            "dtype": WIDER.get(dtype, dtype),
            "shape": list(tensor.shape),
            "values": " ".join(map(repr, tensor.double().flatten().tolist())),
        }
    expected[name] = {"path": path, "tensors": tensors}


def save(name, value, **options):
    torch.save(value, folder / name, **options)
    return torch.load(folder / name, weights_only=False)


# Every format with every protocol that torch.save takes.
for protocol in (2, 3, 4, 5):
    for kind, new in (("zip", True), ("legacy", False)):
        name = f"{kind}-{protocol}.pth"
        loaded = save(name, weights(), pickle_protocol=protocol, _use_new_zipfile_serialization=new)
        record(name, loaded)

# Types that need _rebuild_tensor_v3.
typed = {
    "uint16": torch.tensor([0, 65535], dtype=torch.uint16),
    "uint32": torch.tensor([0, 2**32 - 1], dtype=torch.uint32),
    "uint64": torch.tensor([0, 2**63 - 1], dtype=torch.uint64),
    "float8": torch.tensor([0.5, -448.0]).to(torch.float8_e4m3fn)[1:],
}
record("typed.pth", save("typed.pth", typed))


# A training state: weights at depth, averaged weights, an optimizer, and values of many kinds.
class Block(nn.Module):
    """A convolution and a norm, with a buffer that is not saved."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 1, bias=False)
        self.norm = nn.BatchNorm2d(3)
        self.register_buffer("scratch", torch.zeros(2), persistent=False)
        self.register_parameter("absent", None)

    def forward(self, x):
        return self.norm(self.conv(x)) if x.shape[1] == 2 else x


class Network(nn.Module):
    """Two blocks and a classifier."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(Block(), nn.ReLU(), nn.Conv2d(3, 2, 1), Block())
        self.head = nn.Linear(3, 2)
        self.history = [1, 2, 3]

    def forward(self, x):
        return self.head(self.blocks(x).mean((2, 3)))


network = Network()
optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
for _ in range(2):
    optimizer.zero_grad()
    network(torch.randn(4, 2, 2, 2)).square().sum().backward()
    optimizer.step()
averaged = {key: value * 0.5 if value.is_floating_point() else value for key, value in network.state_dict().items()}
state = {
    "epoch": 3,
    "best_acc1": torch.tensor(76.5),
    "big": 2**100,
    "seen": {1, 2, 3},
    "frozen": frozenset({"a"}),
    "lr": np.float64(0.1),
    "confusion": np.arange(4).reshape(2, 2),
    "args": types.SimpleNamespace(arch="resnet", sizes=[1, 2]),
    "metrics": {"loss": torch.tensor(0.5)},
    "optimizer": optimizer.state_dict(),
    "state": {"model": {"module": network.state_dict()}, "ema": {"module": averaged, "decay": 0.999}},
    "history": [torch.zeros(2), {"none": None}],
}
for kind, new in (("zip", True), ("legacy", False)):
    name = f"state-{kind}.pth"
    loaded = save(name, state, _use_new_zipfile_serialization=new)
    record(name, loaded["state"]["ema"]["module"], "state.ema.module")

# Whole modules, pickled with their classes; before 1.6 with their source code, which is not that of PyTorch here.
torch.serialization.get_source_lines_and_file = lambda _: (["class Module: ...\n"], 1, "module.py")
for kind, new in (("zip", True), ("legacy", False)):
    name = f"module-{kind}.pth"
    loaded = save(name, {"net": network, "acc": 0.5}, _use_new_zipfile_serialization=new)
    record(name, loaded["net"].state_dict(), "net")

# A module compiled to TorchScript, without its code.
source = io.BytesIO()
torch.jit.save(torch.jit.script(network), source)
with zipfile.ZipFile(source) as old, zipfile.ZipFile(folder / "torchscript.pt", "w") as new:
    for entry in old.namelist():
        if "/code/" not in entry:
            new.writestr(entry, old.read(entry))
record("torchscript.pt", torch.jit.load(io.BytesIO(source.getvalue())).state_dict())

# What torch has and Candle lacks, next to a weight.
odd = {
    "weight": numbers[0],
    "sparse": torch.eye(2).to_sparse(),
    "complex": torch.tensor([1 + 2j]),
    "float8_e5m2": torch.tensor([1.0]).to(torch.float8_e5m2),
    "negated": torch.tensor([1 + 2j]).conj().imag,
    "counter": 5,
    "name": "text",
    "array": np.zeros(2),
}
record("odd.pth", {"weight": save("odd.pth", odd)["weight"]})
odd.pop("float8_e5m2")  # torch.load cannot read it in the old format
record("odd-legacy.pth", {"weight": save("odd-legacy.pth", odd, _use_new_zipfile_serialization=False)["weight"]})
save("quantised.pth", {"weight": torch.quantize_per_tensor(numbers[0], 0.1, 3, torch.qint8)})

# Big-endian files: the storages reversed, as torch.load expects them.
source = io.BytesIO()
torch.save({"f4": numbers[0], "f2": numbers[0].half(), "i8": torch.tensor([2**40]), "u1": torch.arange(3).byte()}, source)
with zipfile.ZipFile(source) as old, zipfile.ZipFile(folder / "big-endian.pth", "w") as new:
    for entry in old.namelist():
        data = old.read(entry)
        sizes = {"archive/data/0": 4, "archive/data/1": 2, "archive/data/2": 8}
        if entry.endswith("byteorder"):
            data = b"big"
        elif size := sizes.get(entry):
            data = np.frombuffer(data, f"V{size}").view(f"<u{size}").byteswap().tobytes()
        new.writestr(entry, data)
record("big-endian.pth", torch.load(folder / "big-endian.pth"))

# Views of one storage, as PyTorch before 0.4 stored them: the persistent identifier has a view.
buffer = io.BytesIO()
for part in (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}):
    pickle.dump(part, buffer, protocol=2)
view = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x007X\x03\x00\x00\x00cpuK\x18(X\x01\x00\x00\x008K\x06K\x0cttQ"
shape = b"K\x00(K\x03K\x04t(K\x04K\x01tt"
call = b"ctorch._utils\n_rebuild_tensor\n(" + view + shape + b"R"
buffer.write(b"\x80\x02}U\x04viewq\x00" + call + b"s.")
pickle.dump(["7"], buffer, protocol=2)
buffer.write(struct.pack("<q", 24) + numbers.numpy().tobytes())
(folder / "legacy-view.pth").write_bytes(buffer.getvalue())
record("legacy-view.pth", torch.load(folder / "legacy-view.pth", weights_only=False))

# A tar archive of PyTorch 0.1, with a parameter and a view of a storage.


def dumped(*values):
    return b"".join(pickle.dumps(value, protocol=2) for value in values)


storage = struct.pack("<q", 24) + numbers.numpy().tobytes()
storages = dumped(1, (7, "cpu", torch.FloatStorage)) + storage + dumped([(8, 7, 12, 12)])


def tensor(key, storage, shape, stride, offset):
    n = len(shape)
    return dumped((key, storage, torch.FloatTensor)) + struct.pack(f"<ii{2 * n + 1}q", n, 0, *shape, *stride, offset)


tensors = dumped(2) + tensor(1, 7, (2, 3, 4), (12, 4, 1), 0) + tensor(2, 8, (4, 2), (1, 4), 4)
parameter = b"ctorch.nn.parameter\nParameter\nU\x012Q\x85\x81"
object_ = b"\x80\x02}(U\x06weightU\x011QU\x09parameter" + parameter + b"U\x05epochK\x05u."
with tarfile.open(folder / "tar.pth", "w", format=tarfile.PAX_FORMAT) as archive:
    for name, data in (("sys_info", dumped({})), ("pickle", object_), ("tensors", tensors), ("storages", storages)):
        entry = tarfile.TarInfo(name)
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
loaded = torch.load(folder / "tar.pth", weights_only=False)
loaded.pop("epoch")
record("tar.pth", loaded)

# Pickles without torch.save: arrays, and tensors.
arrays = {
    "float": numbers.numpy(),
    "big": numbers.numpy().astype(">f8"),
    "fortran": np.asfortranarray(numbers[0].numpy()),
    "half": numbers[0].numpy().astype("f2"),
    "bool": np.array([True, False]),
    "int8": np.array([-128, 127], dtype="i1"),
    "uint64": np.array([2**63 - 1], dtype="u8"),
    "count": np.array(7),
}
for protocol in (0, 2, 4, 5):
    name = f"arrays-{protocol}.pkl"
    value = {"model": arrays, "note": "text", "names": np.array(["a"])}
    (folder / name).write_bytes(pickle.dumps(value, protocol=protocol))
    native = {k: v.astype(v.dtype.newbyteorder("=")) for k, v in pickle.loads((folder / name).read_bytes())["model"].items()}
    record(name, native, "model")
for protocol in (2, 4):
    name = f"tensors-{protocol}.pkl"
    few = {key: value for key, value in weights().items() if key in ("float", "half", "parameter", "int64")}
    (folder / name).write_bytes(pickle.dumps(few, protocol=protocol))
    record(name, pickle.loads((folder / name).read_bytes()))

here.with_suffix(".json").write_text(json.dumps(expected, separators=(",", ":")).replace("},", "},\n") + "\n")
assert sys.byteorder == "little"
