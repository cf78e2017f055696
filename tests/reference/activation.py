"""Prints activation.json: values and gradients of PyTorch's activation functions in float64.

    pip install torch==2.13.0
    python tests/reference/activation.py > tests/reference/activation.json
"""

import json

import torch
import torch.nn.functional as F

FUNCTIONS = {
    "mish": F.mish,
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "relu": F.relu,
    "relu6": F.relu6,
    "leaky_relu": F.leaky_relu,
    "leaky_relu:0.2": lambda x: F.leaky_relu(x, 0.2),
    "rrelu": lambda x: F.rrelu(x, training=False),
    "prelu": lambda x: F.prelu(x, torch.full((1,), 0.25, dtype=x.dtype)),
    "elu": F.elu,
    "elu:0.5": lambda x: F.elu(x, 0.5),
    "celu": F.celu,
    "celu:2": lambda x: F.celu(x, 2.0),
    "selu": F.selu,
    "softplus": lambda x: F.softplus(x, threshold=1000.0),
    "softplus:2": lambda x: F.softplus(x, beta=2.0, threshold=1000.0),
    "hard_shrink": F.hardshrink,
    "soft_shrink": F.softshrink,
    "tanh_shrink": F.tanhshrink,
    "hardtanh": F.hardtanh,
    "hardtanh:-2,0.5": lambda x: F.hardtanh(x, -2.0, 0.5),
    "log_sigmoid": F.logsigmoid,
    "sigmoid": torch.sigmoid,
    # The gradient of F.hardsigmoid uses 1/6 in single precision.
    "hard_sigmoid": lambda x: F.relu6(x + 3) / 6,
    "tanh": torch.tanh,
    "softsign": F.softsign,
    "thresholded_relu": lambda x: F.threshold(x, 1.0, 0.0),
    "hard_swish": F.hardswish,
}

# POINTS includes the kinks of all of these.
POINTS = [-30.0, -8.0, -6.0, -3.5, -3.0, -2.5, -2.0, -1.25, -1.0, -0.5, -0.3, -1e-3, 0.0]
POINTS += [1e-3, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.5, 6.0, 7.0, 12.0, 30.0]


def main():
    results = {}
    for name, function in FUNCTIONS.items():
        x = torch.tensor(POINTS, dtype=torch.float64, requires_grad=True)
        y = function(x)
        y.sum().backward()
        results[name] = {"value": y.tolist(), "gradient": x.grad.tolist()}
    print(json.dumps({"torch": torch.__version__, "points": POINTS, "functions": results}))


main()
