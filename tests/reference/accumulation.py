"""Prints accumulation.json: training with accumulated gradients as in timm's train.py, for
tests/train/accumulation.rs.

    python tests/reference/accumulation.py > tests/reference/accumulation.json

A convolution, a batch norm, a Mish and a linear layer learn from 7 batches in an epoch, 3 for each
update: the last update of an epoch has one batch, whose loss is not divided. Both this script and the
test compute the weights and the batches with the same formulas.
"""

import json

import torch
from timm.loss import LabelSmoothingCrossEntropy

torch.set_default_dtype(torch.float64)

EPOCHS = 8
BATCHES = 7
ACCUM_STEPS = 3


def wave(shape, a, b):
    i = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    return torch.sin(a * i + b).reshape(shape)


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.bn = torch.nn.BatchNorm2d(4)
        self.fc = torch.nn.Linear(4, 3)
        with torch.no_grad():
            self.conv.weight.copy_(wave((4, 2, 3, 3), 0.7, 0.1) / 2)
            self.fc.weight.copy_(wave((3, 4), 1.3, 0.2))
            self.fc.bias.copy_(wave((3,), 1.0, 0.3) / 4)

    def forward(self, x):
        x = torch.nn.functional.mish(self.bn(self.conv(x)))
        return self.fc(x.mean((2, 3)))


def batch(number):
    labels = torch.tensor([(i * i + number) % 3 for i in range(4)])
    return wave((4, 2, 5, 5), 0.37, number) + labels.reshape(4, 1, 1, 1) / 2, labels


network = Network()
loss_fn = LabelSmoothingCrossEntropy(0.1)
decayed = [network.conv.weight, network.fc.weight]
rest = [network.bn.weight, network.bn.bias, network.fc.bias]
groups = [{"params": decayed, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}]
optimizer = torch.optim.SGD(groups, lr=0.2, momentum=0.9, nesterov=True)
losses = []
for epoch in range(EPOCHS):
    accum_steps = ACCUM_STEPS
    last_accum_steps = BATCHES % accum_steps
    last_batch_idx_to_accum = BATCHES - last_accum_steps
    optimizer.zero_grad()
    for batch_idx in range(BATCHES):
        need_update = batch_idx == BATCHES - 1 or (batch_idx + 1) % accum_steps == 0
        if batch_idx >= last_batch_idx_to_accum:
            accum_steps = last_accum_steps
        images, labels = batch(epoch * BATCHES + batch_idx)
        loss = loss_fn(network(images), labels)
        losses.append(loss.item())
        (loss / accum_steps).backward()
        if need_update:
            torch.nn.utils.clip_grad_norm_(network.parameters(), 0.5)
            optimizer.step()
            optimizer.zero_grad()

values = {
    name: tensor.flatten().tolist()
    for name, tensor in network.state_dict().items()
    if tensor.is_floating_point()
}
print(json.dumps({"torch": torch.__version__, "losses": losses, "values": values}))
