"""Measures in PyTorch what `mish bench` measures, under the same names.

    pip install torch==2.13.0
    python bench_torch.py [mish] [norm] [conv] [resnet20] [--threads 2] [--seconds 2]
    python bench_torch.py mish --device cuda --dtype bfloat16 --shape 268435456

Prints one JSON object per case: name, median_ms, min_ms, max_ms, rounds. Runs all groups if none is
named.
"""

import argparse
import json
import os
import statistics
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

GROUPS = ("mish", "norm", "conv", "resnet20")
SHAPE = (128, 64, 32, 32)
# Calls queued on a GPU between two synchronisations, as in `mish bench`.
GPU_CALLS = 10
DEVICE = "cpu"
DTYPE = torch.float32

# Name, images, channels in and out, height and width, kernel, stride, padding, groups.
CONVOLUTIONS = [
    ("c3x3_128x16x32", 128, 16, 16, 32, 3, 1, 1, 1),
    ("c3x3_128x32x16", 128, 32, 32, 16, 3, 1, 1, 1),
    ("c3x3_128x64x8", 128, 64, 64, 8, 3, 1, 1, 1),
    ("c3x3_16x64x56", 16, 64, 64, 56, 3, 1, 1, 1),
    ("c3x3s2_128x16to32x32", 128, 16, 32, 32, 3, 2, 1, 1),
    ("c1x1_128x64x16", 128, 64, 64, 16, 1, 1, 0, 1),
    ("dw3x3_128x64x16", 128, 64, 64, 16, 3, 1, 1, 64),
    ("g4_3x3_128x64x16", 128, 64, 64, 16, 3, 1, 1, 4),
]


def synchronize():
    """Waits for the GPU, which runs asynchronously."""
    if DEVICE != "cpu":
        torch.cuda.synchronize()


def measure(name, step, seconds, images=None):
    """Times `step` for at least nine rounds and at least `seconds`."""
    calls = 1 if DEVICE == "cpu" else GPU_CALLS
    for _ in range(2):
        step()
    synchronize()
    times = []
    start = time.perf_counter()
    while len(times) < 9 or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        for _ in range(calls):
            step()
        synchronize()
        times.append(1e3 * (time.perf_counter() - before) / calls)
    median = statistics.median(times)
    result = {
        "name": name,
        "median_ms": median,
        "min_ms": min(times),
        "max_ms": max(times),
        "rounds": len(times),
    }
    if images is not None:
        result["images_per_second"] = 1e3 * images / median
    print(json.dumps(result), flush=True)


def both(name, function, tensors, seconds):
    """Times a function forward, and forward with the gradients of its tensors."""
    plain = [tensor.detach() for tensor in tensors]

    def forward():
        with torch.no_grad():
            return function(*plain)

    measure(f"{name}_fwd", forward, seconds)
    gradient = torch.ones_like(forward())
    leaves = [tensor.clone().requires_grad_() for tensor in plain]

    def backward():
        for leaf in leaves:
            leaf.grad = None
        function(*leaves).backward(gradient)

    measure(f"{name}_fwdbwd", backward, seconds)


def mish(seconds):
    x = torch.randn(SHAPE, device=DEVICE).to(DTYPE)
    gradient = torch.ones_like(x)
    if DEVICE != "cpu":
        target = torch.empty_like(x)
        measure("copy", lambda: target.copy_(x), seconds)
    measure("act_mish_bwd", lambda: torch.ops.aten.mish_backward(gradient, x), seconds)
    both("act_mish", F.mish, [x], seconds)


def norm(seconds):
    for name, act in (("mish", F.mish), ("relu", F.relu)):
        layer = nn.BatchNorm2d(SHAPE[1])

        def function(x, layer=layer, act=act):
            layer.zero_grad(set_to_none=True)
            return act(layer(x))

        both(f"bn_{name}_train", function, [torch.randn(SHAPE)], seconds)


def conv(seconds):
    for name, n, c_in, c_out, size, kernel, stride, padding, groups in CONVOLUTIONS:

        def function(x, w, stride=stride, padding=padding, groups=groups):
            return F.conv2d(x, w, None, stride, padding, 1, groups)

        x = torch.randn(n, c_in, size, size)
        w = 0.1 * torch.randn(c_out, c_in // groups, kernel, kernel)
        both(f"conv_{name}", function, [x, w], seconds)


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride, act):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(outputs))
        self.act = act

    def forward(self, x):
        y = self.bn2(self.conv2(self.act(self.bn1(self.conv1(x)))))
        return self.act(y + self.shortcut(x))


class ResNet20(nn.Module):
    """ResNet-20 for CIFAR (He et al.) with projection shortcuts where the shape changes."""

    def __init__(self, act, classes=100):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        widths = [16] * 4 + [32] * 3 + [64] * 3
        strides = [1, 1, 1, 2, 1, 1, 2, 1, 1]
        blocks = zip(widths, widths[1:], strides)
        self.blocks = nn.Sequential(*[Block(*block, act) for block in blocks])
        self.fc = nn.Linear(64, classes)
        self.act = act

    def forward(self, x):
        x = self.blocks(self.act(self.bn1(self.conv1(x))))
        return self.fc(x.mean((2, 3)))


def resnet20(seconds, images=128):
    x = torch.randn(images, 3, 32, 32)
    labels = torch.arange(images) * 37 % 100
    for name, act in (("mish", F.mish), ("relu", F.relu)):
        network = ResNet20(act)
        optimizer = torch.optim.SGD(
            network.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4
        )

        def train():
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(network(x), labels).backward()
            optimizer.step()

        def infer():
            with torch.no_grad():
                network(x)

        network.train()
        measure(f"train_resnet20_{name}", train, 3 * seconds, images)
        network.eval()
        measure(f"infer_resnet20_{name}", infer, 3 * seconds, images)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=", ".join(GROUPS))
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seconds", type=float, default=2.0, help="for each case")
    parser.add_argument("--device", default="cpu", help="for the group mish: cpu or cuda")
    parser.add_argument("--dtype", default="float32", help="for the group mish")
    parser.add_argument("--shape", help="for the group mish, such as 128,64,32,32")
    args = parser.parse_args()
    unknown = set(args.groups) - set(GROUPS)
    if unknown:
        parser.error(f"unknown groups: {', '.join(sorted(unknown))}")
    global SHAPE, DEVICE, DTYPE
    DEVICE, DTYPE = args.device, getattr(torch, args.dtype)
    if args.shape:
        SHAPE = tuple(int(size) for size in args.shape.split(","))
    if (args.device, args.dtype, args.shape) != ("cpu", "float32", None) and args.groups != ["mish"]:
        parser.error("--device, --dtype and --shape are for the group mish alone")
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    for group in args.groups or GROUPS:
        globals()[group](args.seconds)


if __name__ == "__main__":
    main()
