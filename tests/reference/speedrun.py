"""Writes speedrun.json: the network of the CIFAR-100 speedrun, computed by PyTorch.

See zoo.py. The network follows model.py of team NAVIER-STOKED in github.com/AIDDA-Institute/CIFAR-100-speedrun,
whose first weight is not trained. The cases include the loss of a training step and the gradient norms.
"""

import torch.nn as nn

import zoo


def conv(inputs, outputs, kernel):
    return nn.Conv2d(inputs, outputs, kernel, padding="same", bias=False)


class Group(nn.Module):
    def __init__(self, inputs, outputs, kernel, hidden, branch, activation):
        super().__init__()
        self.conv1, self.pool_bn1 = conv(inputs, outputs, kernel), nn.BatchNorm2d(outputs)
        self.conv_a, self.bn_a = conv(outputs, hidden, branch[0]), nn.BatchNorm2d(hidden)
        self.conv_b, self.bn_b = conv(hidden, outputs, branch[1]), nn.BatchNorm2d(outputs)
        self.pool = nn.MaxPool2d(2)
        self.act = zoo.MODULES[activation]()

    def forward(self, x):
        x = self.act(self.pool_bn1(self.pool(self.conv1(x))))
        y = self.act(self.bn_a(self.conv_a(x)))
        return x + self.act(self.bn_b(self.conv_b(y)))


class Stem(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 24, 2)
        self.conv.weight.requires_grad = False

    def forward(self, x):
        return self.conv(x)


class Speedrun(nn.Module):
    def __init__(self, activation):
        super().__init__()
        self.stem = Stem()
        self.body = nn.Sequential(
            zoo.MODULES[activation](),
            Group(24, 64, 3, 64, (1, 1), activation),
            Group(64, 256, 3, 192, (3, 1), activation),
            Group(256, 768, 2, 512, (3, 3), activation),
        )
        self.head = nn.Linear(768, 100, bias=False)

    def forward(self, x):
        x = self.body(self.stem(x)).flatten(2)
        return self.head(x.amax(2) + x.mean(2)) * (1.25 / 9)


def cases():
    for activation in ["relu", "mish"]:
        yield zoo.case("speedrun75", "cifar", activation, Speedrun(activation), 32, batch=2, training=True)


zoo.write(__file__, cases())
