"""Writes pool2d.json: PyTorch's pooling of small inputs, with ties, in float64."""

import json
import pathlib

import torch
import torch.nn.functional as F


def case(pool, shape, kernel, stride=None, padding=(0, 0), dilation=(1, 1), ceil_mode=False,
         count_include_pad=True):
    stride = stride or kernel
    # Multiples of a quarter, so that windows have ties.
    x = (torch.randn(shape, dtype=torch.float64) * 4).round() / 4
    x.requires_grad_()
    if pool == "max":
        y = F.max_pool2d(x, kernel, stride, padding, dilation, ceil_mode)
    elif pool == "avg":
        y = F.avg_pool2d(x, kernel, stride, padding, ceil_mode, count_include_pad)
    else:
        y = F.adaptive_avg_pool2d(x, kernel)
    grad = torch.randn(y.shape, dtype=torch.float64)
    y.backward(grad)
    flat = lambda t: [round(v, 15) for v in t.flatten().tolist()]
    return dict(pool=pool, kernel=kernel, stride=stride, padding=padding, dilation=dilation,
                ceil_mode=ceil_mode, count_include_pad=count_include_pad, shape=shape, x=flat(x),
                y_shape=list(y.shape), y=flat(y), grad=flat(grad), dx=flat(x.grad))


torch.manual_seed(0)
cases = [
    case("max", (1, 2, 6, 6), (2, 2)),
    case("max", (1, 1, 5, 5), (2, 2)),
    case("max", (1, 1, 5, 5), (2, 2), ceil_mode=True),
    case("max", (1, 1, 7, 8), (3, 3), (2, 2), (1, 1)),
    case("max", (1, 1, 7, 8), (3, 2), (2, 3), (1, 1), ceil_mode=True),
    case("max", (1, 1, 9, 8), (3, 3), (2, 1), (1, 1), (2, 3)),
    case("avg", (1, 2, 6, 6), (2, 2)),
    case("avg", (1, 1, 5, 6), (3, 3), (2, 2), (1, 1)),
    case("avg", (1, 1, 5, 6), (3, 3), (2, 2), (1, 1), count_include_pad=False),
    case("avg", (1, 1, 6, 7), (3, 2), (2, 2), (1, 1), ceil_mode=True),
    case("avg", (1, 1, 6, 7), (3, 2), (2, 2), (1, 1), ceil_mode=True, count_include_pad=False),
    case("adaptive", (1, 1, 7, 5), (3, 2)),
    case("adaptive", (1, 2, 3, 4), (5, 1)),
]
path = pathlib.Path(__file__).with_suffix(".json")
path.write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
