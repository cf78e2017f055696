"""Writes darknet.json: DarkNet-53 and the cross-stage-partial networks, computed by timm.

See zoo.py. The CIFAR form is timm's network with a stem that keeps the resolution: a 3x3 convolution
replaces the strided 7x7 convolution and the pooling, and the first stage of a DarkNet has stride 1.
"""

import timm
import torch.nn as nn

import zoo


def imagenet(name, activation):
    return zoo.swap(timm.create_model(name, pretrained=False), activation)


def cifar(name, activation):
    model = timm.create_model(name, pretrained=False, num_classes=100)
    if name.startswith("cspres"):
        model.stem.conv1.conv = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        model.stem.pool = nn.Identity()
    else:
        model.stages[0].conv_down.conv.stride = (1, 1)
    return zoo.swap(model, activation)


NAMES = ("darknet53", "cspdarknet53", "cspresnet50", "cspresnext50")
# One network per kind of block.
ACTIVATIONS = ("relu", "mish", "leaky_relu:0.01")
TRAINED = ("darknet53", "cspdarknet53", "cspresnet50")


def cases():
    for name in NAMES:
        for activation in ACTIVATIONS:
            yield zoo.half(name, "imagenet", activation, imagenet(name, activation), 256)
            yield zoo.case(name, "cifar", activation, cifar(name, activation), 32, batch=2)
            if name in TRAINED:
                model = imagenet(name, activation)
                yield zoo.case(name, "imagenet", activation, model, 64, training=True)


zoo.write(__file__, cases())
