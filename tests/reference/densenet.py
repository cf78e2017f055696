"""Writes densenet.json: the DenseNets computed by timm, and DenseNet-BC 100-12 by PyTorch.

See zoo.py. The CIFAR form of the ImageNet networks is timm's with another first convolution and
without max pooling. densenet121 (ImageNet form, at 96x96) and DenseNet-BC also have the loss of a
training step and the gradient norm of every parameter.
"""

from collections import OrderedDict

import timm
import torch
import torch.nn as nn

import zoo


def network(name, stem, activation):
    classes = 1000 if stem == "imagenet" else 100
    model = timm.create_model(name, pretrained=False, num_classes=classes)
    if stem == "cifar":
        outputs = model.features.conv0.out_channels
        model.features.conv0 = nn.Conv2d(3, outputs, 3, 1, 1, bias=False)
        model.features.pool0 = nn.Identity()
    return zoo.swap(model, activation)


class Layer(nn.Module):
    """The bottleneck of DenseNet-BC: concatenates its output to its input."""

    def __init__(self, inputs, growth, activation):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.act1 = zoo.MODULES[activation]()
        self.conv1 = nn.Conv2d(inputs, 4 * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(4 * growth)
        self.act2 = zoo.MODULES[activation]()
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, 1, 1, bias=False)

    def forward(self, x):
        y = self.conv1(self.act1(self.norm1(x)))
        return torch.cat((x, self.conv2(self.act2(self.norm2(y)))), 1)


class DenseNetBC(nn.Module):
    """DenseNet-BC for 32x32 images: three blocks with (depth - 4) / 6 layers each."""

    def __init__(self, depth, growth, activation):
        super().__init__()
        layers = (depth - 4) // 6
        channels = 2 * growth
        parts = OrderedDict(conv0=nn.Conv2d(3, channels, 3, 1, 1, bias=False))
        for block in (1, 2, 3):
            dense = OrderedDict()
            for i in range(layers):
                dense[f"denselayer{i + 1}"] = Layer(channels, growth, activation)
                channels += growth
            parts[f"denseblock{block}"] = nn.Sequential(dense)
            if block < 3:
                transition = OrderedDict(
                    norm=nn.BatchNorm2d(channels),
                    act=zoo.MODULES[activation](),
                    conv=nn.Conv2d(channels, channels // 2, 1, bias=False),
                    pool=nn.AvgPool2d(2),
                )
                parts[f"transition{block}"] = nn.Sequential(transition)
                channels //= 2
        parts["norm5"] = nn.BatchNorm2d(channels)
        parts["act5"] = zoo.MODULES[activation]()
        self.features = nn.Sequential(parts)
        self.classifier = nn.Linear(channels, 100)

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


def cases():
    for activation in ("relu", "mish"):
        for name in ("densenet121", "densenet169", "densenet201", "densenet161"):
            yield zoo.half(name, "imagenet", activation, network(name, "imagenet", activation), 224)
            cifar = network(name, "cifar", activation)
            yield zoo.case(name, "cifar", activation, cifar, 32, batch=2)
        small = network("densenet121", "imagenet", activation)
        yield zoo.case("densenet121", "imagenet", activation, small, 96, batch=2, training=True)
        model = DenseNetBC(100, 12, activation)
        yield zoo.case("densenet_bc100_12", "cifar", activation, model, 32, batch=2, training=True)


zoo.write(__file__, cases())
