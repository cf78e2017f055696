"""Writes plain.json: the plain networks of the Mish paper, computed by PyTorch. See zoo.py."""

import collections

import torch.nn as nn

import zoo


class Cnn6(nn.Module):
    def __init__(self, activation, classes):
        super().__init__()
        layers = collections.OrderedDict()
        widths = (3, 32, 32, 64, 64, 128, 128)
        for i in range(1, 7):
            layers[f"conv{i}"] = nn.Conv2d(widths[i - 1], widths[i], 3, padding=1)
            layers[f"bn{i}"] = nn.BatchNorm2d(widths[i])
            layers[f"act{i}"] = zoo.MODULES[activation]()
            if i in (2, 4):
                layers[f"pool{i}"] = nn.MaxPool2d(2)
        for name, module in layers.items():
            self.add_module(name, module)
        self.fc = nn.Linear(128, classes)

    def forward(self, x):
        for name, module in self.named_children():
            if name != "fc":
                x = module(x)
        return self.fc(x.mean((2, 3)))


class Dense(nn.Module):
    def __init__(self, inputs, width, activation):
        super().__init__()
        self.linear = nn.Linear(inputs, width, bias=False)
        self.bn = nn.BatchNorm1d(width)
        self.act = zoo.MODULES[activation]()

    def forward(self, x):
        return self.act(self.bn(self.linear(x)))


class Mlp(nn.Module):
    def __init__(self, depth, width, activation, classes):
        super().__init__()
        inputs = [3 * 32 * 32] + [width] * depth
        self.layers = nn.Sequential(*(Dense(i, width, activation) for i in inputs[:-1]))
        self.fc = nn.Linear(width, classes)

    def forward(self, x):
        return self.fc(self.layers(x.flatten(1)))


# The registry has no row for the last: any depth and width can be named.
SIZES = ((5, 500), (15, 500), (3, 64))


def cases():
    for activation in ("relu", "mish"):
        model = Cnn6(activation, 100)
        yield zoo.case("cnn6", "cifar", activation, model, 32, batch=2, training=True)
        for depth, width in SIZES:
            model = Mlp(depth, width, activation, 100)
            name = f"mlp_{depth}x{width}"
            training = width < 500
            yield zoo.case(name, "cifar", activation, model, 32, batch=8, training=training)


zoo.write(__file__, cases())
