"""Writes capsnet.json: CapsNet on 32x32 images, computed by PyTorch.

See zoo.py. The training loss is the margin loss of the paper. The script asserts that routing has an
effect: fewer iterations give other logits.
"""

import collections
import itertools
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F

import rule
import zoo


def squash(x):
    square = x.square().sum(-1, keepdim=True)
    return square / (1 + square) * x / square.sqrt()


class ClassCapsules(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2048, 8, classes, 16))
        self.iterations = 3

    def forward(self, u):
        predictions = torch.einsum("nid,idje->nije", u, self.weight)
        logits = torch.zeros_like(predictions[..., 0])
        for _ in range(self.iterations):
            couplings = F.softmax(logits, dim=2)
            v = squash(torch.einsum("nij,nije->nje", couplings, predictions))
            logits = logits + torch.einsum("nije,nje->nij", predictions, v)
        return v


class CapsNet(nn.Module):
    def __init__(self, activation, classes, reconstruction=False):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 256, 9)
        self.act1 = zoo.MODULES[activation]()
        self.primary_caps = nn.Conv2d(256, 256, 9, stride=2)
        self.digit_caps = ClassCapsules(classes)
        if reconstruction:
            self.digit_caps.decoder = nn.Sequential(
                collections.OrderedDict(
                    fc1=nn.Linear(classes * 16, 512),
                    act1=zoo.MODULES[activation](),
                    fc2=nn.Linear(512, 1024),
                    act2=zoo.MODULES[activation](),
                    fc3=nn.Linear(1024, 3 * 32 * 32),
                )
            )

    def capsules(self, x):
        x = self.primary_caps(self.act1(self.conv1(x)))
        kinds = x.unflatten(1, (32, 8)).flatten(3)
        capsules = squash(kinds.transpose(2, 3).flatten(1, 2))
        return self.digit_caps(capsules)

    def forward(self, x):
        return self.capsules(x).norm(dim=-1)


def margin_loss(lengths, labels):
    """Equation 4 of the paper, averaged over the images."""
    right = F.one_hot(labels, lengths.shape[1])
    present = right * (0.9 - lengths).clamp(min=0).square()
    absent = 0.5 * (1 - right) * (lengths - 0.1).clamp(min=0).square()
    return (present + absent).sum(1).mean()


def loss_of(model, images, labels):
    return margin_loss(model(images), labels)


def loss_with_reconstruction(model, images, labels):
    capsules = model.capsules(images)
    mask = F.one_hot(labels, capsules.shape[1])[..., None]
    drawn = model.digit_caps.decoder((capsules * mask).flatten(1))
    error = F.mse_loss(drawn, images.flatten(1), reduction="sum") / len(images)
    return margin_loss(capsules.norm(dim=-1), labels) + 0.0005 * error


LOSSES = {"capsnet": loss_of, "capsnet_reconstruction": loss_with_reconstruction}


def assert_routing_counts(model, size):
    """Asserts that the number of routing iterations changes the logits of `model`."""
    model.eval()
    with torch.no_grad():
        images = rule.tensor("input", (2, 3, size, size)).double()
        logits = []
        for model.digit_caps.iterations in (1, 2, 3):
            logits.append(model(images))
    once, twice, thrice = logits
    differences = [zoo.largest(other - thrice, thrice) for other in (once, twice)]
    print("one and two iterations differ by", differences, file=sys.stderr)
    assert min(differences) > 0.02, differences


def cases():
    for activation, (name, loss) in itertools.product(("relu", "mish"), LOSSES.items()):
        model = CapsNet(activation, 100, reconstruction=name != "capsnet")
        case = zoo.case(name, "cifar", activation, model, 32, batch=2, training=True, loss=loss)
        # The multiply-adds of the predictions, which are not a PyTorch layer.
        case["multiply_adds"] += model.digit_caps.weight.numel()
        assert_routing_counts(model, 32)
        yield case


zoo.write(__file__, cases())
