"""Writes squeezenet.json: the SqueezeNets, computed by torchvision.

See zoo.py. The CIFAR form is torchvision's network with another first convolution. squeezenet_bn is the
network of weiaicunzai/pytorch-cifar100, written from its definition with its names. squeezenet1_1 and
squeezenet_bn also have the loss of a training step and the gradient norm of every parameter.
"""

import torch
import torch.nn as nn
import torchvision.models

import zoo


def network(name, stem, activation):
    classes = 1000 if stem == "imagenet" else 100
    model = getattr(torchvision.models, name)(num_classes=classes, dropout=0.0)
    if stem == "cifar":
        model.features[0] = nn.Conv2d(3, model.features[0].out_channels, 3, 1, 1)
    return zoo.swap(model, activation)


def unit(inputs, outputs, size, activation):
    conv = nn.Conv2d(inputs, outputs, size, padding=size // 2)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), zoo.MODULES[activation]())


class FireBn(nn.Module):
    def __init__(self, inputs, squeezed, expanded, bypass, activation):
        super().__init__()
        self.squeeze = unit(inputs, squeezed, 1, activation)
        self.expand_1x1 = unit(squeezed, expanded, 1, activation)
        self.expand_3x3 = unit(squeezed, expanded, 3, activation)
        self.bypass = bypass

    def forward(self, x):
        y = self.squeeze(x)
        y = torch.cat((self.expand_1x1(y), self.expand_3x3(y)), 1)
        return y + x if self.bypass else y


class SqueezeNetBn(nn.Module):
    # Squeezed and expanded channels, and whether a shortcut surrounds the module. None is a max pool.
    PLAN = (
        (16, 64, False),
        (16, 64, True),
        (32, 128, False),
        None,
        (32, 128, True),
        (48, 192, False),
        (48, 192, True),
        (64, 256, False),
        None,
        (64, 256, False),
    )

    def __init__(self, activation, classes):
        super().__init__()
        self.stem = unit(3, 96, 3, activation)
        inputs, number = 96, 2
        self.steps = []
        for row in self.PLAN:
            if row is None:
                self.steps.append(None)
                continue
            name = f"fire{number}"
            self.add_module(name, FireBn(inputs, *row, activation))
            self.steps.append(name)
            inputs, number = 2 * row[1], number + 1
        self.conv10 = nn.Conv2d(inputs, classes, 1)

    def forward(self, x):
        x = nn.functional.max_pool2d(self.stem(x), 2)
        for name in self.steps:
            x = nn.functional.max_pool2d(x, 2) if name is None else getattr(self, name)(x)
        return self.conv10(x).mean((2, 3))


def cases():
    for activation in ("relu", "mish"):
        model = SqueezeNetBn(activation, 100)
        yield zoo.case("squeezenet_bn", "cifar", activation, model, 32, batch=2, training=True)
    for name in ("squeezenet1_0", "squeezenet1_1"):
        for activation in ("relu", "mish"):
            yield zoo.half(name, "imagenet", activation, network(name, "imagenet", activation), 224)
            training = name == "squeezenet1_1"
            cifar = network(name, "cifar", activation)
            yield zoo.case(name, "cifar", activation, cifar, 32, batch=2, training=training)
            if training:
                model = network(name, "imagenet", activation)
                yield zoo.case(name, "imagenet", activation, model, 64, batch=2, training=True)


zoo.write(__file__, cases())
