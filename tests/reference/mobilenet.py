"""Writes mobilenet.json: the MobileNets v1 and v2, computed by timm.

See zoo.py. The CIFAR form is timm's network with stride 1 in the first convolution and, in v2, in the
first strided stage.
"""

import timm

import zoo

VARIANTS = {"mobilenetv1_100": (), "mobilenetv2_100": (1,)}
ACTIVATIONS = ("relu", "mish", "relu6")


def imagenet(name, activation, classes=1000):
    return zoo.swap(timm.create_model(name, num_classes=classes), activation)


def cifar(name, activation):
    model = imagenet(name, activation, classes=100)
    model.conv_stem.stride = (1, 1)
    for stage in VARIANTS[name]:
        model.blocks[stage][0].conv_dw.stride = (1, 1)
    return model


def cases():
    for name in VARIANTS:
        for activation in ACTIVATIONS:
            model = cifar(name, activation)
            yield zoo.case(name, "cifar", activation, model, 32, batch=2)
            model = imagenet(name, activation)
            yield zoo.half(name, "imagenet", activation, model, 224)
            model = imagenet(name, activation)
            yield zoo.case(name, "imagenet", activation, model, 64, training=True)


zoo.write(__file__, cases())
