"""Writes loss.json: torch.nn.functional.cross_entropy for small inputs in float64."""

import itertools
import json
import pathlib

import torch
import torch.nn.functional as F

torch.manual_seed(0)
rows, classes = 4, 5
cases = []
for soft, smoothing, weighted, reduction in itertools.product(
    (False, True), (0.0, 0.1, 1.0), (False, True), ("mean", "sum")
):
    logits = (3 * torch.randn(rows, classes, dtype=torch.float64)).requires_grad_()
    weights = torch.rand(classes, dtype=torch.float64) + 0.1 if weighted else None
    if soft:
        target = torch.randn(rows, classes, dtype=torch.float64).softmax(1)
    else:
        target = torch.randint(classes, (rows,))
    loss = F.cross_entropy(logits, target, weights, label_smoothing=smoothing, reduction=reduction)
    loss.backward()
    cases.append(dict(
        soft=soft, smoothing=smoothing, reduction=reduction, logits=logits.tolist(),
        weights=weights.tolist() if weighted else None,
        target=target.double().flatten().tolist(), loss=loss.item(), grad=logits.grad.tolist(),
    ))
path = pathlib.Path(__file__).with_suffix(".json")
path.write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
