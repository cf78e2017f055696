"""Weights and inputs by a fixed rule from a tensor's name.

The same rule stands in tests/models/rule.rs, so that the reference and the Rust network hold the
same values without a file of weights. Element i of a tensor is u = splitmix64(fnv1a(name) + i)
cut to 24 bits, a number in [0, 1), and then

    running_var, norm weights   0.75 + 0.5 u
    running_mean, biases        0.2 (2u - 1)
    other weights               sqrt(3 / fan_in) (2u - 1)
    inputs                      2 (2u - 1)
"""

import math

import numpy as np
import torch

MASK = (1 << 64) - 1


def fnv1a(name: str) -> int:
    state = 0xCBF29CE484222325
    for byte in name.encode():
        state = ((state ^ byte) * 0x100000001B3) & MASK
    return state


def uniform(name: str, count: int) -> np.ndarray:
    with np.errstate(over="ignore"):
        z = np.arange(count, dtype=np.uint64) + np.uint64(fnv1a(name))
        z = z * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float64) / float(1 << 24)


def tensor(name: str, shape) -> torch.Tensor:
    shape = tuple(shape)
    u = uniform(name, math.prod(shape))
    last = name.rsplit(".", 1)[-1]
    if last == "running_var" or (last == "weight" and len(shape) == 1):
        values = 0.75 + 0.5 * u
    elif last in ("running_mean", "bias"):
        values = 0.2 * (2 * u - 1)
    elif last == "input":
        values = 2 * (2 * u - 1)
    else:
        values = math.sqrt(3 / math.prod(shape[1:])) * (2 * u - 1)
    return torch.from_numpy(values.astype(np.float32)).reshape(shape)


def fill(module: torch.nn.Module) -> None:
    """Sets every parameter and buffer of the module by the rule."""
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if not name.endswith("num_batches_tracked"):
                value.copy_(tensor(name, value.shape))
