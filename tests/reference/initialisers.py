"""Prints initialisers.json: the distributions that Keras and PyTorch draw initial weights from, for
tests/ops/initialiser.rs.

    KERAS_BACKEND=torch python tests/reference/initialisers.py > tests/reference/initialisers.json

The functions that draw are replaced by ones that record their arguments. Keras keeps a convolution as
[height, width, inputs / groups, outputs], PyTorch as [outputs, inputs / groups, height, width].
"""

import json
import math
import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import torch
from keras.src import random
from keras.src.initializers import random_initializers
from torch.nn import init

SHAPES = {
    "linear": (10, 64),
    "wide linear": (100, 7),
    "conv 3x3": (16, 8, 3, 3),
    "conv 1x1": (32, 16, 1, 1),
    "conv 5x3": (6, 4, 5, 3),
    "4 groups": (16, 2, 3, 3),
    "depthwise": (12, 1, 3, 3),
    "depthwise, twice the channels": (24, 1, 5, 5),
}


def keras_shape(shape):
    if len(shape) == 2:
        return (shape[1], shape[0])
    return (*shape[2:], shape[1], shape[0])


recorded = {}


def record(kind):
    def draw(shape, *args, **kwargs):
        recorded.clear()
        recorded.update({"distribution": kind, "args": args, **kwargs})
        return torch.zeros(shape)

    return draw


for module in (random, random_initializers.random):
    module.normal = record("normal")
    module.uniform = record("uniform")
    module.truncated_normal = record("truncated normal")


def of_keras(make, shape):
    make()(keras_shape(shape))
    found = dict(recorded)
    if found["distribution"] == "uniform":
        minval = found.get("minval", found["args"][0] if found["args"] else None)
        return {"distribution": "uniform", "bound": -minval}
    std = found.get("stddev", found["args"][-1] if found["args"] else None)
    return {"distribution": found["distribution"], "std": std}


KERAS = {
    "random_normal": keras.initializers.RandomNormal,
    "random_uniform": keras.initializers.RandomUniform,
    "truncated_normal": keras.initializers.TruncatedNormal,
    "lecun_normal": keras.initializers.LecunNormal,
    "lecun_uniform": keras.initializers.LecunUniform,
    "glorot_normal": keras.initializers.GlorotNormal,
    "glorot_uniform": keras.initializers.GlorotUniform,
    "he_normal": keras.initializers.HeNormal,
    "he_uniform": keras.initializers.HeUniform,
}


def normal(tensor, mean, std, generator=None):
    recorded.clear()
    recorded.update({"distribution": "normal", "std": std})
    return tensor


def uniform(tensor, a, b, generator=None):
    recorded.clear()
    recorded.update({"distribution": "uniform", "bound": b})
    return tensor


init._no_grad_normal_ = normal
init._no_grad_uniform_ = uniform
torch.Tensor.normal_ = lambda self, mean=0, std=1, generator=None: normal(self, mean, std)
torch.Tensor.uniform_ = lambda self, a=0, b=1, generator=None: uniform(self, a, b)

RELU = math.sqrt(2)
TORCH = {
    "xavier_normal": (init.xavier_normal_, {"gain": 1.0}),
    "xavier_uniform": (init.xavier_uniform_, {"gain": 1.5}),
    "kaiming_normal": (init.kaiming_normal_, {"nonlinearity": "relu"}),
    "kaiming_uniform": (init.kaiming_uniform_, {"nonlinearity": "relu"}),
}


def of_torch(name, shape):
    draw, settings = TORCH[name]
    draw(torch.empty(shape), **settings)
    return {**recorded, "gain": settings.get("gain", RELU)}


cases = []
for what, shape in SHAPES.items():
    for name, make in KERAS.items():
        gain = RELU if name.startswith("he_") else 1.0
        cases.append({"name": name, "shape": shape, "what": what, "gain": gain, **of_keras(make, shape)})
    for name in TORCH:
        cases.append({"name": name, "shape": shape, "what": what, **of_torch(name, shape)})
versions = {"keras": keras.__version__, "torch": torch.__version__}
print(json.dumps({"versions": versions, "cases": cases}, separators=(",", ":")))
