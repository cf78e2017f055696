"""Writes simplenet.json: the 13-layer SimpleNet, computed by PyTorch. See zoo.py."""

import torch.nn as nn

import zoo

LAYERS = "64 128 128 128 P 128 128 256 P 256 256 P 512 2048/1 256/1 P 256".split()


class SimpleNet(nn.Module):
    def __init__(self, activation, classes):
        super().__init__()
        self.order = []
        inputs = 3
        for layer in LAYERS:
            if layer == "P":
                self.order.append(nn.MaxPool2d(2))
                continue
            width, _, kernel = layer.partition("/")
            width, kernel = int(width), int(kernel or 3)
            i = sum(not isinstance(m, nn.MaxPool2d) for m in self.order) // 3 + 1
            names = (f"conv{i}", f"bn{i}", f"act{i}")
            conv = nn.Conv2d(inputs, width, kernel, padding=kernel // 2)
            norm = nn.BatchNorm2d(width, eps=1e-5, momentum=0.05)
            for name, module in zip(names, (conv, norm, zoo.MODULES[activation]())):
                self.add_module(name, module)
                self.order.append(module)
            inputs = width
        self.classifier = nn.Linear(inputs, classes)

    def forward(self, x):
        for module in self.order:
            x = module(x)
        return self.classifier(x.amax((2, 3)))


def cases():
    for activation in ("relu", "mish"):
        model = SimpleNet(activation, 100)
        yield zoo.case("simplenet", "cifar", activation, model, 32, batch=4, training=True)


zoo.write(__file__, cases())
