"""Writes initial_weights.json: the distributions of the initial weights of timm's and torchvision's networks.

    python tests/reference/initial_weights.py

For each convolution and linear layer with enough weights: their standard deviation, whether they are uniform, and
whether the bias is zero. ReLU is the activation. Squeeze-and-excitation and the classifier of Inception v3 are
left out: the networks initialise them in another way.
"""

import json
import pathlib

import timm
import torch
import torch.nn as nn
import torchvision

TIMM = (
    "resnet50 wide_resnet50_2 resnext50_32x4d seresnet18 densenet121 darknet53 cspresnext50 mobilenetv1_100 "
    "mobilenetv2_100 efficientnet_b0 inception_v3 inception_resnet_v2 legacy_xception xception41 vgg11_bn"
).split()
TORCHVISION = ("shufflenet_v2_x1_0", "squeezenet1_1")
FEWEST = 2000


def layers(model):
    found = {}
    for name, module in model.named_modules():
        if not isinstance(module, (nn.Conv2d, nn.Linear)) or module.weight.numel() < FEWEST:
            continue
        weight = module.weight.detach()
        std = weight.std().item()
        # sqrt(3) for a uniform distribution.
        uniform = weight.abs().max().item() < 1.8 * std
        found[name] = [float(f"{std:.4g}"), uniform, module.bias is None or not module.bias.any().item()]
    return found


torch.manual_seed(0)
networks = {}
for name in TIMM:
    own = layers(timm.create_model(name))
    networks[name] = {k: v for k, v in own.items() if ".se." not in k and (name, k) != ("inception_v3", "fc")}
for name in TORCHVISION:
    networks[name] = layers(torchvision.models.get_model(name, weights=None))
versions = {module.__name__: module.__version__ for module in (torch, torchvision, timm)}
path = pathlib.Path(__file__).with_suffix(".json")
path.write_text(json.dumps({**versions, "networks": networks}, separators=(",", ":")) + "\n")
