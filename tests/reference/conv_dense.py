"""Writes conv_dense.json: the networks with convolutions and dense layers of the Mish paper's studies, computed
by PyTorch.

See zoo.py. Written from the definitions in the documentation of models/conv_dense.rs. Each network has a case
for 32x32 colour images and 100 classes, with a training step, and one for the paper's images of MNIST: 28x28,
grey, 10 classes.
"""

import torch.nn as nn

import zoo


class Network(nn.Module):
    """Convolutions at conv1, conv2, …, dense layers at layers.0, layers.1, …, and the classifier at fc."""

    def __init__(self, plan, dense, conv_norm, dense_norm, activation, side, channels, classes):
        super().__init__()
        act = zoo.MODULES[activation]
        self.order, index = [], 0

        def add(name, module):
            self.add_module(name, module)
            self.order.append(name)

        for stage, rows in enumerate(plan):
            for outputs, kernel, padding in rows:
                index += 1
                add(f"conv{index}", nn.Conv2d(channels, outputs, kernel, padding=padding))
                add(f"act{index}", act())
                if conv_norm:
                    add(f"bn{index}", nn.BatchNorm2d(outputs))
                channels = outputs
                side += 2 * padding - kernel + 1
            add(f"pool{stage}", nn.MaxPool2d(2))
            side //= 2
        self.layers = nn.ModuleList()
        inputs, (depth, width) = channels * side * side, dense
        for _ in range(depth):
            layer = nn.ModuleDict()
            layer["linear"] = nn.Linear(inputs, width, bias=dense_norm != "before")
            if dense_norm == "before":
                layer["bn"] = nn.BatchNorm1d(width)
            layer["act"] = act()
            if dense_norm == "after":
                layer["bn"] = nn.BatchNorm1d(width)
            self.layers.append(layer)
            inputs = width
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x):
        for name in self.order:
            x = getattr(self, name)(x)
        x = x.flatten(1)
        for layer in self.layers:
            for module in layer.values():
                x = module(x)
        return self.fc(x)


# Output channels, kernel size and padding of each convolution, stage by stage; depth and width of the dense
# layers; whether the convolutions have a norm; where the dense layers have one.
LENET4 = [[(20, 5, 2)], [(50, 5, 2)]]
VGG = [[(32, 3, 1), (32, 3, 1)], [(64, 3, 1), (64, 3, 1)]]
CNN4 = [[(32, 3, 0), (64, 3, 0)]]
CONV2 = [[(20, 5, 0), (50, 5, 0)]]
CONV4 = [[(32, 3, 1), (32, 3, 0)], [(64, 3, 1), (64, 3, 0)]]
NETWORKS = {
    "lenet4": (LENET4, (1, 500), False, None),
    "minivgg": (VGG, (1, 512), True, "after"),
    "cnn4": (CNN4, (1, 128), False, None),
    "conv2_mlp_2x500": (CONV2, (2, 500), False, "before"),
    "conv2_mlp_12x500": (CONV2, (12, 500), False, "before"),
    # The registry has no row for this one: any depth and width can be named.
    "conv2_mlp_3x64": (CONV2, (3, 64), False, "before"),
    "conv4_mlp_1x512": (CONV4, (1, 512), False, None),
    "conv4_mlp_2x100": (CONV4, (2, 100), False, None),
}


def cases():
    for activation in ("relu", "mish"):
        for name, design in NETWORKS.items():
            training = name != "conv2_mlp_12x500"
            batch = 8 if design[3] else 2
            model = Network(*design, activation, side=32, channels=3, classes=100)
            yield zoo.case(name, "cifar", activation, model, 32, batch=batch, training=training)
            model = Network(*design, activation, side=28, channels=1, classes=10)
            yield zoo.case(
                name, "cifar", activation, model, 28, batch=2, in_chans=1, img_size=28
            )


zoo.write(__file__, cases())
