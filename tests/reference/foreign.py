"""Writes foreign.json: networks of other programs with their own keys, computed by those programs.

See zoo.py. Every case has the layers of the network's state dict, from which the Rust test makes a checkpoint
by the rule, and the logits. transformers, torchvision and efficientnet_pytorch are the libraries themselves.
The networks of CIFAR repositories are written here after their descriptions, with their keys:

    akamaster/pytorch_resnet_cifar10, bearpaw/pytorch-classification, chenyaofo/pytorch-cifar-models,
    kuangliu/pytorch-cifar, weiaicunzai/pytorch-cifar100

    pip install transformers==5.24.0 efficientnet_pytorch==0.7.1
"""

import json
import pathlib
import re

import efficientnet_pytorch
import timm
import torch
import torch.nn as nn
import torch.nn.functional as F
import torchvision
import transformers

import zoo

KUANGLIU = "kuangliu/pytorch-cifar"
WEIAICUNZAI = "weiaicunzai/pytorch-cifar100"
BEARPAW = "bearpaw/pytorch-classification"
LUKEMELAS = "lukemelas/EfficientNet-PyTorch"


# EfficientNet needs small steps: its logits depend on the image, or amplify rounding.
GAINS = (1.0, 1.2, 1.4, 1.45, 1.5, 1.52, 1.54, 1.56, 1.58, 1.6)


def conv3x3(inputs, outputs, stride=1, groups=1, bias=False):
    return nn.Conv2d(inputs, outputs, 3, stride, 1, groups=groups, bias=bias)


def conv1x1(inputs, outputs, stride=1, bias=False):
    return nn.Conv2d(inputs, outputs, 1, stride, bias=bias)


def norm(channels):
    return nn.BatchNorm2d(channels)


def projection(inputs, outputs, stride):
    """A shortcut of option B, or an empty one."""
    if stride == 1 and inputs == outputs:
        return nn.Sequential()
    return nn.Sequential(conv1x1(inputs, outputs, stride), norm(outputs))


class OptionA(nn.Module):
    """Every second row and column, between channels of zeros."""

    def __init__(self, channels):
        super().__init__()
        self.channels = channels

    def forward(self, x):
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.channels // 4, self.channels // 4))


