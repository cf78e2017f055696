"""Writes cifar_pickle.json: files of CIFAR's Python version, as Python 2 and Python 3 pickle them.

The published files are from Python 2's cPickle with NumPy 1: byte strings as keys, and an array whose
content is a byte string. Python 2 has no NumPy here, so the script gives it classes of NumPy's names
that reduce to the same calls. Python 3 writes the same dictionary with its own NumPy: bytes or text as
keys, lists or arrays as labels. Pixels follow the rule of tests/data/fixture.rs, in blocks, so that
files are small after compression with zlib. They are written in hexadecimal.

    pip install numpy==2.4.6
    python cifar_pickle.py PYTHON2      # writes cifar_pickle.json
"""

import json
import os
import subprocess
import sys
import types
import zlib

IMAGES = 2
CLASSES = {"cifar100": 100, "cifar10": 10}


def byte(i, channel, row, column):
    return (i * 31 + channel * 85 + row * 7 + column * 3 + row * column) & 255


def pixels(first):
    """The bytes of IMAGES images [N, 3, 32, 32]."""
    return bytearray(
        byte(i, channel, row // 8, column // 4)
        for i in range(first, first + IMAGES)
        for channel in range(3)
        for row in range(32)
        for column in range(32)
    )


def labels(dataset, first):
    return [i % CLASSES[dataset] for i in range(first, first + IMAGES)]


def dictionary(dataset, first, data, key=lambda text: text, label=lambda values: values):
    fine = key("fine_labels" if dataset == "cifar100" else "labels")
    batch = {
        key("batch_label"): key("training batch 1 of 5"),
        key("data"): data,
        key("filenames"): [key("image_s_%06d.png" % i) for i in range(first, first + IMAGES)],
        fine: label(labels(dataset, first)),
    }
    if dataset == "cifar100":
        batch[key("coarse_labels")] = label([i % 20 for i in range(first, first + IMAGES)])
    return batch


def by_python2(protocol, dataset, first):
    """Prints a pickle in hexadecimal; runs in Python 2."""
    import cPickle

    module = types.ModuleType("numpy")
    core = types.ModuleType("numpy.core")
    multiarray = types.ModuleType("numpy.core.multiarray")
    sys.modules.update({"numpy": module, "numpy.core": core, "numpy.core.multiarray": multiarray})

    def _reconstruct(kind, shape, letter):
        return kind()

    class dtype(object):
        def __init__(self, name, align, copy):
            pass

        def __reduce__(self):
            return dtype, ("u1", 0, 1), (3, "|", None, None, None, -1, -1, 0)

    class ndarray(object):
        def __reduce__(self):
            state = (1, (IMAGES, 3072), dtype("u1", 0, 1), False, str(pixels(first)))
            return _reconstruct, (ndarray, (0,), "b"), state

    for own, place in [(_reconstruct, multiarray), (dtype, module), (ndarray, module)]:
        own.__module__ = place.__name__
        setattr(place, own.__name__, own)
    batch = dictionary(dataset, first, ndarray())
    print(cPickle.dumps(batch, protocol).encode("hex"))


def by_python3(protocol, dataset, first, **options):
    import pickle

    import numpy as np

    data = np.frombuffer(bytes(pixels(first)), np.uint8).reshape(IMAGES, 3072).copy()
    order = options.pop("order", "C")
    data = np.asarray(data, order=order)
    return pickle.dumps(dictionary(dataset, first, data, **options), protocol)


def main():
    import numpy as np

    cases = []

    def add(name, dataset, first, file):
        packed = zlib.compress(file, 9).hex()
        cases.append(dict(name=name, dataset=dataset, first=first, file=packed))

    python2, first = sys.argv[1], 0
    for dataset in CLASSES:
        for protocol in [0, 1, 2]:
            command = [python2, __file__, "python2", str(protocol), dataset, str(first)]
            file = bytes.fromhex(subprocess.check_output(command).decode().strip())
            add("Python 2, protocol %d" % protocol, dataset, first, file)
            first += IMAGES
        for protocol in range(6):
            add("Python 3, protocol %d" % protocol, dataset, first, by_python3(protocol, dataset, first))
            first += IMAGES
    for name, options in {
        "bytes as keys": dict(key=lambda text: text.encode()),
        "an array of labels": dict(label=np.array),
        "an array of small labels": dict(label=lambda values: np.array(values, np.uint8)),
        "NumPy's integers": dict(label=lambda values: [np.int16(value) for value in values]),
        "a tuple of labels": dict(label=tuple),
        "Fortran's order": dict(order="F"),
    }.items():
        for protocol in [2, 5]:
            file = by_python3(protocol, "cifar100", first, **options)
            add("%s, protocol %d" % (name, protocol), "cifar100", first, file)
            first += IMAGES
    text = json.dumps(dict(python=sys.version.split()[0], numpy=np.__version__, cases=cases), indent=1)
    with open(os.path.splitext(__file__)[0] + ".json", "w") as file:
        file.write(text + "\n")


if sys.argv[1] == "python2":
    by_python2(int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
else:
    main()
