"""Interprets darknet's `.cfg` files in PyTorch, and writes fixtures in darknet's formats.

    pip install torch numpy
    python tests/reference/darknet_cfg.py     # writes darknet_cfg.json and darknet_cfg/

The interpreter follows the C code (src/parser.c, convolutional_layer.c, maxpool_layer.c, shortcut_layer.c,
blas.c, scale_channels_layer.c of https://github.com/AlexeyAB/darknet and https://github.com/pjreddie/darknet)
in double precision, step by step and not with the layers that the Rust code uses: padding of pools by
minus infinity, shortcuts by slices, batch norm by its formula.

Two kinds of cases:

- small networks, each in the style of one family, with random weights in a `.weights` file;
- the complete networks of https://github.com/WongKinYiu/CrossStagePartialNetworks with Mish, whose weights
  come from the rule of rule.py by the names of the tensors.
"""

import json
import pathlib
import struct

import numpy as np
import rule
import torch
import torch.nn.functional as F

here = pathlib.Path(__file__).parent
torch.set_grad_enabled(False)

ACTIVATIONS = {
    "linear": lambda x: x,
    "logistic": torch.sigmoid,
    "leaky": lambda x: torch.where(x > 0, x, 0.1 * x),
    "relu": lambda x: x.clamp(min=0),
    "relu6": lambda x: x.clamp(0, 6),
    "swish": lambda x: x * torch.sigmoid(x),
    "mish": lambda x: x * torch.tanh(F.softplus(x, threshold=100)),
    "hard_mish": lambda x: torch.where(x > 0, x, torch.where(x > -2, x * x / 2 + x, 0 * x)),
    "elu": lambda x: torch.where(x >= 0, x, torch.exp(x) - 1),
    "gelu": lambda x: 0.5 * x * (1 + torch.tanh(0.797885 * x + 0.035677 * x**3)),
    "tanh": torch.tanh,
    "hardtan": lambda x: x.clamp(-1, 1),
}


def sections(text: str) -> list[tuple[str, dict]]:
    found = []
    for line in text.splitlines():
        line = "".join(line.split())
        if line.startswith("["):
            found.append((line[1:-1], {}))
        elif line and line[0] not in "#;":
            key, value = line.split("=", 1)
            found[-1][1].setdefault(key, value)
    return found


def batch_norm(x, beta, gamma, mean, variance):
    shape = (1, -1, 1, 1)
    x = (x - mean.view(shape)) / torch.sqrt(variance + 1e-5).view(shape)
    return x * gamma.view(shape) + beta.view(shape)


