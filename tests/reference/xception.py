"""Writes xception.json: Xception and the aligned Xception-41, computed by timm.

See zoo.py. The CIFAR form is timm's network with stride 1 in the first convolution. The stem of the original
Xception, which has no padding in the ImageNet form, is padded to keep the size.
"""

import timm

import zoo

NAMES = ("legacy_xception", "xception41")
ACTIVATIONS = ("relu", "mish")


def imagenet(name, activation, classes=1000):
    return zoo.swap(timm.create_model(name, num_classes=classes), activation)


def cifar(name, activation):
    model = imagenet(name, activation, classes=100)
    if name == "legacy_xception":
        model.conv1.stride = (1, 1)
        model.conv1.padding = model.conv2.padding = (1, 1)
    else:
        model.stem[0].conv.stride = (1, 1)
    return model


def cases():
    for activation in ACTIVATIONS:
        for name in NAMES:
            model = cifar(name, activation)
            yield zoo.case(name, "cifar", activation, model, 32, batch=2)
            model = imagenet(name, activation)
            yield zoo.half(name, "imagenet", activation, model, 299)
            yield zoo.case(name, "imagenet", activation, model, 96, batch=2, training=True)


zoo.write(__file__, cases())
