"""Writes group_norm.json: group and layer normalisation, computed by PyTorch in float64."""

import json
import pathlib

import torch
import torch.nn.functional as F

torch.manual_seed(0)
leaf = lambda *size: torch.randn(*size, dtype=torch.float64).requires_grad_()
cases = []
for op, shape, argument, affine, eps in (
    ("group", (2, 6, 2, 3), 3, True, 1e-5),
    ("group", (2, 4, 3, 2), 1, True, 1e-3),
    ("group", (3, 4, 1, 5), 4, False, 1e-5),
    ("group", (4, 6), 2, True, 1e-5),
    ("group", (2, 4, 3), 2, True, 1e-5),
    ("layer", (3, 7), [7], True, 1e-5),
    ("layer", (2, 3, 5), [5], True, 1e-6),
    ("layer", (2, 3, 2, 4), [3, 2, 4], True, 1e-5),
    ("layer", (2, 2, 3, 4), [3, 4], False, 1e-5),
):
    size = (shape[1],) if op == "group" else tuple(argument)
    x = leaf(*shape)
    weight, bias = (leaf(*size), leaf(*size)) if affine else (None, None)
    y = (F.group_norm if op == "group" else F.layer_norm)(x, argument, weight, bias, eps)
    grad = torch.randn(shape, dtype=torch.float64)
    y.backward(grad)
    flat = lambda t: None if t is None else t.flatten().tolist()
    cases.append(dict(
        op=op, shape=shape, argument=argument if op == "layer" else [argument], eps=eps,
        x=flat(x), weight=flat(weight), bias=flat(bias), y=flat(y), grad=flat(grad),
        dx=flat(x.grad), dweight=flat(weight.grad) if affine else None,
        dbias=flat(bias.grad) if affine else None,
    ))
path = pathlib.Path(__file__).with_suffix(".json")
path.write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
