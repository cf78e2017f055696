"""Writes subset.json: accuracy and loss among all classes and among a subset of them.

The subset is evaluated as by the scripts of ImageNet-A and ImageNet-R: the logits are indexed with
the classes that are present.
"""

import json
import pathlib

import torch
import torch.nn.functional as F

torch.manual_seed(0)
images, classes = 24, 20
present = sorted(torch.randperm(classes)[:8].tolist())
logits = (2 * torch.randn(images, classes, dtype=torch.float64)).round(decimals=3)
labels = torch.tensor(present)[torch.randint(len(present), (images,))]
# Some images are classified correctly among all classes.
logits[torch.arange(images), labels] += 2.0


def figures(logits, labels):
    ranked = logits.topk(5, dim=1).indices
    hits = ranked == labels.unsqueeze(1)
    return dict(
        top1=hits[:, :1].any(1).double().mean().item(),
        top5=hits.any(1).double().mean().item(),
        loss=F.cross_entropy(logits, labels).item(),
    )


position = torch.tensor([present.index(label) for label in labels.tolist()])
case = dict(
    classes=present,
    labels=labels.tolist(),
    logits=logits.tolist(),
    all=figures(logits, labels),
    among=figures(logits[:, present], position),
)
path = pathlib.Path(__file__).with_suffix(".json")
path.write_text(json.dumps(case) + "\n")
