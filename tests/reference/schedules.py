"""Prints schedules.json: the rates of timm's and PyTorch's schedules, for tests/train/schedule.rs.

    python tests/reference/schedules.py > tests/reference/schedules.json

A case has the settings of our recipe, the updates in an epoch, and the rate before each update. Our
`epochs` is the length of the whole run; timm's is the length of the first cycle.
"""

import json
import warnings

import timm
import torch
from timm import scheduler as of_timm
from torch.optim import lr_scheduler as of_torch

warnings.filterwarnings("ignore")
LR = 0.3
# Accuracies and losses that improve, stall, and improve again.
TOP1 = [0.1, 0.2, 0.25, 0.25, 0.25001, 0.24, 0.3, 0.31, 0.31, 0.3, 0.31, 0.31, 0.2, 0.1]
TOP1 += [0.32, 0.4, 0.4, 0.39, 0.38, 0.4, 0.4, 0.4, 0.41, 0.4, 0.4, 0.4]
LOSS = [4.0, 3.0, 2.5, 2.5, 2.4999, 2.6, 2.0, 1.9, 1.9, 1.95, 1.9, 1.9, 2.5, 3.0]
LOSS += [1.8, 1.5, 1.5, 1.6, 1.7, 1.5, 1.5, 1.5, 1.4, 1.5, 1.5, 1.5]


def optimizer():
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR, momentum=0.9)


def group(o):
    return o.param_groups[0]


def case(settings, rates, updates=1, **more):
    recipe = {"lr": LR, **settings}
    return {"recipe": recipe, "updates": updates, "rates": rates, **more}


def timm_updates(make, settings, updates=1):
    """timm's schedule by updates, over all updates of the run and one epoch more.

    timm calls a schedule for the first time after update 0, so that a tangent starts at the exact
    rate; here it is called before.
    """
    o = optimizer()
    schedule = make(o)
    schedule.step_update(0)
    rates = []
    for step in range((settings["epochs"] + 1) * updates):
        rates.append(group(o)["lr"])
        schedule.step_update(step + 1)
    return case(settings, rates, updates)


def timm_epochs(make, settings, updates):
    """timm's schedule by epochs."""
    o = optimizer()
    schedule = make(o)
    schedule.step(0)
    rates = []
    for epoch in range(settings["epochs"] + 1):
        rates += [group(o)["lr"]] * updates
        schedule.step(epoch + 1)
    return case({**settings, "sched_on": "epochs"}, rates, updates)


def timm_plateau(settings, metrics, updates, **arguments):
    o = optimizer()
    schedule = of_timm.PlateauLRScheduler(o, **arguments)
    rates = []
    for epoch, metric in enumerate(metrics):
        rates += [group(o)["lr"]] * updates
        schedule.step(epoch + 1, metric)
    rates += [group(o)["lr"]] * updates
    settings = {"epochs": len(metrics) + 1, "sched": "plateau", **settings}
    return case(settings, rates, updates, metrics=metrics)


def torch_steps(make, settings, updates=1):
    o = optimizer()
    schedule = make(o)
    rates, momenta = [], []
    for _ in range(settings["epochs"]):
        rates += [group(o)["lr"]] * updates
        momenta += [group(o)["momentum"]] * updates
        o.step()
        schedule.step()
    if settings.get("cycle_momentum"):
        return case(settings, rates, updates, momenta=momenta)
    return case(settings, rates, updates)


def torch_plateau(settings, metrics, **arguments):
    o = optimizer()
    schedule = of_torch.ReduceLROnPlateau(o, **arguments)
    rates = []
    for metric in metrics:
        rates.append(group(o)["lr"])
        schedule.step(metric)
    rates.append(group(o)["lr"])
    settings = {"epochs": len(metrics) + 1, "sched": "plateau", **settings}
    return case(settings, rates, metrics=metrics)


def cosine(**arguments):
    return lambda o: of_timm.CosineLRScheduler(o, **arguments)


def tanh(**arguments):
    return lambda o: of_timm.TanhLRScheduler(o, **arguments)


def poly(**arguments):
    return lambda o: of_timm.PolyLRScheduler(o, **arguments)


def step(**arguments):
    return lambda o: of_timm.StepLRScheduler(o, **arguments)


