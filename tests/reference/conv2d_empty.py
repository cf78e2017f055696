"""Writes conv2d_empty.json: which empty convolutions PyTorch computes, and to which shapes.

Made with Python 3 and torch 2.15.0 (CPU): `python tests/reference/conv2d_empty.py`.
"""

import json
import pathlib

import torch
import torch.nn.functional as F


def case(x_shape, w_shape, padding=0, groups=1):
    """The shape of the output, or None where PyTorch fails. All gradients are zero."""
    x, w, b = (torch.randn(shape, requires_grad=True) for shape in (x_shape, w_shape, w_shape[:1]))
    try:
        y = F.conv2d(x, w, b, padding=padding, groups=groups)
    except (RuntimeError, IndexError):
        y_shape = None
    else:
        y_shape = list(y.shape)
        y.backward(torch.ones_like(y))
        assert y.numel() == 0
        for t in (x, w, b):
            assert t.grad.shape == t.shape and not t.grad.any()
    return dict(x_shape=x_shape, w_shape=w_shape, padding=padding, groups=groups, y_shape=y_shape)


cases = [
    # No images.
    case((0, 16, 8, 8), (16, 16, 3, 3), padding=1),
    case((0, 3, 8, 8), (16, 3, 3, 3), padding=1),
    case((0, 16, 8, 8), (40, 16, 1, 1)),
    case((0, 8, 8, 8), (12, 4, 3, 3), groups=2),
    case((0, 4, 8, 8), (4, 1, 3, 3), padding=1, groups=4),
    case((0, 4, 8, 8), (8, 1, 3, 3), padding=1, groups=4),
    # No input channels.
    case((2, 0, 8, 8), (4, 0, 3, 3)),
    case((2, 0, 8, 8), (4, 0, 3, 3), padding=1, groups=2),
    case((0, 0, 8, 8), (4, 0, 3, 3)),
    # No output channels.
    case((2, 3, 8, 8), (0, 3, 3, 3)),
    case((0, 3, 8, 8), (0, 3, 3, 3)),
    case((2, 0, 8, 8), (0, 0, 3, 3)),
    # No rows or columns.
    case((2, 3, 0, 8), (4, 3, 3, 3), padding=2),
    case((2, 3, 8, 0), (4, 3, 1, 1), padding=1),
    case((2, 3, 0, 8), (4, 3, 3, 3)),
    case((2, 3, 8, 0), (4, 3, 1, 1)),
    case((0, 3, 0, 8), (4, 3, 3, 3), padding=2),
    case((2, 0, 8, 0), (4, 0, 3, 3), padding=2),
    case((0, 3, 0, 8), (4, 3, 3, 3)),
    # No taps.
    case((2, 3, 8, 8), (4, 3, 0, 3)),
    case((0, 3, 8, 8), (4, 3, 3, 0)),
    # A kernel larger than the image.
    case((2, 3, 2, 8), (4, 3, 3, 3)),
    case((0, 3, 2, 8), (4, 3, 3, 3)),
]
path = pathlib.Path(__file__).with_suffix(".json")
path.write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
