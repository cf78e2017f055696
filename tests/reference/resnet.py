"""Writes resnet.json: the ImageNet ResNets and their relatives, computed by timm.

See zoo.py. The CIFAR form is timm's network with another first convolution and without max pooling. One
network of each kind also has the loss of a training step and the gradient norm of every parameter; for
resnet18 that is the ImageNet form at 96x96.
"""

import timm
import torch.nn as nn

import zoo

NAMES = (
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "wide_resnet50_2",
    "resnext50_32x4d",
    "seresnet18",
    "seresnet34",
    "seresnet50",
)
TRAINED = ("resnet50", "seresnet18", "seresnet50", "resnext50_32x4d")


def network(name, stem, activation):
    classes = 1000 if stem == "imagenet" else 100
    model = timm.create_model(name, pretrained=False, num_classes=classes)
    if stem == "cifar":
        model.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        model.maxpool = nn.Identity()
    return zoo.swap(model, activation)


def cases():
    for name in NAMES:
        for activation in ("relu", "mish"):
            yield zoo.half(name, "imagenet", activation, network(name, "imagenet", activation), 224)
            cifar = network(name, "cifar", activation)
            training = name in TRAINED
            yield zoo.case(name, "cifar", activation, cifar, 32, batch=2, training=training)
            if name == "resnet18":
                model = network(name, "imagenet", activation)
                yield zoo.case(name, "imagenet", activation, model, 96, batch=2, training=True)
    # timm's factory leaves the ReLU in squeeze-and-excitation.
    model = timm.create_model("seresnet18", act_layer="mish")
    own = zoo.half("seresnet18", "imagenet", "mish", model, 224)
    yield {**own, "layer_activations": "*.se.act=relu"}


zoo.write(__file__, cases())
