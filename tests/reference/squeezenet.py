"""Writes squeezenet.json: the SqueezeNets, computed by torchvision.

See zoo.py. The CIFAR form is torchvision's network with another first convolution. squeezenet1_1 also has
the loss of a training step and the gradient norm of every parameter.
"""

import torch.nn as nn
import torchvision.models

import zoo


def network(name, stem, activation):
    classes = 1000 if stem == "imagenet" else 100
    model = getattr(torchvision.models, name)(num_classes=classes, dropout=0.0)
    if stem == "cifar":
        model.features[0] = nn.Conv2d(3, model.features[0].out_channels, 3, 1, 1)
    return zoo.swap(model, activation)


def cases():
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
