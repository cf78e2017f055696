"""What the scripts of the families share: cases of a network under PyTorch.

A family's script builds its networks with timm, torchvision or its own classes, and calls `write`
with a case for each. Weights and images follow rule.py. Everything is computed in double
precision.

    pip install torch==2.15.0 torchvision==0.29.2 timm==1.0.31 numpy
    python resnet.py            # writes resnet.json
"""

import json
import pathlib
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F

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
SWAPPED = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.LeakyReLU, nn.Mish, nn.GELU, nn.ELU)


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


def case(name, stem, activation, model, size, batch=1, training=False, loss=loss_of):
    """The case of `model`, which has `activation` already, for images of `size` x `size`.

    With `training` also the loss of a training step for the classes 3, 71, 3, 71, … and the
    gradient norm of every parameter; random layers (dropout) must be off.
    """
    print(name, stem, activation, size, file=sys.stderr)
    rule.fill(model)
    model = model.double().eval()
    images = rule.tensor("input", (batch, 3, size, size)).double()
    with torch.no_grad():
        logits = model(images)
        found = {
            "model": name,
            "stem": stem,
            "activation": activation,
            "input": list(images.shape),
            "params": sum(p.numel() for p in model.parameters()),
            "multiply_adds": multiply_adds(model, images),
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


def write(script: str, cases) -> None:
    """Writes the cases beside the script, as <script>.json."""
    torch.set_num_threads(2)
    path = pathlib.Path(script).with_suffix(".json")
    text = json.dumps({"torch": torch.__version__, "cases": list(cases)}, indent=1)
    path.write_text(text + "\n")
