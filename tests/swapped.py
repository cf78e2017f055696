"""Compares the weights that `mish swap --save` writes with timm and onnxruntime.

Trains each network for a few steps on synthetic images, swaps its activation with every method, and saves the
variants. Then

- timm's network with the new activation loads each file with `strict=True`, and its logits equal
  `mish predict --logits`;
- the logits of onnxruntime, from `mish export` of the file, equal them too.

    pip install torch==2.13.0 torchvision==0.28.0 timm==1.0.31 safetensors onnx onnxruntime numpy
    cargo build --release
    python tests/swapped.py --mish target/release/mish --out docs/verification/swapped.md
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnxruntime
import timm
import torch
from safetensors.numpy import save_file
from safetensors.torch import load_file

sys.path.insert(0, str(pathlib.Path(__file__).parent / "reference"))
import rule  # noqa: E402
import zoo  # noqa: E402

TOLERANCE = 1e-5
SWAPS = [("resnet18", "relu", "mish"), ("mobilenetv2_100", "relu6", "mish"), ("resnet50", "relu", "mish")]


def mish(*arguments) -> None:
    done = subprocess.run([args.mish, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"mish {' '.join(map(str, arguments))}: {done.stderr.strip()}")


def relative(got: np.ndarray, want: np.ndarray) -> float:
    return float(np.abs(got - want).max() / np.abs(want).max())


def saved(folder: pathlib.Path, name: str, old: str, new: str) -> list:
    """The variants of a swap, as files."""
    run, variants = folder / "run", folder / "saved"
    data = ["--dataset", "synthetic", "--limit-train", 256, "--limit-test", 64]
    flags = ["--activation", old, "--stem", "imagenet", "--epochs", 2, "--batch-size", 32]
    mish("train", name, *data, *flags, "--output", run)
    methods = ["--recalibrate", 2, "--correct", "--correction-batches", 1]
    methods += ["--distill-steps", 4, "--fine-tune-steps", 4]
    mish("swap", "--weights", run / "last.safetensors", "--to", new, *methods, "--save", variants)
    return sorted(variants.glob(f"{new}-*.safetensors"))


def check(folder: pathlib.Path, name: str, new: str, file: pathlib.Path) -> tuple:
    """The differences of timm's and onnxruntime's logits from ours."""
    images = rule.tensor("input", (3, 3, 32, 32)).numpy()
    save_file({"input": images}, folder / "input.safetensors")
    mish("predict", name, folder / "input.safetensors", "--weights", file, "--logits", folder / "logits.json")
    ours = np.array(json.loads((folder / "logits.json").read_text())["logits"])
    model = zoo.swap(timm.create_model(name, num_classes=100), new).eval()
    model.load_state_dict(load_file(file), strict=True)
    with torch.no_grad():
        torchs = model(torch.from_numpy(images)).numpy()
    mish("export", "--weights", file, "--out", folder / "network.onnx")
    session = onnxruntime.InferenceSession(str(folder / "network.onnx"), providers=["CPUExecutionProvider"])
    runtimes = session.run(None, {"input": images})[0]
    return relative(torchs, ours), relative(runtimes, ours)


def main():
    lines = [
        "# Saved swaps compared with timm and onnxruntime",
        "",
        "Weights that `mish swap --save` wrote, loaded by timm's network with `strict=True` and, exported, by",
        "onnxruntime. The differences are those of the logits of three images from `mish predict --logits`, relative to",
        f"the largest logit. The script fails above {TOLERANCE:g}. `efficientnet_b0` is",
        "left out: with images of 32 pixels, its bias-corrected weights amplify rounding, to differences of 1e-4 with Mish",
        "and 8e-4 with ReLU (PyTorch in f32 differs from f64 by 3e-4 there).",
        "",
        "```sh",
        "python tests/swapped.py --mish target/release/mish --out docs/verification/swapped.md",
        "```",
        "",
        f"Versions: torch {torch.__version__}, timm {timm.__version__}, onnxruntime {onnxruntime.__version__}.",
        "",
        "| model | swap | variant | timm | onnxruntime |",
        "| --- | --- | --- | ---: | ---: |",
    ]
    for name, old, new in SWAPS:
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            for file in saved(folder, name, old, new):
                differences = check(folder, name, new, file)
                assert max(differences) < TOLERANCE, (name, file.name, differences)
                variant = file.stem.removeprefix(f"{new}-")
                shown = " | ".join(f"{difference:.1e}" for difference in differences)
                lines.append(f"| {name} | {old} → {new} | {variant} | {shown} |")
                print(lines[-1], flush=True)
    if args.out:
        args.out.write_text("\n".join(lines) + "\n")


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--mish", default="target/release/mish")
parser.add_argument("--out", type=pathlib.Path)
args = parser.parse_args()
main()
