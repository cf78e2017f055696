"""Writes tf_efficientnet.json: EfficientNet B0, B1 and B2 with TensorFlow's padding, computed by timm.

See zoo.py. The CIFAR form is timm's network with stride 1 in the first convolution. At half their own size
some strided convolutions have an even and some an odd input.
"""

import timm

import zoo

SIZES = {"tf_efficientnet_b0": 224, "tf_efficientnet_b1": 240, "tf_efficientnet_b2": 260}
# Small steps: the logits depend on the image, or amplify rounding.
GAINS = (1.0, 1.2, 1.4, 1.45, 1.5, 1.55, 1.6, 1.65, 1.7, 1.8)


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
        for activation in ("relu", "mish"):
            yield zoo.case(name, "cifar", activation, cifar(name, activation), 32, batch=2, gains=GAINS)
            yield zoo.half(name, "imagenet", activation, imagenet(name, activation), size, gains=GAINS)
    for activation in ("relu", "mish"):
        model = imagenet("tf_efficientnet_b0", activation)
        yield zoo.case("tf_efficientnet_b0", "imagenet", activation, model, 64, 2, training=True, gains=GAINS)


zoo.write(__file__, cases())
