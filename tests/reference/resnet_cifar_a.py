"""Writes resnet_cifar_a.json: CIFAR ResNets with shortcuts of option A, computed by PyTorch.

See zoo.py. Where the shape changes, a shortcut takes every second row and column and pads the channels with
zeros on both sides, as in akamaster/pytorch_resnet_cifar10. The smallest network also has the loss of a
training step and the gradient norm of every parameter.
"""

import torch.nn as nn
import torch.nn.functional as F

import zoo

ACTIVATIONS = {"relu": F.relu, "mish": F.mish}


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride, act):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.act, self.stride, self.zeros = act, stride, (outputs - inputs) // 2

    def forward(self, x):
        y = self.bn2(self.conv2(self.act(self.bn1(self.conv1(x)))))
        x = x[:, :, :: self.stride, :: self.stride]
        return self.act(y + F.pad(x, (0, 0, 0, 0, self.zeros, self.zeros)))


class Network(nn.Module):
    def __init__(self, n, act, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.act = act
        inputs = 16
        for stage, width in enumerate((16, 32, 64)):
            blocks = []
            for i in range(n):
                blocks.append(Block(inputs, width, 2 if stage and not i else 1, act))
                inputs = width
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(64, classes)

    def forward(self, x):
        x = self.act(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean((2, 3)))


def cases():
    for n in (3, 9):
        for activation, act in ACTIVATIONS.items():
            # Images of an odd size have a row more than twice the next map.
            for size in (32, 33):
                name, training = f"resnet{6 * n + 2}", n == 3 and size == 32
                model = Network(n, act, 100)
                case = zoo.case(name, "cifar", activation, model, size, batch=2, training=training)
                yield {**case, "shortcut": "a"}


zoo.write(__file__, cases())
