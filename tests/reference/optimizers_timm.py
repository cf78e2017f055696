"""Prints optimizers_timm.json: trajectories of the optimizers of timm and PyTorch over the parameters
of a small network, for tests/train/optimizer.

    python tests/reference/optimizers_timm.py > tests/reference/optimizers_timm.json

timm's factory makes every optimizer by its name, so that the defaults are compared too. A case has
the settings of our recipe in TOML; those that timm has under another name are keyword arguments.
Both this script and the tests compute gradients and rates with the same formulas.

Muon iterates in bfloat16 in timm and PyTorch. Sums in bfloat16 depend on their order, so the
references iterate in float64 here. The case "one step in bfloat16" is the unchanged code.
"""

import functools
import json

import timm
import timm.optim.muon
import torch
import torch.optim._muon
from timm.optim import create_optimizer_v2
from timm.utils import adaptive_clip_grad

torch.set_default_dtype(torch.float64)
SEED = 0
torch.manual_seed(SEED)

SHAPES = {
    "conv.weight": (4, 2, 2, 2),
    "depthwise.weight": (4, 1, 2, 2),
    "norm.weight": (4,),
    "tall.weight": (6, 4),
    "head.weight": (4, 5),
    "head.bias": (4,),
}
STEPS = 24
DECAY = 0.05


def index(w):
    return torch.arange(w.numel(), dtype=w.dtype).reshape(w.shape)


def gradient(w, step):
    i = index(w)
    return (1 + (i % 5) / 4) * (w - torch.sin(i)) + torch.cos(3 * w) / 2 + torch.sin(i + step) / 4


def start():
    parameters = {}
    for n, (name, shape) in enumerate(SHAPES.items()):
        i = index(torch.empty(shape))
        parameters[name] = torch.nn.Parameter(1.5 * torch.cos(2 * i + n) + 0.05)
    return parameters


def decays(name, parameter):
    return parameter.ndim > 1 and not name.endswith(".bias")


def make(name, parameters, arguments):
    decayed = [p for n, p in parameters.items() if decays(n, p)]
    plain = [p for n, p in parameters.items() if not decays(n, p)]
    groups = [
        {"params": decayed, "weight_decay": DECAY},
        {"params": plain, "weight_decay": 0.0},
    ]
    return create_optimizer_v2(groups, name, lr=1.0, weight_decay=DECAY, **arguments)


def with_fallback(parameters, name):
    """timm's Muon whose fallback also updates the parameter `name`."""
    own = {n: p for n, p in parameters.items() if n != name}
    optimizer = make("muon", own, {})
    group = {"params": [parameters[name]], "weight_decay": DECAY, "use_fallback": True}
    optimizer.add_param_group({**optimizer.defaults, **group})
    return optimizer


class Normalised:
    """timm's Muon on matrices that are scaled to the norm sqrt(rows) before each step."""

    def __init__(self, parameters):
        suits = timm.optim.muon._is_suitable_for_muon
        self.matrices = [p for p in parameters.values() if suits(p)]
        self._base_optimizer = make("muon", parameters, {})
        self.param_groups = self._base_optimizer.param_groups

    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if any(p is matrix for matrix in self.matrices):
                    keep = 1 - group["lr"] * group["weight_decay"]
                    p.data *= len(p) ** 0.5 / p.norm() / keep
        self._base_optimizer.step()


def clip(parameters, mode, value):
    if mode == "norm":
        torch.nn.utils.clip_grad_norm_(parameters.values(), value)
    if mode == "value":
        torch.nn.utils.clip_grad_value_(parameters.values(), value)
    if mode == "agc":
        # timm's train.py leaves out the head in this way.
        adaptive_clip_grad(list(parameters.values())[:-2], value)


class Both:
    """timm's Muon for the parameters it suits, timm's SGDW for the rest at half the rate."""

    def __init__(self, parameters, nesterov, momentum=0.9):
        suits = timm.optim.muon._is_suitable_for_muon
        matrices = {n: p for n, p in parameters.items() if suits(p)}
        rest = {n: p for n, p in parameters.items() if not suits(p)}
        muon = "nmuon" if nesterov else "muon"
        self.parts = [make(muon, matrices, {}), make("sgdw", rest, {"nesterov": nesterov, "momentum": momentum})]
        self.param_groups = [g for part in self.parts for g in part.param_groups]

    def step(self):
        for group in self.parts[1].param_groups:
            group["lr"] *= 0.5
        for part in self.parts:
            part.step()


CYCLE = {"cycle_momentum": True, "epochs": STEPS, "lr": 0.05, "pct_start": 0.3}


