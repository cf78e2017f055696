"""Writes resnet_cifar.json: the CIFAR ResNets v1 and v2, computed by PyTorch.

See zoo.py. Every variant has logits in evaluation mode. The smallest of each version also has the loss of
a training step and the gradient norm of every parameter.
"""

import torch.nn as nn
import torch.nn.functional as F

import zoo

ACTIVATIONS = {"relu": F.relu, "mish": F.mish}


class Basic(nn.Module):
    def __init__(self, inputs, outputs, stride, act):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.act = act
        self.downsample = None
        if stride != 1 or inputs != outputs:
            shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.act(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.act(y + (x if self.downsample is None else self.downsample(x)))


class V1(nn.Module):
    def __init__(self, n, act, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.act = act
        inputs = 16
        for stage, width in enumerate((16, 32, 64)):
            blocks = []
            for i in range(n):
                blocks.append(Basic(inputs, width, 2 if stage and not i else 1, act))
                inputs = width
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(64, classes)

    def forward(self, x):
        x = self.act(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean((2, 3)))


class PreActBottleneck(nn.Module):
    def __init__(self, inputs, width, outputs, stride, project, bare, act):
        super().__init__()
        self.act = act
        self.bn1 = None if bare else nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, width, 1, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1)
        self.bn3 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1)
        self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride)) if project else None

    def forward(self, x):
        y = x if self.bn1 is None else self.act(self.bn1(x))
        y = self.conv1(y)
        y = self.conv2(self.act(self.bn2(y)))
        y = self.conv3(self.act(self.bn3(y)))
        return y + (x if self.downsample is None else self.downsample(x))


class V2(nn.Module):
    def __init__(self, n, act, classes):
        super().__init__()
        self.act = act
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1)
        self.bn1 = nn.BatchNorm2d(16)
        inputs = 16
        for stage, (width, outputs) in enumerate(((16, 64), (64, 128), (128, 256))):
            blocks = []
            for i in range(n):
                stride = 2 if stage and not i else 1
                bare = stage == 0 and i == 0
                blocks.append(PreActBottleneck(inputs, width, outputs, stride, i == 0, bare, act))
                inputs = outputs
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.bn = nn.BatchNorm2d(256)
        self.fc = nn.Linear(256, classes)

    def forward(self, x):
        x = self.act(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(self.act(self.bn(x)).mean((2, 3)))


VARIANTS = {
    **{f"resnet{6 * n + 2}": (V1, n) for n in (3, 5, 7, 9, 18, 27)},
    **{f"resnetv2_{9 * n + 2}": (V2, n) for n in (2, 6, 12, 18, 27)},
}
TRAINED = ("resnet20", "resnetv2_20")


def cases():
    for name, (net, n) in VARIANTS.items():
        for activation, act in ACTIVATIONS.items():
            model = net(n, act, 100)
            yield zoo.case(name, "cifar", activation, model, 32, batch=2, training=name in TRAINED)


zoo.write(__file__, cases())