UPDATES = dict(t_in_epochs=False)
WARMUP = dict(warmup_lr_init=0.01)
warm = {"warmup_lr": 0.01, "warmup_epochs": 2}
cases = {
    "cosine": timm_updates(
        cosine(t_initial=30, lr_min=0.01, **UPDATES),
        {"sched": "cosine", "epochs": 30, "min_lr": 0.01},
    ),
    "cosine, warm-up over its start": timm_updates(
        cosine(t_initial=30, warmup_t=6, **WARMUP, **UPDATES),
        {"sched": "cosine", "epochs": 10, "warmup_prefix": False, **warm},
        updates=3,
    ),
    "cosine, warm-up first": timm_updates(
        cosine(t_initial=24, warmup_t=6, warmup_prefix=True, **WARMUP, **UPDATES),
        {"sched": "cosine", "epochs": 10, **warm},
        updates=3,
    ),
    "cosine, by epochs": timm_epochs(
        cosine(t_initial=20, warmup_t=2, warmup_prefix=True, **WARMUP),
        {"sched": "cosine", "epochs": 22, **warm},
        updates=3,
    ),
    "cosine, cycles": timm_updates(
        cosine(t_initial=10, cycle_limit=3, cycle_decay=0.5, lr_min=0.01, **UPDATES),
        {"sched": "cosine", "epochs": 30, "min_lr": 0.01, "lr_cycle_limit": 3},
    ),
    "cosine, longer cycles, k-decay": timm_updates(
        cosine(
            t_initial=6, cycle_limit=3, cycle_mul=2.0, cycle_decay=0.8, k_decay=1.5, **UPDATES
        ),
        {
            "sched": "cosine",
            "epochs": 42,
            "lr_cycle_limit": 3,
            "lr_cycle_mul": 2,
            "lr_cycle_decay": 0.8,
            "lr_k_decay": 1.5,
        },
    ),
    "cosine, everything": timm_updates(
        cosine(
            t_initial=9,
            cycle_limit=2,
            cycle_mul=2.0,
            cycle_decay=0.7,
            k_decay=0.8,
            lr_min=0.02,
            warmup_t=4,
            warmup_prefix=True,
            **WARMUP,
            **UPDATES,
        ),
        {
            "sched": "cosine",
            "epochs": 17,
            "min_lr": 0.02,
            "cooldown_epochs": 1.5,
            "lr_cycle_limit": 2,
            "lr_cycle_mul": 2,
            "lr_cycle_decay": 0.7,
            "lr_k_decay": 0.8,
            **warm,
        },
        updates=2,
    ),
    "tanh": timm_updates(
        tanh(t_initial=30, lr_min=0.01, **UPDATES),
        {"sched": "tanh", "epochs": 30, "min_lr": 0.01},
    ),
    "tanh, warm-up over its start": timm_updates(
        tanh(t_initial=30, lb=-3.0, ub=2.0, warmup_t=6, **WARMUP, **UPDATES),
        {
            "sched": "tanh",
            "epochs": 10,
            "tanh_lb": -3,
            "tanh_ub": 2,
            "warmup_prefix": False,
            **warm,
        },
        updates=3,
    ),
    "tanh, warm-up first, cycles, by epochs": timm_epochs(
        tanh(
            t_initial=10,
            cycle_limit=2,
            cycle_decay=0.5,
            warmup_t=2,
            warmup_prefix=True,
            **WARMUP,
        ),
        {"sched": "tanh", "epochs": 22, "lr_cycle_limit": 2, **warm},
        updates=2,
    ),
    "poly": timm_updates(
        poly(t_initial=30, lr_min=0.01, **UPDATES),
        {"sched": "poly", "epochs": 30, "min_lr": 0.01},
    ),
    "poly, warm-up over its start, k-decay": timm_updates(
        poly(t_initial=30, power=0.9, k_decay=2.0, warmup_t=6, **WARMUP, **UPDATES),
        {
            "sched": "poly",
            "epochs": 10,
            "poly_power": 0.9,
            "lr_k_decay": 2,
            "warmup_prefix": False,
            **warm,
        },
        updates=3,
    ),
    "poly, longer cycles, by epochs": timm_epochs(
        poly(t_initial=8, power=2.0, cycle_limit=2, cycle_mul=2.0, cycle_decay=0.6, lr_min=0.001),
        {
            "sched": "poly",
            "epochs": 24,
            "poly_power": 2,
            "min_lr": 0.001,
            "lr_cycle_limit": 2,
            "lr_cycle_mul": 2,
            "lr_cycle_decay": 0.6,
        },
        updates=2,
    ),
    "step, by updates": timm_updates(
        step(decay_t=7.5, decay_rate=0.97, warmup_t=6, warmup_prefix=False, **WARMUP, **UPDATES),
        {"sched": "step", "epochs": 10, "decay_epochs": 2.5, "decay_rate": 0.97, **warm},
        updates=3,
    ),
    "step, warm-up first": timm_updates(
        step(decay_t=6, decay_rate=0.5, warmup_t=6, warmup_prefix=True, **WARMUP, **UPDATES),
        {
            "sched": "step",
            "epochs": 10,
            "decay_epochs": 2,
            "decay_rate": 0.5,
            "warmup_prefix": True,
            **warm,
        },
        updates=3,
    ),
    # The interval of EfficientNet.
    "step, by epochs": timm_epochs(
        step(decay_t=2.4, decay_rate=0.97, warmup_t=2, warmup_prefix=False, **WARMUP),
        {"sched": "step", "epochs": 24, "decay_epochs": 2.4, "decay_rate": 0.97, **warm},
        updates=2,
    ),
    "constant, warm-up": timm_updates(
        step(decay_t=1, decay_rate=1.0, warmup_t=6, **WARMUP, **UPDATES),
        {"sched": "constant", "epochs": 8, **warm},
        updates=3,
    ),
    "plateau, top-1": timm_plateau(
        {"patience_epochs": 2},
        TOP1,
        updates=1,
        decay_rate=0.1,
        patience_t=2,
        mode="max",
    ),
    "plateau, loss, warm-up": timm_plateau(
        {
            "patience_epochs": 1,
            "decay_rate": 0.5,
            "min_lr": 0.03,
            "eval_metric": "loss",
            "sched_on": "epochs",
            "warmup_lr": 0.01,
            "warmup_epochs": 4,
        },
        LOSS,
        updates=2,
        decay_rate=0.5,
        patience_t=1,
        lr_min=0.03,
        mode="min",
        warmup_t=4,
        **WARMUP,
    ),
    "PyTorch's plateau, top-1": torch_plateau(
        {"patience_epochs": 0, "decay_rate": 0.7},
        TOP1,
        mode="max",
        factor=0.7,
        patience=0,
    ),
    "PyTorch's plateau, loss": torch_plateau(
        {"decay_rate": 0.01, "patience_epochs": 1, "eval_metric": "loss"},
        LOSS,
        factor=0.01,
        patience=1,
    ),
    "PyTorch's cosine": torch_steps(
        lambda o: of_torch.CosineAnnealingLR(o, T_max=30, eta_min=0.01),
        {"sched": "cosine", "epochs": 30, "min_lr": 0.01},
    ),
    "PyTorch's warm restarts": torch_steps(
        lambda o: of_torch.CosineAnnealingWarmRestarts(o, T_0=4, T_mult=2, eta_min=0.01),
        {
            "sched": "cosine",
            "epochs": 28,
            "min_lr": 0.01,
            "lr_cycle_limit": 3,
            "lr_cycle_mul": 2,
            "lr_cycle_decay": 1,
        },
    ),
    "PyTorch's polynomial": torch_steps(
        lambda o: of_torch.PolynomialLR(o, total_iters=30, power=2.0),
        {"sched": "poly", "epochs": 30, "poly_power": 2},
    ),
    "PyTorch's exponential": torch_steps(
        lambda o: of_torch.ExponentialLR(o, gamma=0.9),
        {
            "sched": "exponential",
            "epochs": 30,
            "decay_epochs": 1,
            "decay_rate": 0.9,
            "sched_on": "epochs",
        },
        updates=2,
    ),
    "PyTorch's exponential, by updates": torch_steps(
        lambda o: of_torch.ExponentialLR(o, gamma=0.1 ** (1 / 30)),
        {"sched": "exponential", "epochs": 30},
    ),
    "PyTorch's steps, by epochs": torch_steps(
        lambda o: of_torch.StepLR(o, step_size=7, gamma=0.5),
        {
            "sched": "step",
            "epochs": 30,
            "decay_epochs": 7,
            "decay_rate": 0.5,
            "sched_on": "epochs",
        },
        updates=3,
    ),
    "PyTorch's milestones, by epochs": torch_steps(
        lambda o: of_torch.MultiStepLR(o, milestones=[3, 10, 25], gamma=0.1),
        {
            "sched": "multistep",
            "epochs": 30,
            "decay_milestones": [3, 10, 25],
            "sched_on": "epochs",
        },
        updates=2,
    ),
    "PyTorch's one-cycle": torch_steps(
        lambda o: of_torch.OneCycleLR(o, max_lr=LR, total_steps=41),
        {"sched": "onecycle", "epochs": 41, "pct_start": 0.3, "cycle_momentum": True},
    ),
    "PyTorch's one-cycle, by epochs": torch_steps(
        lambda o: of_torch.OneCycleLR(
            o,
            max_lr=LR,
            total_steps=24,
            pct_start=0.6,
            div_factor=10,
            final_div_factor=100,
            base_momentum=0.5,
            max_momentum=0.8,
        ),
        {
            "sched": "onecycle",
            "epochs": 24,
            "pct_start": 0.6,
            "div_factor": 10,
            "final_div_factor": 100,
            "cycle_momentum": True,
            "base_momentum": 0.5,
            "max_momentum": 0.8,
            "sched_on": "epochs",
        },
        updates=2,
    ),
}

versions = {"torch": torch.__version__, "timm": timm.__version__}
print(json.dumps({"versions": versions, "cases": cases}, separators=(",", ":")))
