"""Writes pytorch_file.pth, a training state as PyTorch saves it, and pytorch_file.json, its values.

The state dict is part of a larger dictionary, and its keys have a wrapper's prefix. It holds plain tensors,
one tensor of every dtype, a transposed view, a view into another tensor's storage, parameters, and values
that are not weights.

    pip install torch==2.15.0
    python pytorch_file.py            # writes pytorch_file.pth and pytorch_file.json
"""

import collections
import json
import pathlib

import torch

here = pathlib.Path(__file__)
numbers = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4) / 7
weights = collections.OrderedDict(
    float=numbers,
    double=numbers.double(),
    half=numbers.half(),
    bfloat16=numbers.bfloat16(),
    counter=torch.tensor(12345678901),
    bytes=torch.arange(5, dtype=torch.uint8),
    transposed=numbers.permute(2, 0, 1),
    middle=numbers[1, 1:],
    parameter=torch.nn.Parameter(numbers[0]),
    empty=torch.zeros(0, 3),
)
state = {
    "epoch": 3,
    "lr": 0.1,
    "best": None,
    "args": {"name": "a run", "sizes": [1, 2, 3], "nested": (True, False, 2**40)},
    "state_dict": collections.OrderedDict((f"module.{k}", v) for k, v in weights.items()),
}
torch.save(state, here.with_suffix(".pth"))
found = {
    f"module.{name}": {"shape": list(t.shape), "values": t.detach().double().flatten().tolist()}
    for name, t in weights.items()
}
here.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
