"""Writes peleenet.json: PeleeNet, computed by PyTorch.

See zoo.py. The network follows the paper (arXiv:1804.06882, table 1 and figures 1 and 2) and has the
keys of the authors' checkpoint.
"""

import torch
import torch.nn as nn

import zoo

GROWTH = 32
LAYERS = (3, 4, 8, 6)
BOTTLENECKS = (1, 2, 4, 4)


class Conv(nn.Module):
    def __init__(self, inputs, outputs, kernel, stride=1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.activation = nn.ReLU()

    def forward(self, x):
        return self.activation(self.norm(self.conv(x)))


class Stem(nn.Module):
    def __init__(self, stride):
        super().__init__()
        self.stem1 = Conv(3, 32, 3, stride)
        self.stem2a = Conv(32, 16, 1)
        self.stem2b = Conv(16, 32, 3, 2)
        self.stem3 = Conv(64, 32, 1)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x):
        x = self.stem1(x)
        return self.stem3(torch.cat((self.pool(x), self.stem2b(self.stem2a(x))), 1))


class Dense(nn.Module):
    def __init__(self, inputs, bottleneck):
        super().__init__()
        half = GROWTH // 2
        self.branch1a = Conv(inputs, half * bottleneck, 1)
        self.branch1b = Conv(half * bottleneck, half, 3)
        self.branch2a = Conv(inputs, half * bottleneck, 1)
        self.branch2b = Conv(half * bottleneck, half, 3)
        self.branch2c = Conv(half, half, 3)

    def forward(self, x):
        one = self.branch1b(self.branch1a(x))
        two = self.branch2c(self.branch2b(self.branch2a(x)))
        return torch.cat((x, one, two), 1)


class PeleeNet(nn.Module):
    def __init__(self, classes, stride):
        super().__init__()
        self.features = nn.Sequential()
        self.features.add_module("stemblock", Stem(stride))
        channels = 32
        for i, (layers, bottleneck) in enumerate(zip(LAYERS, BOTTLENECKS), 1):
            block = nn.Sequential()
            for layer in range(layers):
                block.add_module(f"denselayer{layer + 1}", Dense(channels, bottleneck))
                channels += GROWTH
            self.features.add_module(f"denseblock{i}", block)
            self.features.add_module(f"transition{i}", Conv(channels, channels, 1))
            if i < 4:
                self.features.add_module(f"transition{i}_pool", nn.AvgPool2d(2))
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


def cases():
    for activation in ("relu", "mish"):
        model = zoo.swap(PeleeNet(100, 1), activation)
        yield zoo.case("peleenet", "cifar", activation, model, 32, batch=2)
        model = zoo.swap(PeleeNet(1000, 2), activation)
        yield zoo.half("peleenet", "imagenet", activation, model, 224)
        yield zoo.case("peleenet", "imagenet", activation, model, 64, batch=2, training=True)


zoo.write(__file__, cases())
