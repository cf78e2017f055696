"""Makes xception.json: what timm computes for Xception and the aligned Xception-41.

See zoo.py. For 32x32 images timm's network with stride 1 in the first convolution; the stem of
the original, which has no padding otherwise, keeps the size there.
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
