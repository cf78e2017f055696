"""Derives weights and inputs from a tensor's name by a fixed rule.

tests/models/rule.rs implements the same rule, so the reference and the Rust network have the same values
without a weights file. Element i of a tensor is u = splitmix64(fnv1a(name) + i), truncated to 24 bits as a
number in [0, 1), and then

    running_var, norm weights   0.75 + 0.5 u
    running_mean, biases        0.1 (2u - 1)
    other weights               gain sqrt(3 / fan_in) (2u - 1)
    inputs                      (2u - 1) + level + slope * height

Each case has its own gain: a gain that one network needs for its logits to depend on the image makes the
values of another explode. Pooling would average an image of independent values away, so each plane of the
input has a level, and a slope from its first row (height -1) to its last (height 1), both from [-1, 1). The
fan-in of the matrices between capsules is the length of a capsule, shape[1], so that the predictions are
large enough for their agreement to matter.
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


def planes(u: np.ndarray, name: str, shape) -> np.ndarray:
    """Images [N, C, H, W] from u, with a level and a slope for each plane."""
    count = shape[0] * shape[1]
    level = 2 * uniform(name + ".level", count).reshape(*shape[:2], 1, 1) - 1
    slope = 2 * uniform(name + ".slope", count).reshape(*shape[:2], 1, 1) - 1
    height = 2 * np.arange(shape[2]).reshape(-1, 1) / max(shape[2] - 1, 1) - 1
    return (2 * u.reshape(shape) - 1) + level + slope * height


def tensor(name: str, shape, gain: float = 1.0) -> torch.Tensor:
    shape = tuple(shape)
    u = uniform(name, math.prod(shape))
    last = name.rsplit(".", 1)[-1]
    if last == "running_var" or (last == "weight" and len(shape) == 1):
        values = 0.75 + 0.5 * u
    elif last in ("running_mean", "bias"):
        values = 0.1 * (2 * u - 1)
    elif last == "input":
        values = planes(u, name, shape)
    else:
        fan_in = shape[1] if name == "digit_caps.weight" else math.prod(shape[1:])
        values = gain * math.sqrt(3 / fan_in) * (2 * u - 1)
    return torch.from_numpy(values.astype(np.float32)).reshape(shape)


def fill(module: torch.nn.Module, gain: float = 1.0) -> None:
    """Sets every parameter and buffer of the module by the rule."""
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if not name.endswith("num_batches_tracked"):
                value.copy_(tensor(name, value.shape, gain))


def digest(module: torch.nn.Module) -> str:
    """A hash of the names and shapes of the module's state dict."""
    shapes = {name: "x".join(map(str, v.shape)) for name, v in module.state_dict().items()}
    return f"{fnv1a(''.join(f'{name} {shapes[name]}{chr(10)}' for name in sorted(shapes))):016x}"
