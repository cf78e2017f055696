"""Prints averages.json: averages of the weights of a small network by timm's ModelEmaV3 and PyTorch's
AveragedModel and SWALR, for tests/train/averages.rs.

    python tests/reference/averages.py > tests/reference/averages.json

Both this script and the tests set every tensor of the network in each step with the same formula.
"""

import json

import timm
import torch
from timm.utils import ModelEmaV3
from torch.optim.swa_utils import SWALR, AveragedModel, update_bn

STEPS = 30


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(2, 3, 2)
        self.bn = torch.nn.BatchNorm2d(3)
        self.fc = torch.nn.Linear(3, 2)


def move(network, step):
    """The values after update `step`, counted from 1; 0 is the start."""
    with torch.no_grad():
        for n, tensor in enumerate(network.state_dict().values()):
            i = torch.arange(tensor.numel(), dtype=torch.float64).reshape(tensor.shape)
            if tensor.is_floating_point():
                tensor.copy_(torch.cos(2 * i + n + step / 3) + 1.5)
            else:
                tensor.fill_(step)


def values(network):
    tensors = network.state_dict().items()
    return {name: [float(f"{x:.9g}") for x in tensor.double().flatten()] for name, tensor in tensors}


def ema(dtype, **settings):
    network = Network().to(dtype)
    move(network, 0)
    average = ModelEmaV3(network, **settings)
    decays = []
    for step in range(1, STEPS + 1):
        move(network, step)
        average.update(network, step=step)
        decays.append(average.get_decay(step))
    return {"settings": settings, "decays": decays, "values": values(average.module)}


def swa(start, epochs):
    network = Network().double()
    move(network, 0)
    average = AveragedModel(network)
    for epoch in range(1, epochs + 1):
        move(network, epoch)
        if epoch >= start:
            average.update_parameters(network)
    return {"start": start, "epochs": epochs, "values": values(average.module)}


def rates(start, epochs, swa_lr, anneal_epochs):
    """A cosine schedule by epochs, then SWALR, as in PyTorch's documentation."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    after, found = None, []
    for epoch in range(1, epochs + 1):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if epoch >= start:
            if after is None:
                lr = optimizer.param_groups[0]["lr"]
                after = SWALR(optimizer, swa_lr=swa_lr, anneal_epochs=anneal_epochs)
                optimizer.param_groups[0]["lr"] = lr
            after.step()
        else:
            schedule.step()
    settings = {"swa_start": start, "epochs": epochs, "swa_lr": swa_lr}
    return {"settings": settings, "anneal": anneal_epochs, "rates": found}


def calibrated():
    """update_bn over three batches of another size each."""
    network = torch.nn.Sequential(torch.nn.BatchNorm2d(2)).double()
    batches = []
    for size in (4, 2, 3):
        i = torch.arange(size * 2 * 2 * 2, dtype=torch.float64).reshape(size, 2, 2, 2)
        batches.append(torch.sin(3 * i + size) + size)
    update_bn(batches, network)
    return values(network)


print(
    json.dumps(
        {
            "versions": {"torch": torch.__version__, "timm": timm.__version__},
            "ema": [
                ema(torch.float64, decay=0.9),
                ema(torch.float64, decay=0.9998),
                ema(torch.float64, decay=0.9998, use_warmup=True),
                ema(torch.float64, decay=0.7, use_warmup=True),
                ema(torch.float64, decay=0.3),
            ],
            "swa": [swa(1, 7), swa(4, 24)],
            "rates": [rates(4, 20, 0.05, 10), rates(1, 24, 0.02, 5), rates(9, 12, 0.1, 3)],
            "calibrated": calibrated(),
        },
        separators=(",", ":"),
    )
)
