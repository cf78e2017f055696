"""Shared by the scripts of the families: reference cases of a network, computed by PyTorch.

A family's script builds its networks with timm, torchvision or its own classes, and calls `write` with one
case per network. Weights and images follow rule.py. Everything is computed in double precision; the file
records the library versions.

A logit tests the network only if it depends on the image: if the layers turn their input into a constant, a
wrong pooling before them goes unnoticed. So a case tries gains of the rule until the logits of its first two
images differ, and the logits with the given activation differ from those with ReLU. The case records the gain.

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
# The least difference between the logits of two images, and between the logits with an activation and
# with ReLU, relative to their root mean square.
IMAGES_DIFFER = 0.1
ACTIVATIONS_DIFFER = 0.02
# The largest change of a logit in single precision: the case must not amplify rounding.
ROUNDING = 2e-5
SWAPPED = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.LeakyReLU, nn.Mish, nn.GELU, nn.ELU)


def depthwise(x, weight, stride, padding):
    """A depthwise convolution as sums of products: PyTorch's own takes twenty times as long in double
    precision."""
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
    """Replaces every activation module by `activation`; gates (sigmoids) stay."""
    for name, child in module.named_children():
        if isinstance(child, SWAPPED):
            setattr(module, name, MODULES[activation]())
        else:
            swap(child, activation)
    return module


def multiply_adds(model: nn.Module, images: torch.Tensor) -> int:
    """Multiply-adds of the convolutions and linear layers, without biases, for one image."""
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
    """The largest element of a difference, relative to the root mean square of the logits."""
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
    """Fills the model with the first gain whose logits depend on image and activation; returns the gain."""
    for gain in gains:
        rule.fill(model, gain)
        with torch.no_grad():
            if is_telling(model, activation, images):
                return gain
    raise ValueError("no gain makes the logits depend on the image")


def case(
    name,
    stem,
    activation,
    model,
    size,
    batch=2,
    training=False,
    loss=loss_of,
    gains=GAINS,
    own=None,
    in_chans=3,
    img_size=None,
):
    """A case of `model`, which already has `activation`, for images of `size` x `size`.

    With `own`, the image size that the network is designed for, the case has the multiply-adds at that size.
    With `training`, it has the loss of a training step for the classes 3, 71, 3, 71, … and the gradient norm
    of every parameter; random layers (dropout) must be off. `img_size` is the size of the images of a network
    that takes one size only, if it is not 32.
    """
    model = model.float().eval()
    full = None
    if own is not None:
        shapes_only = copy.deepcopy(model).to("meta")
        products = multiply_adds(shapes_only, torch.empty(1, 3, own, own, device="meta"))
        full = {"size": own, "multiply_adds": products}
    images = rule.tensor("input", (batch, in_chans, size, size))
    gain = fill(model, activation, images, gains)
    with torch.no_grad():
        single = model(images)
        model, images = model.double(), images.double()
        logits = model(images)
        sensitivity = largest(logits[0] - logits[1], logits)
        rounding = largest(single - logits, logits)
        message = f"gain {gain}, images differ by {sensitivity:.2g}, rounding {rounding:.0e}"
        print(name, stem, activation, size, message, file=sys.stderr)
        assert sensitivity > IMAGES_DIFFER / 2 and rounding < ROUNDING, message
        found = {
            "model": name,
            "stem": stem,
            "activation": activation,
            "gain": gain,
            "input": list(images.shape),
            "params": sum(p.numel() for p in model.parameters()),
            "multiply_adds": multiply_adds(model, images[:1]),
            "full": full,
            **({"img_size": img_size} if img_size else {}),
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
        trained = {k: p for k, p in model.named_parameters() if p.requires_grad}
        found["gradient_norms"] = {k: p.grad.norm().item() for k, p in trained.items()}
    return found


def half(name, stem, activation, model, size, **options):
    """A case at half the image size that the network is designed for, in a quarter of the time."""
    return case(name, stem, activation, model, size // 2, own=size, **options)


def write(script: str, cases) -> None:
    """Writes the cases to <script>.json in the script's folder."""
    path = pathlib.Path(script).with_suffix(".json")
    versions = {module.__name__: module.__version__ for module in (torch, torchvision, timm)}
    text = json.dumps({**versions, "cases": list(cases)}, indent=1)
    path.write_text(text + "\n")
