"""Writes distillation.json: torch.nn.functional.kl_div at a temperature in float64, with gradients, and
the losses of a student that learns from logits and features for 25 steps.

The inputs of the training are sines of their positions, so that only results are stored."""

import json
import math
import pathlib

import torch
import torch.nn.functional as F

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)


def distillation(student, teacher, temperature):
    student = F.log_softmax(student / temperature, dim=1)
    teacher = F.log_softmax(teacher / temperature, dim=1)
    loss = F.kl_div(student, teacher, reduction="batchmean", log_target=True)
    return temperature**2 * loss


def sines(start, rows, columns):
    numbers = [math.sin(start + 1.7 * i) for i in range(rows * columns)]
    return torch.tensor(numbers).reshape(rows, columns)


cases = []
for temperature in (0.5, 1.0, 2.0, 4.0, 20.0):
    student = (3 * torch.randn(3, 4)).requires_grad_()
    teacher = 3 * torch.randn(3, 4)
    loss = distillation(student, teacher, temperature)
    loss.backward()
    cases.append(dict(
        temperature=temperature, student=student.tolist(), teacher=teacher.tolist(),
        loss=loss.item(), grad=student.grad.tolist(),
    ))

first, second = sines(1.0, 6, 5).requires_grad_(), sines(2.0, 4, 6).requires_grad_()
wanted = [sines(3.0, 6, 5), sines(4.0, 4, 6)]
optimizer = torch.optim.SGD([first, second], lr=0.1, momentum=0.9)
losses = []
for step in range(25):
    images = sines(0.3 * step, 8, 5)
    features, target = images @ first.T, images @ wanted[0].T
    logits, teacher = F.relu(features) @ second.T, F.relu(target) @ wanted[1].T
    distance = (features - target).square().sum() / target.square().sum()
    loss = distillation(logits, teacher, 4.0) + 0.7 * distance
    losses.append(loss.item())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
training = dict(losses=losses, first=first.tolist(), second=second.tolist())
path = pathlib.Path(__file__).with_suffix(".json")
path.write_text(json.dumps(dict(cases=cases, training=training)) + "\n")