class NumberedBlock(nn.Module):
    """kuangliu's and akamaster's residual block: conv1, bn1, ..., shortcut."""

    def __init__(self, inputs, width, stride, bottleneck=False, option="B"):
        super().__init__()
        outputs = 4 * width if bottleneck else width
        if bottleneck:
            layers = [conv1x1(inputs, width), conv3x3(width, width, stride), conv1x1(width, outputs)]
        else:
            layers = [conv3x3(inputs, width, stride), conv3x3(width, width)]
        self.count = len(layers)
        for i, layer in enumerate(layers, 1):
            setattr(self, f"conv{i}", layer)
            setattr(self, f"bn{i}", norm(layer.out_channels))
        if option == "A" and inputs != outputs:
            self.shortcut = OptionA(outputs)
        else:
            self.shortcut = projection(inputs, outputs, stride)

    def forward(self, x):
        y = x
        for i in range(1, self.count + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            y = F.relu(y) if i < self.count else y
        return F.relu(y + self.shortcut(x))


class NumberedResNet(nn.Module):
    def __init__(self, widths, depths, classes, **options):
        super().__init__()
        inputs = widths[0]
        self.conv1, self.bn1 = conv3x3(3, inputs), norm(inputs)
        for stage, (width, depth) in enumerate(zip(widths, depths), 1):
            blocks = []
            for i in range(depth):
                blocks.append(NumberedBlock(inputs, width, 2 if stage > 1 and i == 0 else 1, **options))
                inputs = blocks[-1].bn1.num_features * (4 if options.get("bottleneck") else 1)
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
        self.stages = len(widths)
        self.linear = nn.Linear(inputs, classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        for stage in range(1, self.stages + 1):
            x = getattr(self, f"layer{stage}")(x)
        return self.linear(x.mean((2, 3)))


class SequentialBlock(nn.Module):
    """weiaicunzai's residual block: residual_function and shortcut."""

    def __init__(self, inputs, width, stride, bottleneck):
        super().__init__()
        outputs = 4 * width if bottleneck else width
        if bottleneck:
            layers = [conv1x1(inputs, width), conv3x3(width, width, stride), conv1x1(width, outputs)]
        else:
            layers = [conv3x3(inputs, width, stride), conv3x3(width, width)]
        sequence = []
        for layer in layers:
            sequence += [layer, norm(layer.out_channels), nn.ReLU()]
        self.residual_function = nn.Sequential(*sequence[:-1])
        self.shortcut = projection(inputs, outputs, stride)

    def forward(self, x):
        return F.relu(self.residual_function(x) + self.shortcut(x))


class SequentialResNet(nn.Module):
    def __init__(self, depths, bottleneck, classes):
        super().__init__()
        inputs = 64
        self.conv1 = nn.Sequential(conv3x3(3, inputs), norm(inputs), nn.ReLU())
        for stage, depth in enumerate(depths):
            blocks = []
            for i in range(depth):
                width, stride = 64 << stage, 2 if stage and i == 0 else 1
                blocks.append(SequentialBlock(inputs, width, stride, bottleneck))
                inputs = 4 * width if bottleneck else width
            setattr(self, f"conv{stage + 2}_x", nn.Sequential(*blocks))
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x):
        x = self.conv5_x(self.conv4_x(self.conv3_x(self.conv2_x(self.conv1(x)))))
        return self.fc(x.mean((2, 3)))


class Vgg(nn.Module):
    """VGG-11 of kuangliu (with norms) and bearpaw: features and one linear layer."""

    def __init__(self, norms, classes):
        super().__init__()
        layers, inputs = [], 3
        for channels in (64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0):
            if channels == 0:
                layers.append(nn.MaxPool2d(2))
                continue
            layers.append(conv3x3(inputs, channels, bias=True))
            layers += [norm(channels)] if norms else []
            layers.append(nn.ReLU())
            inputs = channels
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(512, classes)

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


class DenseLayer(nn.Module):
    def __init__(self, inputs, growth):
        super().__init__()
        self.bn1, self.conv1 = norm(inputs), conv1x1(inputs, 4 * growth)
        self.bn2, self.conv2 = norm(4 * growth), conv3x3(4 * growth, growth)

    def forward(self, x):
        y = self.conv2(F.relu(self.bn2(self.conv1(F.relu(self.bn1(x))))))
        return torch.cat((x, y), 1)


class Transition(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.bn1, self.conv1 = norm(inputs), conv1x1(inputs, inputs // 2)

    def forward(self, x):
        return F.avg_pool2d(self.conv1(F.relu(self.bn1(x))), 2)


class DenseNet(nn.Module):
    """bearpaw's DenseNet-BC with 100 layers and growth rate 12."""

    def __init__(self, classes, growth=12, depth=16):
        super().__init__()
        channels = 2 * growth
        self.conv1 = conv3x3(3, channels)
        for block in (1, 2, 3):
            layers = [DenseLayer(channels + i * growth, growth) for i in range(depth)]
            setattr(self, f"dense{block}", nn.Sequential(*layers))
            channels += depth * growth
            if block < 3:
                setattr(self, f"trans{block}", Transition(channels))
                channels //= 2
        self.bn = norm(channels)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x):
        x = self.trans2(self.dense2(self.trans1(self.dense1(self.conv1(x)))))
        return self.fc(F.relu(self.bn(self.dense3(x))).mean((2, 3)))


# Output channels and strides of MobileNet v1.
SEPARABLE = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)] + 5 * [(512, 1)] + [(1024, 2), (1024, 1)]


class NumberedSeparable(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1, self.bn1 = conv3x3(inputs, inputs, stride, groups=inputs), norm(inputs)
        self.conv2, self.bn2 = conv1x1(inputs, outputs), norm(outputs)

    def forward(self, x):
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))


class NumberedMobileNet(nn.Module):
    """kuangliu's MobileNet v1."""

    def __init__(self, classes):
        super().__init__()
        self.conv1, self.bn1 = conv3x3(3, 32), norm(32)
        inputs = [32] + [outputs for outputs, _ in SEPARABLE]
        blocks = zip(inputs, SEPARABLE)
        self.layers = nn.Sequential(*[NumberedSeparable(i, o, stride) for i, (o, stride) in blocks])
        self.linear = nn.Linear(1024, classes)

    def forward(self, x):
        return self.linear(self.layers(F.relu(self.bn1(self.conv1(x)))).mean((2, 3)))


