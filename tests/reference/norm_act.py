"""Writes norm_act.json: activation(batch_norm(x) + residual), computed by PyTorch in float64."""

import itertools
import json
import pathlib

import torch
import torch.nn.functional as F

torch.manual_seed(0)
momentum = 0.1
cases = []
for activation, training, joined, shape in itertools.product(
    ("mish", "relu", "identity"), (True, False), (False, True), ((3, 2, 2, 3), (5, 3))
):
    channels = shape[1]
    leaf = lambda *size: torch.randn(*size, dtype=torch.float64).requires_grad_()
    x, gamma, beta = leaf(*shape), leaf(channels), leaf(channels)
    residual = leaf(*shape) if joined else None
    mean = torch.randn(channels, dtype=torch.float64)
    var = torch.rand(channels, dtype=torch.float64) + 0.1
    before = mean.tolist(), var.tolist()
    z = F.batch_norm(x, mean, var, gamma, beta, training, momentum)
    if joined:
        z = z + residual
    y = {"mish": F.mish, "relu": F.relu, "identity": lambda z: z}[activation](z)
    grad = torch.randn(shape, dtype=torch.float64)
    y.backward(grad)
    flat = lambda t: None if t is None else t.flatten().tolist()
    cases.append(dict(
        activation=activation, training=training, shape=shape, x=flat(x), residual=flat(residual),
        gamma=flat(gamma), beta=flat(beta), running_mean=before[0], running_var=before[1],
        momentum=momentum, y=flat(y), grad=flat(grad), dx=flat(x.grad),
        dresidual=flat(residual.grad) if joined else None, dgamma=flat(gamma.grad),
        dbeta=flat(beta.grad), mean_after=flat(mean), var_after=flat(var),
    ))
path = pathlib.Path(__file__).with_suffix(".json")
path.write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
