"""Writes inception.json: Inception v3 and Inception-ResNet v2, computed by timm.

See zoo.py. The CIFAR form is timm's network with a stem that keeps the resolution: no stride, no
pooling, and padding in the first two convolutions.
"""

import timm
import torch.nn as nn

import zoo

STEMS = {
    "inception_v3": ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Pool1", "Pool2"),
    "inception_resnet_v2": ("conv2d_1a", "conv2d_2a", "maxpool_3a", "maxpool_5a"),
}


def imagenet(name, activation):
    return zoo.swap(timm.create_model(name, pretrained=False), activation)


def cifar(name, activation):
    model = timm.create_model(name, pretrained=False, num_classes=100)
    first, second, *pools = STEMS[name]
    for conv in (first, second):
        getattr(model, conv).conv.stride = (1, 1)
        getattr(model, conv).conv.padding = (1, 1)
    for pool in pools:
        setattr(model, pool, nn.Identity())
    return zoo.swap(model, activation)


def cases():
    for name in STEMS:
        for activation in ("relu", "mish"):
            yield zoo.half(name, "imagenet", activation, imagenet(name, activation), 299)
            yield zoo.case(name, "cifar", activation, cifar(name, activation), 32, batch=2)
            model = imagenet(name, activation)
            yield zoo.case(name, "imagenet", activation, model, 128, training=True)


zoo.write(__file__, cases())
