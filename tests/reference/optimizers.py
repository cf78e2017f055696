"""Prints optimizers.json: trajectories of PyTorch's optimizers and schedules, for tests/train.

    python tests/reference/optimizers.py > tests/reference/optimizers.json

Both this script and the tests compute the gradient of sum(c * (w - t)^4 / 4 + sin(w)).
"""

import json

import torch

torch.set_default_dtype(torch.float64)

START = [[0.5, -1.25, 2.0], [0.0, 3.0, -0.75]]
BIAS = [0.25, -2.0]
STEPS = 12


def gradient(w):
    i = torch.arange(w.numel(), dtype=w.dtype).reshape(w.shape)
    return (1 + i / 4) * (w - 1) ** 3 + torch.cos(w)


def trajectory(make, clip=None):
    weight = torch.nn.Parameter(torch.tensor(START))
    bias = torch.nn.Parameter(torch.tensor(BIAS))
    groups = [
        {"params": [weight], "weight_decay": 0.05},
        {"params": [bias], "weight_decay": 0.0},
    ]
    optimizer = make(groups)
    for step in range(STEPS):
        for parameter in (weight, bias):
            parameter.grad = gradient(parameter.detach())
        if clip == "norm":
            torch.nn.utils.clip_grad_norm_([weight, bias], 2.0)
        if clip == "value":
            torch.nn.utils.clip_grad_value_([weight, bias], 0.5)
        for group in optimizer.param_groups:
            group["lr"] = 0.02 / (1 + step)
        optimizer.step()
    return {"weight": weight.detach().flatten().tolist(), "bias": bias.tolist()}


optim = torch.optim
cases = {
    "sgd": trajectory(lambda g: optim.SGD(g, lr=1)),
    "momentum": trajectory(lambda g: optim.SGD(g, lr=1, momentum=0.9)),
    "nesterov": trajectory(lambda g: optim.SGD(g, lr=1, momentum=0.9, nesterov=True)),
    "nesterov, clipped by norm": trajectory(
        lambda g: optim.SGD(g, lr=1, momentum=0.9, nesterov=True), "norm"
    ),
    "nesterov, clipped by value": trajectory(
        lambda g: optim.SGD(g, lr=1, momentum=0.9, nesterov=True), "value"
    ),
    "adam": trajectory(lambda g: optim.Adam(g, betas=(0.8, 0.99), eps=1e-6)),
    "adamw": trajectory(lambda g: optim.AdamW(g, betas=(0.8, 0.99), eps=1e-6)),
    "rmsprop": trajectory(lambda g: optim.RMSprop(g, alpha=0.9, eps=1e-6)),
    "rmsprop, momentum": trajectory(
        lambda g: optim.RMSprop(g, alpha=0.9, eps=1e-6, momentum=0.9)
    ),
    "rmsprop, centered": trajectory(
        lambda g: optim.RMSprop(g, alpha=0.9, eps=1e-6, centered=True)
    ),
    "rmsprop, centered, momentum": trajectory(
        lambda g: optim.RMSprop(g, alpha=0.9, eps=1e-6, centered=True, momentum=0.9)
    ),
}


def rates(make, steps):
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = optim.SGD([parameter], lr=0.3)
    scheduler = make(optimizer)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


scheduler = optim.lr_scheduler
schedules = {
    "one-cycle": rates(
        lambda o: scheduler.OneCycleLR(
            o, max_lr=0.3, total_steps=41, pct_start=0.25, cycle_momentum=False
        ),
        41,
    ),
    "one-cycle, late": rates(
        lambda o: scheduler.OneCycleLR(
            o,
            max_lr=0.3,
            total_steps=20,
            pct_start=0.8,
            div_factor=10,
            final_div_factor=100,
            cycle_momentum=False,
        ),
        20,
    ),
    "cosine": rates(
        lambda o: scheduler.CosineAnnealingLR(o, T_max=30, eta_min=0.01), 30
    ),
    "step": rates(lambda o: scheduler.StepLR(o, step_size=7, gamma=0.5), 30),
    "multistep": rates(
        lambda o: scheduler.MultiStepLR(o, milestones=[3, 10, 25], gamma=0.1), 30
    ),
}

print(json.dumps({"torch": torch.__version__, "optimizers": cases, "schedules": schedules}))