class Cycle:
    """PyTorch's OneCycleLR with its momenta. It moves beta1 if there are betas; Muon, which has both a
    momentum and betas for its fallback, gets both."""

    def __init__(self, optimizer):
        self.groups = optimizer.param_groups
        self.one_cycle = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=CYCLE["lr"],
            total_steps=STEPS,
            pct_start=CYCLE["pct_start"],
        )
        self.both()

    def both(self):
        for group in self.groups:
            if "momentum" in group and "betas" in group:
                group["momentum"] = group["betas"][0]

    def step(self):
        self.one_cycle.step()
        self.both()


def trajectory(
    make_optimizer, settings, names=SHAPES, steps=STEPS, own_clip=None, epoch_ends=()
):
    parameters = {n: p for n, p in start().items() if n in names}
    optimizer = make_optimizer(parameters)
    cycle = Cycle(optimizer) if "cycle_momentum" in settings else None
    for step in range(steps):
        for p in parameters.values():
            p.grad = gradient(p.detach(), step)
        if "clip_grad" in settings:
            clip(parameters, settings.get("clip_mode", "norm"), settings["clip_grad"])
        if own_clip is not None:
            norm = torch.cat([p.grad.flatten() for p in parameters.values()]).norm()
            for p in parameters.values():
                p.grad /= (norm / own_clip).clamp(min=1)
        for n, p in parameters.items():
            if decays(n, p):
                l1, l2 = settings.get("l1_penalty", 0), settings.get("l2_penalty", 0)
                p.grad += l1 * torch.sign(p.detach()) + l2 * p.detach()
        if cycle is None:
            for group in optimizer.param_groups:
                group["lr"] = 0.05 / (1 + step / 8)
        optimizer.step()
        if step + 1 in epoch_ends:
            # As timm's train.py does.
            optimizer.sync_lookahead()
        if cycle is not None and step + 1 < steps:
            cycle.step()
    found = {
        "settings": settings,
        "steps": steps,
        "epoch_ends": list(epoch_ends),
        "values": {n: [float(f"{x:.12g}") for x in p.detach().flatten()] for n, p in parameters.items()},
    }
    if names is SHAPES and hasattr(optimizer, "param_groups") and not isinstance(optimizer, Both):
        base = getattr(optimizer, "_base_optimizer", optimizer)
        found["buffers"] = sorted(
            f"{n}.{key}"
            for n, p in parameters.items()
            for key, value in base.state[p].items()
            if torch.is_tensor(value) and value.shape == p.shape
        )
    return found


def case(name, settings=None, epoch_ends=(), **arguments):
    settings = {"opt": name, **(settings or {})}
    return trajectory(lambda p: make(name, p, arguments), settings, epoch_ends=epoch_ends)


class InFloat64:
    """The module torch, whose bfloat16 is float64."""

    bfloat16 = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


unchanged = timm.optim.muon.zeropower_via_newtonschulz
bfloat16 = trajectory(lambda p: make("muon", p, {}), {"opt": "muon"}, steps=1)
timm.optim.muon.zeropower_via_newtonschulz = functools.partial(unchanged, dtype=torch.float64)
torch.optim._muon.torch = InFloat64()

