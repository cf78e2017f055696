"""Writes efficientnet.json: EfficientNet B0, B1 and B2, computed by timm.

See zoo.py. The CIFAR form is timm's network with stride 1 in the first convolution.
"""

import timm

import zoo

SIZES = {"efficientnet_b0": 224, "efficientnet_b1": 240, "efficientnet_b2": 256}
ACTIVATIONS = ("relu", "mish", "silu")


def imagenet(name, activation, classes=1000):
    model = zoo.swap(timm.create_model(name, num_classes=classes), activation)
    assert model.default_cfg["input_size"] == (3, SIZES[name], SIZES[name])
    return model


def cifar(name, activation):
    model = imagenet(name, activation, classes=100)
    model.conv_stem.stride = (1, 1)
    return model


def cases():
    for name, size in SIZES.items():
        for activation in ACTIVATIONS:
            model = cifar(name, activation)
            yield zoo.case(name, "cifar", activation, model, 32, batch=2)
            model = imagenet(name, activation)
            yield zoo.half(name, "imagenet", activation, model, size)
    for activation in ACTIVATIONS:
        model = imagenet("efficientnet_b0", activation)
        yield zoo.case("efficientnet_b0", "imagenet", activation, model, 64, 2, training=True)


zoo.write(__file__, cases())
