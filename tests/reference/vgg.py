"""Makes vgg.json: what timm computes for the VGG networks.

See zoo.py. The CIFAR form is timm's features with one linear layer. For VGG-11 with and without
batch norm also the loss of a training step and the gradient norm of every parameter.
"""

import timm
import torch.nn as nn

import zoo


def network(name, stem, activation):
    classes = 1000 if stem == "imagenet" else 100
    if stem == "cifar":
        # The hidden layers go: no need for their hundred million weights.
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
                yield zoo.case(name, "imagenet", activation, model, 224)
    # A map that is smaller than the window of the first hidden layer.
    yield zoo.case("vgg11", "imagenet", "mish", network("vgg11", "imagenet", "mish"), 96)


zoo.write(__file__, cases())