torch_muon = {
    "opt": "nmuon",
    "momentum": 0.95,
    "ns_coefficients": "original",
    "adjust_lr_fn": "original",
}
alpha = {"opt_alpha": 0.8}
plain_names = (
    "sgd sgdw momentum adam adamw nadam nadamw radam radamw adamax adagrad adadelta rmsproptf "
    "rmsproptfw lamb lambc lambw lambcw lion muon nmuon"
).split()
cases = {name: case(name) for name in plain_names}
cases |= {
    "rmsprop": case("rmsprop", {"opt_alpha": 0.9}),
    "lookahead_radam": case("lookahead_radam"),
    "lookahead_sgd": case("lookahead_sgd"),
    "lookahead_muon": case("lookahead_muon"),
    "lookahead_lamb": case("lookahead_lamb"),
    "lookahead_adam, epochs of 4 steps": case("lookahead_adam", epoch_ends=range(4, STEPS + 1, 4)),
    "lookahead_muon, epochs": case("lookahead_muon", epoch_ends=(1, 6, 7, 20)),
    "adam, own constants": case(
        "adam", {"opt_betas": [0.7, 0.95], "opt_eps": 0.01}, betas=(0.7, 0.95), eps=0.01
    ),
    "nadam, own constants": case(
        "nadam", {"opt_betas": [0.7, 0.95], "opt_eps": 0.01}, betas=(0.7, 0.95), eps=0.01
    ),
    "radam, early rectification": case(
        "radam", {"opt_betas": [0.7, 0.95], "opt_eps": 0.01}, betas=(0.7, 0.95), eps=0.01
    ),
    "radam, no rectification": case("radam", {"opt_betas": [0.9, 0.5]}, betas=(0.9, 0.5)),
    "adamax, own constants": case(
        "adamax", {"opt_betas": [0.7, 0.6], "opt_eps": 0.01}, betas=(0.7, 0.6), eps=0.01
    ),
    "adagrad, eps": case("adagrad", {"opt_eps": 0.1}, eps=0.1),
    "adadelta, rho": case("adadelta", {"opt_alpha": 0.7, "opt_eps": 0.01}, rho=0.7, eps=0.01),
    "rmsproptf, no momentum": case(
        "rmsproptf", {"momentum": 0.0, "opt_eps": 0.01, **alpha}, momentum=0.0, eps=0.01, alpha=0.8
    ),
    "lion, betas": case("lion", {"opt_betas": [0.6, 0.8]}, betas=(0.6, 0.8)),
    "muon, original": case(
        "muon",
        {"ns_coefficients": "original", "adjust_lr_fn": "original"},
        ns_coefficients="original",
        adjust_lr_fn="original",
    ),
    "muon, rms to rms, slow fallback": case(
        "muon",
        {"adjust_lr_fn": "rms_to_rms", "fallback_lr_scale": 0.25},
        adjust_lr_fn="rms_to_rms",
        fallback_lr_scale=0.25,
    ),
    "muon, 3 iterations": case("muon", {"ns_steps": 3}, ns_steps=3),
    "muon, 7 iterations": case("muon", {"ns_steps": 7}, ns_steps=7),
    "muon, sgd for the rest": trajectory(
        lambda p: Both(p, nesterov=False),
        {"opt": "muon", "muon_fallback": "sgd", "fallback_lr_scale": 0.5},
    ),
    "nmuon, sgd for the rest": trajectory(
        lambda p: Both(p, nesterov=True),
        {"opt": "nmuon", "muon_fallback": "sgd", "fallback_lr_scale": 0.5},
    ),
    "nmuon, sgd with less momentum for the rest": trajectory(
        lambda p: Both(p, nesterov=True, momentum=0.6),
        {
            "opt": "nmuon",
            "muon_fallback": "sgd",
            "fallback_lr_scale": 0.5,
            "fallback_momentum": 0.6,
        },
    ),
    "muon, head by the fallback": trajectory(
        lambda p: with_fallback(p, "head.weight"), {"opt": "muon", "fallback_list": ["head.*"]}
    ),
    "muon, normalised": trajectory(Normalised, {"opt": "muon", "normalize_weights": True}),
    "PyTorch's muon": trajectory(
        lambda p: torch.optim.Muon(p.values(), weight_decay=DECAY, momentum=0.95),
        torch_muon,
        names=("tall.weight", "head.weight"),
    ),
    "sgd, penalties": case("sgd", {"l1_penalty": 0.3, "l2_penalty": 0.1}),
    "adamw, penalties": case("adamw", {"l1_penalty": 0.3, "l2_penalty": 0.1}),
    # Penalties act after all clipping, LAMB's own included.
    "lamb, penalties": trajectory(
        lambda p: make("lamb", p, {"max_grad_norm": None}),
        {"opt": "lamb", "l1_penalty": 0.3},
        own_clip=1.0,
    ),
    "muon, penalties": case("muon", {"l1_penalty": 0.3}),
    "sgd, agc": case("sgd", {"clip_mode": "agc", "clip_grad": 0.2}),
    "adam, agc, penalties": case(
        "adam", {"clip_mode": "agc", "clip_grad": 0.2, "l1_penalty": 0.3}
    ),
    "lamb, clipped by norm": case("lamb", {"clip_grad": 3.0}),
    "lamb, clipped by value": case("lamb", {"clip_mode": "value", "clip_grad": 0.3}),
    "lamb, agc": case("lamb", {"clip_mode": "agc", "clip_grad": 0.2}),
    "muon, clipped by value": case("muon", {"clip_mode": "value", "clip_grad": 0.3}),
    "lookahead_adam, clipped by norm": case("lookahead_adam", {"clip_grad": 1.0}),
    "PyTorch's muon, cycle": trajectory(
        lambda p: torch.optim.Muon(p.values(), weight_decay=DECAY, momentum=0.95),
        {**torch_muon, **CYCLE},
        names=("tall.weight", "head.weight"),
    ),
}
cycled = (
    "sgd momentum adam adamw nadamw radam adamax rmsproptf lamb lion muon lookahead_adam"
).split()
cases |= {f"{name}, cycle": case(name, CYCLE) for name in cycled}
cases["rmsprop, cycle"] = case("rmsprop", {"opt_alpha": 0.9, **CYCLE})

versions = {"torch": torch.__version__, "timm": timm.__version__, "seed": SEED}
cases = {"versions": versions, "cases": cases, "one step in bfloat16": bfloat16}
print(json.dumps(cases, separators=(",", ":")))
