"""Makes pytorch_file.pth and pytorch_file.json: weights as PyTorch writes them, and what they are.

As in a training state: the table is a part of it, its keys have the prefix of a wrapper, and
beside plain tensors there are one of every type, one that is a transposed view, one that begins in
the middle of another's storage, parameters, and things that are no weights.

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