class Network:
    """The layers of a `.cfg` file. `tensor(layer, name, shape)` provides the weights, in the file's order."""

    def __init__(self, text: str, tensor):
        (kind, self.net), *self.layers = sections(text)
        assert kind == "net"
        self.weights = []
        channels, height, width = (int(self.net[key]) for key in ("channels", "height", "width"))
        self.shapes = []
        weighted = [i for i, (kind, _) in enumerate(self.layers) if kind in ("convolutional", "connected")]
        for i, (kind, options) in enumerate(self.layers):
            def get(key, default=0):
                return int(options.get(key, default))

            def new(name, *shape):
                path = "head" if i == weighted[-1] else f"layers.{i}"
                return tensor(f"{path}.{name}", shape)

            weights = {}
            if kind == "convolutional":
                n, size, groups = get("filters", 1), get("size", 1), get("groups", 1)
                pad = size // 2 if get("pad") else get("padding")
                if get("batch_normalize"):
                    for name in ("bias", "weight", "running_mean", "running_var"):
                        weights[name] = new("bn." + name, n)
                else:
                    weights["bias"] = new("conv.bias", n)
                weights["kernel"] = new("conv.weight", n, channels // groups, size, size)
                stride, dilation = get("stride", 1), get("dilation", 1)
                reach = dilation * (size - 1) + 1
                channels = n
                height = (height + 2 * pad * dilation - reach) // stride + 1
                width = (width + 2 * pad * dilation - reach) // stride + 1
            elif kind == "connected":
                weights["bias"] = new("fc.bias", get("output", 1))
                weights["kernel"] = new("fc.weight", get("output", 1), channels * height * width)
                channels, height, width = get("output", 1), 1, 1
            elif kind == "maxpool":
                stride = get("stride", 1)
                size = get("size", stride)
                padding = get("padding", size - 1)
                height = (height + padding - size) // stride + 1
                width = (width + padding - size) // stride + 1
            elif kind == "avgpool":
                height = width = 1
            elif kind == "route":
                from_ = [self.shapes[j] for j in self.indices(i, options["layers"])]
                channels = sum(shape[0] for shape in from_) // get("groups", 1)
                _, height, width = from_[0]
            elif kind == "scale_channels":
                channels, height, width = self.shapes[self.indices(i, options["from"])[0]]
            self.weights.append(weights)
            self.shapes.append((channels, height, width))

    @staticmethod
    def indices(i: int, text: str) -> list[int]:
        return [int(j) if int(j) >= 0 else i + int(j) for j in text.split(",")]

    def __call__(self, x):
        outputs = []
        logits = None
        for i, (kind, options) in enumerate(self.layers):
            def get(key, default=0):
                return int(options.get(key, default))

            weights = {name: value.double() for name, value in self.weights[i].items()}
            activation = ACTIVATIONS[options.get("activation", "logistic")]
            if kind == "convolutional":
                size, dilation = get("size", 1), get("dilation", 1)
                pad = size // 2 if get("pad") else get("padding")
                arguments = {"stride": get("stride", 1), "padding": pad * dilation}
                arguments |= {"dilation": dilation, "groups": get("groups", 1)}
                x = F.conv2d(x, weights["kernel"], **arguments)
                if "weight" in weights:
                    x = batch_norm(x, *(weights[k] for k in ("bias", "weight", "running_mean", "running_var")))
                else:
                    x = x + weights["bias"].view(1, -1, 1, 1)
                x = activation(x)
            elif kind == "connected":
                x = activation(x.flatten(1) @ weights["kernel"].T + weights["bias"])[..., None, None]
            elif kind == "maxpool":
                stride = get("stride", 1)
                size = get("size", stride)
                padding = get("padding", size - 1)
                rows, columns = ((n + padding - size) // stride + 1 for n in x.shape[2:])
                before = padding // 2
                # Enough after the last value for every window.
                x = F.pad(x, (before, size + stride, before, size + stride), value=-torch.inf)
                x = F.max_pool2d(x, size, stride)[:, :, :rows, :columns]
            elif kind == "avgpool":
                x = x.mean((2, 3), keepdim=True)
            elif kind == "shortcut":
                x = x.clone()
                for j in self.indices(i, options["from"]):
                    other = outputs[j]
                    step = other.shape[2] // x.shape[2]
                    channels = min(other.shape[1], x.shape[1])
                    rows, columns = x.shape[2:]
                    picked = other[:, :channels, ::step, ::step][:, :, :rows, :columns]
                    x[:, :channels] += picked
                x = ACTIVATIONS[options.get("activation", "linear")](x)
            elif kind == "route":
                groups, group = get("groups", 1), get("group_id")
                parts = [outputs[j] for j in self.indices(i, options["layers"])]
                x = torch.cat([part.chunk(groups, 1)[group] for part in parts], 1)
            elif kind == "scale_channels":
                x = outputs[self.indices(i, options["from"])[0]] * x
            else:
                assert kind in ("dropout", "softmax", "cost"), kind
            outputs.append(x)
        return x.flatten(1)


def section(kind: str, **options) -> str:
    return "\n".join([f"[{kind}]", *(f"{key}={value}" for key, value in options.items())]) + "\n\n"


def conv(filters, size=1, stride=1, activation="mish", norm=1, groups=1, **others) -> str:
    options = {"batch_normalize": 1} if norm else {}
    options["filters"] = filters
    if size > 1:
        options |= {"size": size, "pad": 1}
    if stride > 1:
        options["stride"] = stride
    if groups > 1:
        options["groups"] = groups
    return section("convolutional", **options, **others, activation=activation)


def net(size: int) -> str:
    return section("net", height=size, width=size, channels=3)


def tail(classes: int) -> str:
    return section("avgpool") + conv(classes, norm=0, activation="linear") + section("softmax", groups=1)


def shortcut(back: int, activation="linear") -> str:
    return section("shortcut", **{"from": -back}, activation=activation)


def route(*layers, **options) -> str:
    return section("route", layers=",".join(map(str, layers)), **options)


def small() -> dict[str, str]:
    """Small networks in the style of each family."""
    cases = {}
    # darknet53: blocks without an activation after the sum.
    text = "# a comment\n" + net(20) + conv(4, 3)
    for channels in (8, 12):
        text += conv(channels, 3, 2)
        text += conv(channels // 2) + conv(channels, 3) + shortcut(3)
    cases["residual"] = text + tail(10)
    # csdarknet53 and the stem of csresnet50, at an odd size.
    text = net(27).replace("=", " = ") + conv(6, 7, 2, "leaky") + section("maxpool", size=2, stride=2)
    text += conv(8, activation="leaky") + route(-2) + conv(8, activation="leaky")
    text += conv(4, activation="leaky") + conv(8, 3, activation="leaky") + shortcut(3)
    text += conv(8, activation="leaky") + route("-1", " -7") + conv(12, activation="leaky")
    text += route(-1, groups=3, group_id=1) + conv(6, 3, activation="hard_mish")
    text += route(-1, 2, groups=2) + conv(8, 3, 2, "elu", dilation=2)
    cases["csp"] = text + tail(7)
    # resnext50: grouped bottlenecks, and shortcuts between maps of different sizes and channels.
    text = net(22) + conv(8, 3, 2, "leaky") + section("maxpool", size=3, stride=2)
    for outputs, stride in ((12, 1), (12, 1), (16, 2), (10, 1)):
        text += conv(8, activation="leaky") + conv(8, 3, stride, "leaky", groups=4)
        text += conv(outputs, activation="linear") + shortcut(4, "leaky")
    cases["grouped"] = text + tail(9)
    # densenet201: concatenations, and a classifier before the pool.
    text = net(18) + conv(6, 3) + section("maxpool", size=2, stride=2)
    for _ in range(3):
        text += conv(6) + conv(4, 3) + route(-1, -3)
    text += conv(8) + section("maxpool", size=2, stride=2)
    for _ in range(2):
        text += conv(6) + conv(4, 3) + route(-1, -3)
    text += conv(8, norm=0, activation="linear") + section("avgpool") + section("softmax", groups=1)
    cases["dense"] = text + section("cost", type="sse")
    # efficientnet_b0: depthwise convolutions and squeeze-and-excitation.
    text = net(16) + conv(6, 3, 2, "swish")
    for stride in (1, 2):
        text += conv(12, activation="swish") + conv(12, 3, stride, "swish", groups=12)
        text += section("avgpool") + conv(4, norm=0, activation="swish")
        text += conv(12, norm=0, activation="logistic") + section("scale_channels", **{"from": -4})
        text += conv(6, activation="linear") + section("dropout", probability=0.1)
        text += shortcut(9)
    text += conv(16, activation="relu6") + section("avgpool") + section("dropout", probability=0.2)
    cases["squeeze"] = text + conv(6, norm=0, activation="linear") + section("softmax", groups=1)
    # vgg-16 and alexnet: no norms, pools without padding, fully connected layers; format 0.1.
    text = net(14) + conv(4, 3, activation="relu", norm=0) + section("maxpool", size=3, stride=2, padding=0)
    text += conv(5, 3, activation="gelu", norm=0) + section("maxpool", size=2, stride=1)
    text += conv(5, 2, 1, "hardtan", norm=0).replace("pad=1", "padding=1") + section("maxpool", size=4, stride=3)
    text += section("connected", output=9, activation="relu") + section("dropout", probability=0.5)
    text += section("connected", output=5, activation="linear") + section("softmax", groups=1)
    cases["connected"] = text
    # extraction and cifar: an activation of the logits' maps.
    text = net(12) + conv(6, 3, activation="leaky") + section("maxpool", stride=2) + conv(8, 3, activation="tanh")
    cases["extraction"] = text + conv(5, activation="leaky", norm=0) + section("avgpool") + section("softmax")
    return cases


def complete() -> dict[str, str]:
    """The complete networks, with Mish in place of Leaky ReLU."""
    cases = {}
    stages = ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4))
    text = net(256) + conv(32, 3)
    for channels, depth in stages:
        text += conv(channels, 3, 2)
        text += depth * (conv(channels // 2) + conv(channels, 3) + shortcut(3))
    cases["darknet53"] = text + tail(1000)
    text = net(256) + conv(32, 3)
    for index, (channels, depth) in enumerate(stages):
        width = channels if index == 0 else channels // 2
        inner = channels // 2 if index == 0 else width
        text += conv(channels, 3, 2) + conv(width) + route(-2) + conv(width)
        text += depth * (conv(inner) + conv(width, 3) + shortcut(3))
        text += conv(width) + route(-1, -(3 * depth + 4)) + conv(channels)
    cases["csdarknet53"] = text + tail(1000)
    for name, groups in (("csresnet50", 1), ("csresnext50", 32)):
        text = net(256) + conv(64, 7, 2) + section("maxpool", size=2, stride=2)
        for index, depth in enumerate((3, 3, 5, 2)):
            width = 128 << index
            # csresnet50 divides the channels inside of a block by two.
            inner = width if groups > 1 else width // 2
            outputs = 2 * width if groups > 1 else width
            # The convolution that halves the map keeps the channels.
            if index > 0:
                text += conv(outputs // 2, 3, 2, groups=groups)
            # As in the files: two stages split before an activation.
            split = "linear" if index in (1, 2) else "mish"
            text += conv(width, activation=split) + route(-2) + conv(width if index else 64, activation=split)
            text += depth * (
                conv(inner) + conv(inner, 3, groups=groups) + conv(width, activation="linear") + shortcut(4, "mish")
            )
            text += conv(width) + route(-1, -(4 * depth + 4)) + conv(outputs)
        cases[name] = text + tail(1000)
    for name, groups in (("resnet50", 1), ("resnext50", 32)):
        text = net(256) + conv(64, 7, 2) + section("maxpool", size=2, stride=2)
        for index, depth in enumerate((3, 4, 6, 3)):
            width = (64 if groups == 1 else 128) << index
            for block in range(depth):
                stride = 2 if index > 0 and block == 0 else 1
                text += conv(width) + conv(width, 3, stride, groups=groups)
                text += conv(256 << index, activation="linear") + shortcut(4, "mish")
        cases[name] = text + tail(1000)
    text, channels = net(256) + conv(64, 7, 2) + section("maxpool", size=2, stride=2), 64
    for index, depth in enumerate((6, 12, 48, 32)):
        if index > 0:
            channels = 64 << index
            text += conv(channels) + section("maxpool", size=2, stride=2)
        text += depth * (conv(128) + conv(32, 3) + route(-1, -3))
        channels += 32 * depth
    text += conv(1000, norm=0, activation="linear") + section("avgpool") + section("softmax", groups=1)
    cases["densenet201"] = text
    return cases


def store(logits: torch.Tensor, count: int) -> dict:
    return {"logits": logits[:, :count].tolist(), "norm": float(logits.norm())}


def write_small(name: str, text: str, seed: int) -> dict:
    generator = np.random.default_rng(seed)
    values = []

    def tensor(name, shape):
        last = name.rsplit(".", 1)[-1]
        if last == "running_var" or (last == "weight" and len(shape) == 1):
            drawn = generator.uniform(0.5, 1.5, shape)
        elif len(shape) == 1:
            drawn = generator.normal(0, 0.2, shape)
        else:
            drawn = generator.normal(0, (1.6 / np.prod(shape[1:])) ** 0.5, shape)
        drawn = drawn.astype("<f4")
        values.append(drawn.tobytes())
        return torch.from_numpy(drawn)

    network = Network(text, tensor)
    seen = 6400 * (seed + 1)
    # The number of images is 32 bits in format 0.1, and 64 bits from 0.2 on.
    header = struct.pack("<iiiI", 0, 1, 0, seen) if name == "connected" else struct.pack("<iiiQ", 0, 2, 5, seen)
    folder = here / "darknet_cfg"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.cfg").write_text(text)
    (folder / f"{name}.weights").write_bytes(header + b"".join(values))
    size = int(network.net["height"])
    images = rule.tensor("input", (2, 3, size, size)).double()
    logits = network(images)
    return {"name": name, "size": size, "classes": logits.shape[1], **store(logits, logits.shape[1])}


def write_complete(name: str, text: str, size: int) -> dict:
    names, gain = {}, GAINS.get(name, 1.0)

    def tensor(name, shape):
        names[name] = shape
        return rule.tensor(name, shape, gain)

    # The image size of the file does not change the weights.
    network = Network(text, tensor)
    logits = network(rule.tensor("input", (2, 3, size, size)).double())
    params = sum(int(np.prod(shape)) for name, shape in names.items() if "running" not in name)
    return {"name": name, "cfg": text, "size": size, "gain": gain, "params": params, **store(logits, 5)}


# Of the rule. With a smaller gain, the logits of some networks hardly depend on the image.
GAINS = {"csdarknet53": 1.3, "csresnet50": 1.3, "csresnext50": 1.3, "densenet201": 1.5}


def main() -> None:
    cases = small().items()
    reference = {
        "torch": torch.__version__,
        "small": [write_small(name, text, seed) for seed, (name, text) in enumerate(cases)],
        "complete": [write_complete(name, text, 64) for name, text in complete().items()],
    }
    (here / "darknet_cfg.json").write_text(json.dumps(reference, indent=1) + "\n")
    for kind in ("small", "complete"):
        for case in reference[kind]:
            print(case["name"], case.get("params", ""), case["logits"][0][:3], case["logits"][1][:3], case["norm"])


if __name__ == "__main__":
    main()
