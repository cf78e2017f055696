"""Writes shufflenet.json: ShuffleNet v1 (three groups) and v2, computed by PyTorch.

See zoo.py. v1 follows the paper (arXiv:1707.01083, table 1 and figure 2), v2 is torchvision's. The CIFAR
forms have stride 1 in the first convolution and no pooling after it.
"""

import torch
import torch.nn as nn
import torchvision

import zoo

GROUPS = 3


def shuffle(x):
    n, c, h, w = x.shape
    return x.view(n, GROUPS, c // GROUPS, h, w).transpose(1, 2).reshape(n, c, h, w)


class Unit(nn.Module):
    def __init__(self, inputs, outputs, stride, first):
        super().__init__()
        width = outputs // 4
        branch = outputs - inputs if stride == 2 else outputs
        self.conv1 = nn.Conv2d(inputs, width, 1, groups=1 if first else GROUPS, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.act1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, groups=width, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, branch, 1, groups=GROUPS, bias=False)
        self.bn3 = nn.BatchNorm2d(branch)
        self.act3 = nn.ReLU()
        self.pool = nn.AvgPool2d(3, 2, 1) if stride == 2 else None

    def forward(self, x):
        y = shuffle(self.act1(self.bn1(self.conv1(x))))
        y = self.bn3(self.conv3(self.bn2(self.conv2(y))))
        if self.pool is None:
            return self.act3(y + x)
        return torch.cat((self.pool(x), self.act3(y)), 1)


class V1(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        stem = nn.Conv2d(3, 24, 3, 2, 1, bias=False)
        self.conv1 = nn.Sequential(stem, nn.BatchNorm2d(24), nn.ReLU())
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs = 24
        for stage, (outputs, repeats) in enumerate(((240, 4), (480, 8), (960, 4)), 2):
            units = []
            for i in range(repeats):
                units.append(Unit(inputs, outputs, 1 if i else 2, stage == 2 and i == 0))
                inputs = outputs
            setattr(self, f"stage{stage}", nn.Sequential(*units))
        self.fc = nn.Linear(960, num_classes)

    def forward(self, x):
        x = self.maxpool(self.conv1(x))
        x = self.stage4(self.stage3(self.stage2(x)))
        return self.fc(x.mean((2, 3)))


VARIANTS = {
    "shufflenet_v1_x1_0": V1,
    "shufflenet_v2_x1_0": torchvision.models.shufflenet_v2_x1_0,
}


def imagenet(name, activation, classes=1000):
    return zoo.swap(VARIANTS[name](num_classes=classes), activation)


def cifar(name, activation):
    model = imagenet(name, activation, classes=100)
    model.conv1[0].stride = (1, 1)
    model.maxpool = nn.Identity()
    return model


def cases():
    for name in VARIANTS:
        for activation in ("relu", "mish"):
            model = cifar(name, activation)
            yield zoo.case(name, "cifar", activation, model, 32, batch=2)
            model = imagenet(name, activation)
            yield zoo.half(name, "imagenet", activation, model, 224)
            yield zoo.case(name, "imagenet", activation, model, 64, batch=2, training=True)


zoo.write(__file__, cases())
