"""Writes python_pickle.json: values, as Python pickles them with every protocol, and what they hold.

A value is described in JSON: {"tuple": [...]}, {"set": [...]}, {"dict": [[key, value], ...]}, {"bytes": hex},
{"big": text}, {"class": name, "attributes": [...], "entries": [...]}, {"array": [kind, size, shape, hex]}; text,
numbers, booleans, None and lists are themselves.

    pip install numpy==2.4.6
    python python_pickle.py     # writes python_pickle.json
"""

import collections
import json
import pathlib
import pickle

import numpy as np


class Settings:
    """Attributes, as argparse's Namespace has them."""

    def __init__(self, **values):
        self.__dict__.update(values)


class Slots:
    """Attributes in slots. Protocols 0 and 1 cannot store them."""

    __slots__ = ("x", "y")


class Table(dict):
    """A dictionary with attributes."""


def described(value):
    match value:
        # Before float: NumPy's f64 is one.
        case np.ndarray() | np.generic():
            order = "<" if value.dtype.kind in "iufc" else "="
            data = np.ascontiguousarray(value).astype(value.dtype.newbyteorder(order)).tobytes().hex()
            return {"array": [value.dtype.kind, value.dtype.itemsize, list(value.shape), data]}
        case None | bool() | str() | float():
            return value
        case int():
            return value if -(2**63) <= value < 2**63 else {"big": str(value)}
        case bytes() | bytearray():
            return {"bytes": bytes(value).hex()}
        case tuple():
            return {"tuple": [described(v) for v in value]}
        case list():
            return [described(v) for v in value]
        case set() | frozenset():
            return {"set": sorted(value)}
        case Settings():
            return {"class": "__main__.Settings", "attributes": pairs(vars(value)), "entries": None}
        case Slots():
            attributes = [["x", described(value.x)], ["y", described(value.y)]]
            return {"class": "__main__.Slots", "attributes": attributes, "entries": None}
        case Table():
            return {"class": "__main__.Table", "attributes": pairs(vars(value)), "entries": pairs(value)}
        case dict():
            return {"dict": pairs(value)}
    raise TypeError(value)


def pairs(mapping):
    return [[described(k), described(v)] for k, v in mapping.items()]


slots = Slots()
slots.x, slots.y = 1, [2]
table = Table(a=1, b={"c": 2})
table.depth = 3
shared = [1, 2]
numbers = np.arange(12, dtype="<f4").reshape(3, 4) / 7
values = {
    "scalars": [None, True, False, 0, 1, 255, 256, 65535, 65536, -1, -129, 2**31, -(2**31), 0.1, -1e300, 1e-320],
    "integers": [2**40, -(2**40), 2**63 - 1, -(2**63), 2**63, -(2**64), 0x1950A86A20F9469CFC6C, 1 << 3000],
    "text": ["", "a", "naïve", "日本", "𝄞", "line\nbreak", "back\\slash", "quote'\"", "x" * 300],
    "bytes": [b"", b"abc", bytes(range(256)), b"\x00" * 300, bytearray(b"mutable"), bytearray()],
    "containers": [[], (), {}, (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), list(range(300)), {"a": [1], 2: (3,)}],
    "sets": [set(), {1, 2, 3}, frozenset(), frozenset({4, 5})],
    "shared": [shared, shared, (shared, shared)],
    "ordered": collections.OrderedDict([("b", 1), ("a", collections.OrderedDict())]),
    "default": collections.defaultdict(list, {"a": [1]}),
    "counter": collections.Counter("aab"),
    "objects": [Settings(lr=0.1, betas=(0.9, 0.999), name="adam"), Settings()],
    "subclass": table,
    "slots": slots,
    "numpy": [
        numbers,
        numbers.astype(">f8"),
        np.asfortranarray(numbers),
        np.asfortranarray(np.arange(24).reshape(2, 3, 4)),
        numbers[::2, 1:],
        numbers.astype("f2"),
        np.arange(5, dtype="u1"),
        np.array([[True], [False]]),
        np.arange(3, dtype=">i2"),
        np.zeros((0, 3)),
        np.array(7),
        np.array([1 + 2j]),
        np.array([1 + 2j]).astype(">c16"),
        np.array([b"ab", b"c"]),
        np.float32(0.5),
        np.int64(-3),
        np.bool_(True),
        np.float64(1e300),
    ],
}
out = {}
for name, value in values.items():
    found = {}
    for protocol in range(2 if name == "slots" else 0, pickle.HIGHEST_PROTOCOL + 1):
        found[str(protocol)] = pickle.dumps(value, protocol=protocol).hex()
    out[name] = {"pickles": found, "value": described(value)}
path = pathlib.Path(__file__).with_suffix(".json")
path.write_text(json.dumps(out, separators=(",", ":"), ensure_ascii=False).replace('},"', '},\n"') + "\n")