class SequentialSeparable(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        depthwise = conv3x3(inputs, inputs, stride, groups=inputs)
        self.depthwise = nn.Sequential(depthwise, norm(inputs), nn.ReLU())
        self.pointwise = nn.Sequential(conv1x1(inputs, outputs, bias=True), norm(outputs), nn.ReLU())

    def forward(self, x):
        return self.pointwise(self.depthwise(x))


class ConvNorm(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv, self.bn = conv3x3(inputs, outputs), norm(outputs)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


class SequentialMobileNet(nn.Module):
    """weiaicunzai's MobileNet v1: its 1x1 convolutions have biases."""

    def __init__(self, classes):
        super().__init__()
        inputs = [32] + [outputs for outputs, _ in SEPARABLE]
        blocks = [SequentialSeparable(i, o, stride) for i, (o, stride) in zip(inputs, SEPARABLE)]
        self.stem = nn.Sequential(ConvNorm(3, 32), blocks[0])
        self.conv1, self.conv2 = nn.Sequential(*blocks[1:3]), nn.Sequential(*blocks[3:5])
        self.conv3, self.conv4 = nn.Sequential(*blocks[5:11]), nn.Sequential(*blocks[11:])
        self.fc = nn.Linear(1024, classes)

    def forward(self, x):
        x = self.conv4(self.conv3(self.conv2(self.conv1(self.stem(x)))))
        return self.fc(x.mean((2, 3)))


class ShuffleUnit(nn.Module):
    """kuangliu's unit of ShuffleNet v2. The first of a stage has convolutions in both branches."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.first, width = inputs != outputs, outputs // 2
        depthwise = lambda channels, stride: conv3x3(channels, channels, stride, groups=channels)
        if self.first:
            layers = [depthwise(inputs, 2), conv1x1(inputs, width)]
            layers += [conv1x1(inputs, width), depthwise(width, 2), conv1x1(width, width)]
        else:
            layers = [conv1x1(width, width), depthwise(width, 1), conv1x1(width, width)]
        for i, layer in enumerate(layers, 1):
            setattr(self, f"conv{i}", layer)
            setattr(self, f"bn{i}", norm(layer.out_channels))

    def layer(self, i, x):
        return getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(x))

    def forward(self, x):
        if self.first:
            left = F.relu(self.layer(2, self.layer(1, x)))
            right = F.relu(self.layer(5, self.layer(4, F.relu(self.layer(3, x)))))
        else:
            left, right = x.chunk(2, 1)
            right = F.relu(self.layer(3, self.layer(2, F.relu(self.layer(1, right)))))
        x = torch.cat((left, right), 1)
        n, channels, height, width = x.shape
        return x.view(n, 2, channels // 2, height, width).transpose(1, 2).reshape(x.shape)


class ShuffleNet(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv1, self.bn1 = conv3x3(3, 24), norm(24)
        inputs = 24
        for stage, (outputs, count) in enumerate(((116, 4), (232, 8), (464, 4)), 1):
            units = [ShuffleUnit(inputs if i == 0 else outputs, outputs) for i in range(count)]
            setattr(self, f"layer{stage}", nn.Sequential(*units))
            inputs = outputs
        self.conv2, self.bn2 = conv1x1(inputs, 1024), norm(1024)
        self.linear = nn.Linear(1024, classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(F.relu(self.bn2(self.conv2(x))).mean((2, 3)))


class Logits(nn.Module):
    """A network of transformers with its logits as the output, and its own keys."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x).logits

    def state_dict(self, *args, **kwargs):
        return self.network.state_dict(*args, **kwargs)


def huggingface(layer_type, depths, hidden):
    config = transformers.ResNetConfig(
        layer_type=layer_type, depths=depths, hidden_sizes=hidden, num_labels=7
    )
    return Logits(transformers.ResNetForImageClassification(config))


def chenyaofo_mobilenet(classes):
    model = torchvision.models.mobilenet_v2(num_classes=classes)
    model.features[0][0].stride = (1, 1)
    model.features[2].conv[1][0].stride = (1, 1)
    return model


def legacy_densenet(classes):
    """torchvision's DenseNet with the keys of its files, which torchvision renames while loading."""
    model = torchvision.models.densenet121(num_classes=classes)

    def rename(_module, state, _prefix, _metadata):
        for key in list(state):
            legacy = re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)", r"\1.\2", key)
            state[legacy] = state.pop(key)

    model._register_state_dict_hook(rename)
    return model


def networks():
    """The program, the registry's name, the activation, the image size, and the network."""
    resnet18, resnet50 = (64, 128, 256, 512), dict(bottleneck=True)
    yield KUANGLIU, "resnet18", "relu", 32, NumberedResNet(resnet18, (2, 2, 2, 2), 10)
    yield KUANGLIU, "resnet50", "relu", 32, NumberedResNet(resnet18, (3, 4, 6, 3), 10, **resnet50)
    yield KUANGLIU, "vgg11_bn", "relu", 32, Vgg(True, 10)
    yield KUANGLIU, "mobilenetv1_100", "relu", 32, NumberedMobileNet(10)
    yield KUANGLIU, "shufflenet_v2_x1_0", "relu", 32, ShuffleNet(10)
    akamaster = "akamaster/pytorch_resnet_cifar10"
    for option in "AB":
        model = NumberedResNet((16, 32, 64), (3, 3, 3), 10, option=option)
        yield akamaster, "resnet20", "relu", 32, model
    yield WEIAICUNZAI, "resnet18", "relu", 32, SequentialResNet((2, 2, 2, 2), False, 100)
    yield WEIAICUNZAI, "resnet50", "relu", 32, SequentialResNet((3, 4, 6, 3), True, 100)
    yield WEIAICUNZAI, "mobilenetv1_100", "relu", 32, SequentialMobileNet(100)
    yield BEARPAW, "vgg11", "relu", 32, Vgg(False, 100)
    yield BEARPAW, "densenet_bc100_12", "relu", 32, DenseNet(100)
    yield "chenyaofo/pytorch-cifar-models", "mobilenetv2_100", "relu6", 32, chenyaofo_mobilenet(10)
    yield "transformers", "resnet18", "relu", 64, huggingface("basic", [2, 2, 2, 2], [64, 128, 256, 512])
    bottlenecks = huggingface("bottleneck", [3, 4, 6, 3], [256, 512, 1024, 2048])
    yield "transformers", "resnet50", "relu", 64, bottlenecks
    yield "torchvision", "densenet121", "relu", 64, legacy_densenet(12)
    yield "torchvision", "mobilenetv2_100", "relu6", 64, torchvision.models.mobilenet_v2(num_classes=12)
    yield "torchvision", "efficientnet_b1", "silu", 120, torchvision.models.efficientnet_b1(num_classes=12)
    # At 120, some strided convolutions have an even and some an odd input.
    for name, size in (("b0", 64), ("b1", 120)):
        # The library computes the padding for one image size.
        model = efficientnet_pytorch.EfficientNet.from_name(
            f"efficientnet-{name}", num_classes=12, image_size=size
        )
        yield LUKEMELAS, f"tf_efficientnet_{name}", "silu", size, model


def layers(model):
    """One line for each layer of the state dict: its path, its kind, and the shape of its weights."""
    state = model.state_dict()
    found = []
    for key, value in state.items():
        path, last = key.rsplit(".", 1)
        if last == "weight":
            kind = "norm" if f"{path}.running_mean" in state else "linear" if value.ndim == 2 else "conv"
            bias = "+bias" if kind == "conv" and f"{path}.bias" in state else ""
            found.append(f"{path} {kind}{bias} {'x'.join(map(str, value.shape))}")
    return found


def cases():
    for program, name, activation, size, model in networks():
        # The activation is not swapped, so it is not tested either.
        found = zoo.case(name, "own", "relu", model, size, batch=2, gains=GAINS)
        kept = {key: found[key] for key in ("model", "gain", "input", "classes", "logits", "norm")}
        yield {"program": program, "activation": activation, **kept, "layers": layers(model)}


def write():
    modules = (torch, torchvision, timm, transformers, efficientnet_pytorch)
    versions = {module.__name__: module.__version__ for module in modules}
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps({**versions, "cases": list(cases())}, indent=1) + "\n")


write()
