"""Writes wide_resnet.json: the CIFAR Wide ResNets, computed by PyTorch.

See zoo.py. The network follows the paper (Zagoruyko, Komodakis, arXiv:1605.07146). The smallest also has the
loss of a training step and the gradient norm of every parameter.
"""

import torch.nn as nn

import zoo


class Block(nn.Module):
    """A pre-activation block. If the channels change, the shortcut takes the activated input."""

    def __init__(self, inputs, outputs, stride, activation):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.act1 = zoo.MODULES[activation]()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.act2 = zoo.MODULES[activation]()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        project = inputs != outputs
        self.convShortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if project else None

    def forward(self, x):
        y = self.act1(self.bn1(x))
        shortcut = x if self.convShortcut is None else self.convShortcut(y)
        return self.conv2(self.act2(self.bn2(self.conv1(y)))) + shortcut


class Group(nn.Module):
    def __init__(self, inputs, outputs, stride, blocks, activation):
        super().__init__()
        first = Block(inputs, outputs, stride, activation)
        rest = [Block(outputs, outputs, 1, activation) for _ in range(blocks - 1)]
        self.layer = nn.Sequential(first, *rest)

    def forward(self, x):
        return self.layer(x)


class WideResNet(nn.Module):
    def __init__(self, depth, factor, activation):
        super().__init__()
        blocks = (depth - 4) // 6
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.block1 = Group(16, 16 * factor, 1, blocks, activation)
        self.block2 = Group(16 * factor, 32 * factor, 2, blocks, activation)
        self.block3 = Group(32 * factor, 64 * factor, 2, blocks, activation)
        self.bn1 = nn.BatchNorm2d(64 * factor)
        self.act1 = zoo.MODULES[activation]()
        self.fc = nn.Linear(64 * factor, 100)

    def forward(self, x):
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        return self.fc(self.act1(self.bn1(x)).mean((2, 3)))


def cases():
    for depth, factor in ((10, 2), (16, 4), (22, 10), (28, 10), (40, 4)):
        for activation in ("relu", "mish"):
            model = WideResNet(depth, factor, activation)
            name = f"wrn{depth}_{factor}"
            training = name == "wrn10_2"
            yield zoo.case(name, "cifar", activation, model, 32, batch=2, training=training)


zoo.write(__file__, cases())
