"""Writes airbench.json: the networks of airbench94 and airbench95, computed by PyTorch.

See zoo.py. The network follows airbench94_muon.py of github.com/KellerJordan/cifar10-airbench, whose first
weight and norms' scales are not trained. The cases include the loss of a training step and the gradient norms.
"""

import torch.nn as nn

import zoo


def norm(channels):
    norm = nn.BatchNorm2d(channels, eps=1e-12, momentum=0.4)
    norm.weight.requires_grad = False
    return norm


def conv(inputs, outputs):
    return nn.Conv2d(inputs, outputs, 3, padding="same", bias=False)


class Block(nn.Module):
    def __init__(self, inputs, outputs, activation):
        super().__init__()
        self.conv1, self.norm1 = conv(inputs, outputs), norm(outputs)
        self.conv2, self.norm2 = conv(outputs, outputs), norm(outputs)
        self.pool = nn.MaxPool2d(2)
        self.act = zoo.MODULES[activation]()

    def forward(self, x):
        x = self.act(self.norm1(self.pool(self.conv1(x))))
        return self.act(self.norm2(self.conv2(x)))


class Airbench(nn.Module):
    def __init__(self, widths, activation):
        super().__init__()
        self.whiten = nn.Conv2d(3, 24, 2)
        self.whiten.weight.requires_grad = False
        self.layers = nn.Sequential(
            zoo.MODULES[activation](),
            Block(24, widths[0], activation),
            Block(widths[0], widths[1], activation),
            Block(widths[1], widths[2], activation),
            nn.MaxPool2d(3),
        )
        self.head = nn.Linear(widths[2], 100, bias=False)

    def forward(self, x):
        x = self.layers(self.whiten(x)).flatten(1)
        return self.head(x) / x.size(1)


WIDTHS = {"airbench94": (64, 256, 256), "airbench95": (128, 384, 384)}


def cases():
    for name, widths in WIDTHS.items():
        for activation in ["relu", "mish"]:
            model = Airbench(widths, activation)
            yield zoo.case(name, "cifar", activation, model, 32, batch=2, training=True)


zoo.write(__file__, cases())
