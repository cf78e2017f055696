"""What the scripts of the families share: cases of a network under PyTorch.

A family's script builds its networks with timm, torchvision or its own classes, and calls `write`
with a case for each. Weights and images follow rule.py. Everything is computed in double
precision, by the versions that the file names.

A logit says something of a network only as far as it depends on the image: a case that the layers
have made a constant would hide a wrong pooling in front of them. So a case tries gains of the
rule until the logits of its first two images differ, and those with the network's own activation
differ from ReLU's; the gain is part of the case.

    pip install torch==2.13.0 torchvision==0.28.0 timm==1.0.31 numpy
    python resnet.py            # writes resnet.json
"""

import copy
import json
import pathlib
import sys

import timm
import torch
import torch.nn as nn
import torch.nn.functional as F
import torchvision

import rule

MODULES = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "mish": nn.Mish,
    "silu": nn.SiLU,
    "leaky_relu:0.1": lambda: nn.LeakyReLU(0.1),
    "leaky_relu:0.01": lambda: nn.LeakyReLU(0.01),
    "tanh": nn.Tanh,
}
GAINS = (1.0, 1.2, 1.4, 1.5, 1.6, 1.8, 2.0)
# What the logits of two images, and those of an activation and of ReLU, differ by at least,
# relative to their root mean square.
IMAGES_DIFFER = 0.1
ACTIVATIONS_DIFFER = 0.02
# What single precision may change of a logit, so that the network is no amplifier of rounding.
ROUNDING = 2e-5
SWAPPED = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.LeakyReLU, nn.Mish, nn.GELU, nn.ELU)


def depthwise(x, weight, stride, padding):
    """A depthwise convolution as sums of products, for which PyTorch takes twenty times as long in
    double precision."""
    kernel, (n, channels) = weight.shape[2:], x.shape[:2]
    rows = (x.shape[2] + 2 * padding[0] - kernel[0]) // stride[0] + 1
    windows = F.unfold(x, kernel, padding=padding, stride=stride)
    windows = windows.view(n, channels, kernel[0] * kernel[1], rows, -1)
    return torch.einsum("nckhw,ck->nchw", windows, weight.flatten(1))


def conv_forward(self, x, weight, bias, original=nn.Conv2d._conv_forward):
    single = x.dtype == torch.float32 or self.dilation != (1, 1) or bias is not None
    if single or self.groups == 1 or self.groups != weight.shape[0]:
        return original(self, x, weight, bias)
    return depthwise(x, weight, self.stride, self.padding)


nn.Conv2d._conv_forward = conv_forward


def swap(module: nn.Module, activation: str) -> nn.Module:
    """Puts `activation` in place of every activation module; gates (sigmoids) stay."""
    for name, child in module.named_children():
        if isinstance(child, SWAPPED):
            setattr(module, name, MODULES[activation]())
        else:
            swap(child, activation)
    return module


def multiply_adds(model: nn.Module, images: torch.Tensor) -> int:
    """Those of the convolutions and linear layers, without biases, for one image."""
    total = 0

    def count(module, _inputs, output):
        nonlocal total
        taps = module.weight[0].numel() if isinstance(module, (nn.Conv2d, nn.Linear)) else 0
        total += output[:1].numel() * taps

    hooks = [
        m.register_forward_hook(count)
        for m in model.modules()
        if isinstance(m, (nn.Conv2d, nn.Linear))
    ]
    model(images)
    for hook in hooks:
        hook.remove()
    return total


def loss_of(model, images, labels):
    return F.cross_entropy(model(images), labels)


def largest(difference, logits):
    """The largest of a difference, relative to the root mean square of the logits."""
    return (difference.abs().max() / logits.square().mean().sqrt()).item()


def is_telling(model, activation, images):
    """Whether the logits depend on the image and on the activation."""
    logits = model(images)
    if largest(logits[0] - logits[1], logits) < IMAGES_DIFFER:
        return False
    if activation in ("relu", "mish"):
        return True
    rectified = swap(copy.deepcopy(model), "relu")(images)
    return largest(rectified - logits, logits) >= ACTIVATIONS_DIFFER


def fill(model, activation, images, gains):
    """Fills the model with the first gain that tells, and returns it."""
    for gain in gains:
        rule.fill(model, gain)
        with torch.no_grad():
            if is_telling(model, activation, images):
                return gain
    raise ValueError("no gain lets the image show")


def case(
    name, stem, activation, model, size, batch=2, training=False, loss=loss_of, gains=GAINS, own=None
):
    """The case of `model`, which has `activation` already, for images of `size` x `size`.

    With `own`, the size that the network is meant for, also the multiply-adds of that.
    With `training` also the loss of a training step for the classes 3, 71, 3, 71, … and the
    gradient norm of every parameter; random layers (dropout) must be off.
    """
    model = model.float().eval()
    full = None
    if own is not None:
        shapes_only = copy.deepcopy(model).to("meta")
        products = multiply_adds(shapes_only, torch.empty(1, 3, own, own, device="meta"))
        full = {"size": own, "multiply_adds": products}
    images = rule.tensor("input", (batch, 3, size, size))
    gain = fill(model, activation, images, gains)
    with torch.no_grad():
        single = model(images)
        model, images = model.double(), images.double()
        logits = model(images)
        sensitivity = largest(logits[0] - logits[1], logits)
        rounding = largest(single - logits, logits)
        told = f"gain {gain}, images differ by {sensitivity:.2g}, rounding {rounding:.0e}"
        print(name, stem, activation, size, told, file=sys.stderr)
        assert sensitivity > IMAGES_DIFFER / 2 and rounding < ROUNDING, told
        found = {
            "model": name,
            "stem": stem,
            "activation": activation,
            "gain": gain,
            "input": list(images.shape),
            "params": sum(p.numel() for p in model.parameters()),
            "multiply_adds": multiply_adds(model, images[:1]),
            "full": full,
            "tensors": rule.digest(model),
            "classes": logits.shape[1],
            "logits": logits[:, :5].tolist(),
            "norm": logits.norm().item(),
        }
    if training:
        model.train()
        labels = torch.tensor([3, 71] * batch)[:batch]
        value = loss(model, images, labels)
        value.backward()
        found["loss"] = value.item()
        found["gradient_norms"] = {k: p.grad.norm().item() for k, p in model.named_parameters()}
    return found


def half(name, stem, activation, model, size, **options):
    """The case at half the size that the network is meant for, which takes a quarter of the time."""
    return case(name, stem, activation, model, size // 2, own=size, **options)


def write(script: str, cases) -> None:
    """Writes the cases beside the script, as <script>.json."""
    path = pathlib.Path(script).with_suffix(".json")
    versions = {module.__name__: module.__version__ for module in (torch, torchvision, timm)}
    text = json.dumps({**versions, "cases": list(cases)}, indent=1)
    path.write_text(text + "\n")
