"""Writes two_tables.pth: a training state of mlp_1x1 with the tables `model` and `ema`.

All weights are 0, so the biases of the classifier are the logits of every image: [1, 0] in `model`, [0, 1]
in `ema`.
"""

import pathlib

import torch


def table(bias):
    return {
        "layers.0.linear.weight": torch.zeros(1, 3 * 32 * 32, dtype=torch.float16),
        "layers.0.bn.weight": torch.ones(1),
        "layers.0.bn.bias": torch.zeros(1),
        "layers.0.bn.running_mean": torch.zeros(1),
        "layers.0.bn.running_var": torch.ones(1),
        "fc.weight": torch.zeros(2, 1),
        "fc.bias": torch.tensor(bias),
    }


state = {"epoch": 3, "model": table([1.0, 0.0]), "ema": table([0.0, 1.0])}
torch.save(state, pathlib.Path(__file__).with_suffix(".pth"))
