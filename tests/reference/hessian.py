"""Writes hessian.json: the eigenvalues of the Hessian of a small network, by PyTorch in double precision.

The network is linear 4 -> 6, the activation, linear 6 -> 3; the loss is the mean cross-entropy.
"""

import json
import pathlib

import torch
import torch.nn.functional as F

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)

SHAPES = {"a.weight": (6, 4), "a.bias": (6,), "b.weight": (3, 6), "b.bias": (3,)}
ACTIVATIONS = {"mish": F.mish, "silu": F.silu, "tanh": torch.tanh, "relu": F.relu}

inputs, labels = torch.randn(10, 4), torch.randint(3, (10,))
weights = {name: 0.7 * torch.randn(shape) for name, shape in SHAPES.items()}


def split(flat):
    parts = flat.split([value.numel() for value in weights.values()])
    return {name: part.reshape(SHAPES[name]) for name, part in zip(weights, parts)}


cases = []
for name, activation in ACTIVATIONS.items():
    def loss(flat):
        w = split(flat)
        hidden = activation(F.linear(inputs, w["a.weight"], w["a.bias"]))
        return F.cross_entropy(F.linear(hidden, w["b.weight"], w["b.bias"]), labels)

    flat = torch.cat([value.flatten() for value in weights.values()])
    hessian = torch.autograd.functional.hessian(loss, flat)
    eigenvalues = torch.linalg.eigvalsh(hessian).flip(0)
    cases.append(dict(activation=name, loss=loss(flat).item(), eigenvalues=eigenvalues[:6].tolist()))

result = dict(
    inputs=inputs.flatten().tolist(),
    labels=labels.tolist(),
    weights={name: value.flatten().tolist() for name, value in weights.items()},
    cases=cases,
)
path = pathlib.Path(__file__).with_suffix(".json")
path.write_text(json.dumps(result) + "\n")
