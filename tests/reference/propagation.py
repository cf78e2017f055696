"""Writes propagation.json: second derivatives by PyTorch's autograd in double precision, and
mean-field theory by SciPy's adaptive quadrature.

Activations are PyTorch's own functions where it has them.
"""

import json
import math
import pathlib
import warnings

import numpy as np
import torch
import torch.nn.functional as F
from scipy.integrate import quad
from scipy.optimize import brentq

warnings.filterwarnings("ignore")
torch.set_default_dtype(torch.float64)

# Name, function, points at which f or f' is not smooth.
FUNCTIONS = {
    "mish": (F.mish, []),
    "silu": (F.silu, []),
    "gelu": (F.gelu, []),
    "tanh": (torch.tanh, []),
    "sigmoid": (torch.sigmoid, []),
    "softplus": (F.softplus, []),
    "elu": (F.elu, [0.0]),
    "selu": (F.selu, [0.0]),
    "softsign": (F.softsign, [0.0]),
    "hard_swish": (F.hardswish, [-3.0, 3.0]),
    "hardtanh": (F.hardtanh, [-1.0, 1.0]),
    "relu6": (F.relu6, [0.0, 6.0]),
    "log_sigmoid": (F.logsigmoid, []),
}


def derivatives(f, xs):
    x = torch.tensor(xs, requires_grad=True)
    y = f(x)
    (first,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x, allow_unused=True)
    return y.tolist(), first.tolist(), second.tolist()


def at(f, x):
    value = f(torch.tensor([x])).item()
    x = torch.tensor([x], requires_grad=True)
    (slope,) = torch.autograd.grad(f(x).sum(), x)
    return value, slope.item()


def expectation(g, q, breaks):
    scale = math.sqrt(q)
    density = lambda z: math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    ends = sorted({-12.0, 12.0, *range(-11, 12), *(b / scale for b in breaks if abs(b / scale) < 12)})
    total = 0.0
    for low, high in zip(ends, ends[1:]):
        total += quad(lambda z: g(scale * z) * density(z), low, high, epsabs=1e-14, epsrel=1e-12)[0]
    return total


def moments(name, q):
    f, breaks = FUNCTIONS[name]
    square = expectation(lambda x: at(f, x)[0] ** 2, q, breaks)
    slope = expectation(lambda x: at(f, x)[1] ** 2, q, breaks)
    return square, slope


second = []
xs = [-4.3, -2.1, -0.9, -0.2, 0.3, 1.2, 2.6, 4.9]
for name in ["mish", "silu", "gelu", "tanh", "sigmoid", "softplus", "elu", "selu", "log_sigmoid"]:
    values, first, twice = derivatives(FUNCTIONS[name][0], xs)
    second.append(dict(activation=name, x=xs, value=values, first=first, second=twice))

fields = []
for name in FUNCTIONS:
    for q in [0.25, 3.0]:
        square, slope = moments(name, q)
        fields.append(dict(activation=name, q=q, square=square, slope=slope))

edges = []
for name, sigma_b, low, high in [
    ("tanh", 0.3, 0.01, 5.0),
    ("mish", 0.2, 0.05, 2.0),
    ("silu", 0.2, 0.05, 2.0),
    ("gelu", 0.1, 0.01, 0.5),
    ("sigmoid", 0.0, 0.5, 500.0),
]:
    def residual(q):
        square, slope = moments(name, q)
        return q - square / slope - sigma_b**2

    print(name, residual(low), residual(high))
    q = brentq(residual, low, high, xtol=1e-12, rtol=1e-12)
    edges.append(dict(activation=name, sigma_b=sigma_b, q=q, sigma_w=moments(name, q)[1] ** -0.5))

# The chaotic phase of tanh by the trapezoidal rule on 1001 x 1001 points, which converges exponentially.
chaos = []
z = np.linspace(-10, 10, 1001)
w = np.exp(-z * z / 2) * (z[1] - z[0]) / math.sqrt(2 * math.pi)
for sigma_w, sigma_b in [(1.5, 0.3), (2.5, 0.3)]:
    variance = lambda q: sigma_w**2 * (w @ np.tanh(math.sqrt(q) * z) ** 2) + sigma_b**2
    q = brentq(lambda q: variance(q) - q, 0.05, 50, xtol=1e-14)

    def second_input(c):
        return c * z[:, None] + math.sqrt(1 - c * c) * z[None, :]

    def correlate(g, c):
        return w @ (g(math.sqrt(q) * z)[:, None] * g(math.sqrt(q) * second_input(c))) @ w

    step = lambda c: (sigma_w**2 * correlate(np.tanh, c) + sigma_b**2) / q
    c = brentq(lambda c: step(c) - c, 0.0, 0.999, xtol=1e-14)
    slope = sigma_w**2 * correlate(lambda x: 1 / np.cosh(x) ** 2, c)
    chaos.append(dict(sigma_w=sigma_w, sigma_b=sigma_b, q=q, correlation=c, length=-1 / math.log(slope)))

out = dict(second=second, fields=fields, edges=edges, chaos=chaos)
path = pathlib.Path(__file__).with_suffix(".json")
path.write_text(json.dumps(out, indent=1) + "\n")
