"""Writes layers.json: layers in evaluation mode, computed by PyTorch and timm in float64.

The weights have timm's keys.
"""

import json
import pathlib

import torch
from torch import nn


class ConvNormAct(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2, bias=False)
        self.bn = nn.BatchNorm2d(6)
        nn.init.normal_(self.bn.running_mean)
        nn.init.uniform_(self.bn.running_var, 0.5, 2.0)

    def forward(self, x):
        return nn.functional.mish(self.bn(self.conv(x)))


class SqueezeExcite(nn.Module):
    def __init__(self, act, gate):
        super().__init__()
        self.fc1 = nn.Conv2d(16, 8, 1)
        self.act = act
        self.fc2 = nn.Conv2d(8, 16, 1)
        self.gate = gate

    def forward(self, x):
        return x * self.gate(self.fc2(self.act(self.fc1(x.mean((2, 3), keepdim=True)))))


torch.manual_seed(0)
cases = []
for name, layer, shape in (
    ("conv_norm_act", ConvNormAct(), (2, 4, 5, 5)),
    ("squeeze_excite", SqueezeExcite(nn.ReLU(), nn.Sigmoid()), (2, 16, 3, 3)),
    ("squeeze_excite_mish", SqueezeExcite(nn.Mish(), nn.Hardsigmoid()), (2, 16, 3, 3)),
    ("channel_shuffle", nn.ChannelShuffle(3), (2, 6, 2, 2)),
    ("group_norm", nn.GroupNorm(2, 4), (2, 4, 3, 3)),
    ("layer_norm", nn.LayerNorm(5), (2, 3, 5)),
    ("max_pool", nn.MaxPool2d(3, 2, 1), (2, 2, 7, 6)),
    ("avg_pool", nn.AvgPool2d(3, 2, 1), (2, 2, 7, 6)),
    ("avg_pool_inside", nn.AvgPool2d(3, 2, 1, count_include_pad=False), (2, 2, 7, 6)),
    ("adaptive_pool", nn.AdaptiveAvgPool2d((3, 2)), (2, 2, 7, 5)),
    ("global_pool", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), (2, 3, 4, 5)),
):
    layer = layer.double().eval()
    if name.endswith("_norm"):
        nn.init.normal_(layer.weight)
        nn.init.normal_(layer.bias)
    x = torch.randn(shape, dtype=torch.float64)
    y = layer(x)
    tensor = lambda t: dict(shape=list(t.shape), values=t.double().flatten().tolist())
    cases.append(dict(
        name=name, x=tensor(x), y=tensor(y),
        state={key: tensor(value) for key, value in layer.state_dict().items()},
    ))
path = pathlib.Path(__file__).with_suffix(".json")
path.write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
