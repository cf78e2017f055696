"""Writes vgg.json: the VGG networks, computed by timm.

See zoo.py. The CIFAR form is timm's features with one linear layer. VGG-11 also has the loss of a training
step and the gradient norm of every parameter, in the ImageNet form and in the CIFAR form with and without
batch norm.
"""

import timm
import torch.nn as nn

import zoo

# Smaller gains fail, and trying them takes long for networks of this size.
GAINS = zoo.GAINS[2:]


def network(name, stem, activation):
    classes = 1000 if stem == "imagenet" else 100
    if stem == "cifar":
        # Without the hidden layers and their hundred million weights.
        model = timm.create_model(name, pretrained=False, num_classes=classes, mlp_ratio=1e-3)
        model.pre_logits = nn.Identity()
        model.head.fc = nn.Linear(512, classes)
    else:
        model = timm.create_model(name, pretrained=False, num_classes=classes)
    return zoo.swap(model, activation)


def cases():
    for depth in (11, 13, 16, 19):
        for name in (f"vgg{depth}", f"vgg{depth}_bn"):
            for activation in ("relu", "mish"):
                training = depth == 11
                cifar = network(name, "cifar", activation)
                yield zoo.case(name, "cifar", activation, cifar, 32, batch=2, training=training)
                model = network(name, "imagenet", activation)
                # At full size, because smaller maps are resized before the hidden layers.
                yield zoo.case(name, "imagenet", activation, model, 224, gains=GAINS, own=224)
    # A map smaller than the window of the first hidden layer.
    for activation in ("relu", "mish"):
        model = network("vgg11", "imagenet", activation)
        yield zoo.case("vgg11", "imagenet", activation, model, 96, training=True, gains=GAINS)


zoo.write(__file__, cases())
