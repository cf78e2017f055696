"""Writes layer_groups.json: timm's layer groups for layer-wise learning rates.

For each network: the number of groups, and the CRC-32 of the sorted lines "NAME LAYER", one per parameter.

    pip install torch==2.15.0 timm==1.0.31
    python layer_groups.py          # writes layer_groups.json
"""

import json
import pathlib
import zlib

import timm
from timm.models import group_parameters

NETWORKS = """resnet18 resnet34 resnet50 resnet101 resnet152 wide_resnet50_2 resnext50_32x4d seresnet18
seresnet34 seresnet50 densenet121 densenet161 densenet169 densenet201 vgg11 vgg11_bn vgg13 vgg13_bn
vgg16 vgg16_bn vgg19 vgg19_bn mobilenetv1_100 mobilenetv2_100 inception_v3 inception_resnet_v2
legacy_xception xception41 efficientnet_b0 efficientnet_b1 efficientnet_b2 tf_efficientnet_b0
tf_efficientnet_b1 tf_efficientnet_b2 darknet53 cspdarknet53 cspresnet50 cspresnext50"""


def case(name: str) -> dict:
    model = timm.create_model(name)
    groups = group_parameters(model, model.group_matcher(coarse=False), reverse=True)
    lines = sorted(f"{name} {groups[name]}\n" for name, _ in model.named_parameters())
    return {"layers": max(groups.values()) + 1, "crc32": zlib.crc32("".join(lines).encode())}


if __name__ == "__main__":
    cases = {name: case(name) for name in NETWORKS.split()}
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps({"timm": timm.__version__, "cases": cases}, indent=1) + "\n")
