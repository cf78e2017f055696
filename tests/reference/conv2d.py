"""Writes conv2d.json: PyTorch's convolutions and their gradients for small inputs in float64.

    pip install torch==2.13.0
    python tests/reference/conv2d.py
"""

import json
import pathlib

import torch
import torch.nn.functional as F


def case(x_shape, w_shape, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1):
    make = lambda shape: torch.randn(shape, dtype=torch.float64).round(decimals=3).requires_grad_()
    x, w, b = make(x_shape), make(w_shape), make(w_shape[:1])
    y = F.conv2d(x, w, b, stride, padding, dilation, groups)
    dy = torch.randn(y.shape, dtype=torch.float64).round(decimals=3)
    y.backward(dy)
    flat = lambda t: [round(v, 12) for v in t.flatten().tolist()]
    return dict(x_shape=x_shape, w_shape=w_shape, stride=stride, padding=padding,
                dilation=dilation, groups=groups, y_shape=list(y.shape), x=flat(x), w=flat(w),
                b=flat(b), dy=flat(dy), y=flat(y), dx=flat(x.grad), dw=flat(w.grad),
                db=flat(b.grad))


torch.manual_seed(0)
cases = [
    case((2, 2, 5, 6), (3, 2, 3, 3), padding=(1, 1)),
    case((1, 2, 3, 9), (2, 2, 1, 7), padding=(0, 3)),
    case((1, 2, 7, 6), (3, 2, 3, 3), stride=(2, 1), padding=(1, 1)),
    case((1, 2, 8, 7), (2, 2, 3, 3), padding=(2, 2), dilation=(2, 2)),
    case((1, 6, 4, 5), (4, 3, 3, 3), padding=(1, 1), groups=2),
    case((2, 3, 5, 4), (6, 1, 3, 3), padding=(1, 1), groups=3),
    case((2, 3, 5, 6), (4, 3, 1, 1), stride=(2, 2)),
    case((1, 2, 11, 10), (3, 2, 7, 7), stride=(2, 2), padding=(3, 3)),
    case((1, 2, 6, 9), (2, 2, 3, 2), stride=(1, 3), padding=(0, 1), dilation=(1, 2)),
]
path = pathlib.Path(__file__).with_suffix(".json")
path.write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
