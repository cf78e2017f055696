"""Writes landscape.json: directions scaled to weights by the formulas of
github.com/tomgoldstein/loss-landscape (net_plotter.py), in PyTorch.

`xnorm` is filter, layer or weight, `xignore` is biasbn or empty.
"""

import json
import pathlib

import torch

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)

WEIGHTS = {"conv": (4, 3, 2, 2), "dense": (3, 5), "bias": (3,)}


def scaled(direction, weight, xnorm, xignore):
    direction = direction.clone()
    if direction.dim() <= 1:
        return torch.zeros_like(direction) if xignore == "biasbn" else weight.clone()
    if xnorm == "filter":
        for d, w in zip(direction, weight):
            d.mul_(w.norm() / (d.norm() + 1e-10))
    elif xnorm == "layer":
        direction.mul_(weight.norm() / direction.norm())
    elif xnorm == "weight":
        direction.mul_(weight)
    return direction


cases = []
for name, shape in WEIGHTS.items():
    weight = 0.3 * torch.randn(shape)
    if name == "conv":
        weight[1] = 0
    direction = torch.randn(shape)
    for xnorm in ["filter", "layer", "weight"]:
        for xignore in ["biasbn", "none"]:
            result = scaled(direction, weight, xnorm, xignore)
            flat = lambda x: x.flatten().tolist()
            cases.append(
                dict(shape=shape, weight=flat(weight), direction=flat(direction), xnorm=xnorm,
                     xignore=xignore, result=flat(result))
            )

path = pathlib.Path(__file__).with_suffix(".json")
path.write_text(json.dumps(cases) + "\n")
