"""Writes resnet9.json: the ResNet-9 of DAWNBench, computed by PyTorch.

See zoo.py. The network follows David Page's description ("How to train your ResNet", 2018). The cases
include the loss of a training step and the gradient norm of every parameter.
"""

import torch.nn as nn

import zoo


class ConvNormAct(nn.Module):
    def __init__(self, inputs, outputs, activation, pool=False):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.act = zoo.MODULES[activation]()
        self.pool = nn.MaxPool2d(2) if pool else nn.Identity()

    def forward(self, x):
        return self.pool(self.act(self.bn(self.conv(x))))


class Residual(nn.Module):
    def __init__(self, channels, activation):
        super().__init__()
        self.res1 = ConvNormAct(channels, channels, activation)
        self.res2 = ConvNormAct(channels, channels, activation)

    def forward(self, x):
        return x + self.res2(self.res1(x))


class Stage(ConvNormAct):
    def __init__(self, inputs, outputs, activation, residual):
        super().__init__(inputs, outputs, activation, pool=True)
        self.residual = Residual(outputs, activation) if residual else nn.Identity()

    def forward(self, x):
        return self.residual(super().forward(x))


class ResNet9(nn.Module):
    def __init__(self, activation):
        super().__init__()
        self.prep = ConvNormAct(3, 64, activation)
        self.layer1 = Stage(64, 128, activation, True)
        self.layer2 = Stage(128, 256, activation, False)
        self.layer3 = Stage(256, 512, activation, True)
        self.pool = nn.MaxPool2d(4)
        self.linear = nn.Linear(512, 100, bias=False)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(self.prep(x))))
        return 0.125 * self.linear(self.pool(x).flatten(1))


def cases():
    for activation in ("relu", "mish"):
        model = ResNet9(activation)
        yield zoo.case("resnet9", "cifar", activation, model, 32, batch=2, training=True)


zoo.write(__file__, cases())
