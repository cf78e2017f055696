"""Compares exported networks with timm, torchvision, onnxruntime and OpenCV.

Exports every network of the registry to safetensors and ONNX, in its form for 32x32 images and, up to
--most multiply-adds, in its ImageNet form, with random weights, its own activation and Mish. Then

- timm's network, or torchvision's if timm has none, loads the safetensors file with `strict=True`, and its
  logits equal the ONNX file's;
- for each operator set in --opsets, `onnx.checker` accepts the ONNX file, and the logits of onnxruntime
  and of OpenCV equal `mish predict --logits`, for two batch sizes.

--scale multiplies the input, to compare at extreme values. --decompose exports with that flag.

    pip install torch==2.13.0 torchvision==0.28.0 timm==1.0.31 safetensors onnx onnxruntime numpy \\
        opencv-python-headless
    cargo build --release
    python tests/export.py --mish target/release/mish --out docs/verification/export.md
"""

import argparse
import fnmatch
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile

import cv2
import numpy as np
import onnx
import onnxruntime
import timm
import torch
import torch.nn as nn
import torchvision
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_torch
from safetensors.torch import save_file as save_torch

sys.path.insert(0, str(pathlib.Path(__file__).parent / "reference"))
import rule  # noqa: E402
import zoo  # noqa: E402

TOLERANCE = 1e-4
# The activations of timm's networks other than ReLU, by family.
OWN = {"efficientnet": "silu", "mobilenet": "relu6", "darknet": "leaky_relu:0.01"}


def mish(*arguments) -> str:
    done = subprocess.run([args.mish, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"mish {' '.join(map(str, arguments))}: {done.stderr.strip()}")
    return done.stdout


def reference(name: str, activation: str):
    """timm's or torchvision's network with the activation, or None if neither has it."""
    if name in timm.list_models():
        return zoo.swap(timm.create_model(name, pretrained=False), activation), "timm"
    if name in torchvision.models.list_models():
        model = torchvision.models.get_model(name, weights=None)
        return zoo.swap(model, activation), "torchvision"
    return None, None


def relative(got: np.ndarray, want: np.ndarray) -> float:
    return float(np.abs(got - want).max() / np.abs(want).max())


class Case:
    """A network in one form with one activation, in its own folder."""

    def __init__(self, folder, name, stem, activation, size):
        self.folder, self.name, self.stem = folder, name, stem
        self.activation, self.size = activation, size
        self.weights = folder / "weights.safetensors"
        self.flags = [name, "--weights", self.weights, "--activation", activation, "--stem", stem]

    def draw(self):
        """Writes weights by the rule of the references, for all keys of the network."""
        if self.stem == "imagenet":
            model, self.peer = reference(self.name, self.activation)
            if model is not None:
                rule.fill(model)
                save_torch(model.state_dict(), self.weights)
                return model.eval()
        # One training step writes a checkpoint with all keys.
        run = self.folder / "run"
        flags = ["--activation", self.activation, "--stem", self.stem, "--epochs", 1]
        flags += ["--batch-size", 2, "--lr", 1e-6, "--weight-decay", 0, "--output", run]
        data = ["--dataset", "synthetic", "--limit-train", 2, "--limit-test", 1]
        if self.stem == "imagenet":
            data = ["--dataset", f"folder:{image_folder(self.folder)}", "--img-size", self.size]
            data += ["--num-classes", 1000]
        mish("train", self.name, *flags, *data)
        drawn = load_torch(run / "last.safetensors")
        drawn = {
            key: tensor if key.endswith("num_batches_tracked") else rule.tensor(key, tensor.shape)
            for key, tensor in drawn.items()
        }
        save_torch(drawn, self.weights)
        self.peer = None
        return None

    def check(self) -> dict:
        model = self.draw()
        exported = self.folder / "exported.safetensors"
        mish("export", *self.flags, "--out", exported)
        images = args.scale * rule.tensor("input", (3, 3, self.size, self.size)).numpy()
        save_file({"input": images}, self.folder / "input.safetensors")
        logits = self.folder / "logits.json"
        mish("predict", *self.flags[:1], self.folder / "input.safetensors", *self.flags[1:], "--logits", logits)
        ours = np.array(json.loads(logits.read_text())["logits"])
        found = {
            "model": self.name,
            "stem": self.stem,
            "activation": self.activation,
            "nodes": [],
            "mish": [],
            "onnxruntime": 0.0,
            "opencv": 0.0,
            "library": self.peer,
            "torch": None,
        }
        seen = {}
        for opset in args.opsets:
            file = self.folder / f"network{opset}.onnx"
            self.export(file, opset, found)
            if seen.setdefault(hashlib.sha256(file.read_bytes()).digest(), opset) != opset:
                continue  # the default is one of the others
            theirs = self.run(onnx_runtime, "onnxruntime", file, images, ours, found)
            if args.opencv:
                self.run(open_cv, "opencv", file, images, ours, found)
        before, after = load_file(self.weights), load_file(exported)
        assert before.keys() == after.keys(), sorted(before.keys() ^ after.keys())
        assert all(before[k].dtype == after[k].dtype for k in before), "types"
        assert all(np.array_equal(before[k], after[k]) for k in before), "values"
        if model is not None:
            model.apply(blank)
            model.load_state_dict(load_torch(exported), strict=True)
            with torch.no_grad():
                found["torch"] = relative(theirs, model(torch.from_numpy(images)).numpy())
        worst = [found["onnxruntime"], found["torch"] or 0]
        worst += [found["opencv"]] if isinstance(found["opencv"], float) else []
        assert max(worst) < TOLERANCE, found
        return found

    def export(self, file, opset, found):
        """Exports for an operator set and counts the nodes."""
        flags = [*self.flags, "--img-size", self.size, "--out", file]
        flags += ["--opset", opset] if opset != "default" else []
        mish("export", *flags, *["--decompose"] * args.decompose)
        onnx.checker.check_model(str(file), full_check=True)
        graph = onnx.load(str(file)).graph
        found["nodes"].append(len(graph.node))
        found["mish"].append(sum(n.op_type == "Mish" for n in graph.node))

    def run(self, runtime, name, file, images, ours, found):
        """Runs a batch and single images, and notes the largest difference or what failed."""
        try:
            network = runtime(file)
            theirs = network(images)
            single = np.concatenate([network(image[None]) for image in images])
        except cv2.error as error:
            found[name] = f"{file.stem}: {error.err or error}"
            return None
        assert np.isfinite(theirs).all() and np.isfinite(single).all(), (name, file.stem, theirs)
        if isinstance(found[name], float):
            found[name] = max(found[name], relative(theirs, ours), relative(single, ours))
        return theirs


def onnx_runtime(file):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"input": images})[0]


def open_cv(file):
    network = cv2.dnn.readNetFromONNX(str(file))

    def forward(images):
        network.setInput(np.ascontiguousarray(images))
        return network.forward()

    return forward


def blank(module: nn.Module) -> None:
    """Zeroes all tensors, so that a tensor that is not loaded shows."""
    for tensor in [*module.parameters(False), *module.buffers(False)]:
        tensor.data.zero_()


def image_folder(folder: pathlib.Path) -> pathlib.Path:
    """A folder data set of one class, with two training images and one test image."""
    from PIL import Image

    for split, count in (("train", 2), ("val", 1)):
        (folder / "tree" / split / "class").mkdir(parents=True)
        for i in range(count):
            image = Image.new("RGB", (256, 256), (40 * i, 90, 120))
            image.save(folder / "tree" / split / "class" / f"{i}.png")
    return folder / "tree"


def page(rows: list) -> str:
    """The part of docs/verification/export.md after its marker."""
    versions = {
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "timm": timm.__version__,
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
        "OpenCV": cv2.__version__,
    }
    lines = [
        "Versions: " + ", ".join(f"{k} {v}" for k, v in versions.items()) + f". {len(rows)} cases.",
        "",
        f"Operator sets: {', '.join(args.opsets)}{', with --decompose' * args.decompose}.",
        "",
        "| network | form | activation | nodes | Mish nodes | onnxruntime - mish | OpenCV - mish | strict load | onnxruntime - library |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        torch_error = "" if row["torch"] is None else f"{row['torch']:.1e}"
        cells = [row["model"], row["stem"], row["activation"], several(row["nodes"]), several(row["mish"])]
        cells += [error(row["onnxruntime"]), error(row["opencv"]), row["library"] or "", torch_error]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


def several(counts: list) -> str:
    """The counts of all operator sets, or the only one."""
    return ", ".join(map(str, counts if len(set(counts)) > 1 else counts[:1]))


def error(found) -> str:
    """A difference, or what failed."""
    return f"{found:.1e}" if isinstance(found, float) else found.replace("\n", " ")


def activations(entry: dict, stem: str) -> list:
    own = OWN.get(entry["family"], "relu")
    return [own if stem == "imagenet" else "relu", "mish"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mish", default="target/release/mish")
    parser.add_argument("--models", default="*", help="a pattern of network names")
    parser.add_argument("--most", type=float, default=5e9, help="the most multiply-adds of an ImageNet form")
    parser.add_argument("--every-activation", metavar="MODEL", help="all activations in one network")
    parser.add_argument("--forms", default="cifar,imagenet")
    parser.add_argument("--opsets", default="13,17,18,default", help="numbers or `default`, in a list")
    parser.add_argument("--decompose", action="store_true", help="pass --decompose to every export")
    parser.add_argument("--scale", type=float, default=1, help="multiplies the input")
    parser.add_argument("--skip-opencv", dest="opencv", action="store_false")
    parser.add_argument("--out", type=pathlib.Path, help="the page whose table to replace")
    args = parser.parse_args()
    args.opsets = args.opsets.split(",")
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    cases = []
    if args.every_activation:
        known = json.loads(mish("activations", "--json"))
        cases = [(args.every_activation, "cifar", a["name"], 32) for a in known]
    else:
        for entry in json.loads(mish("models", "--json")):
            if not fnmatch.fnmatch(entry["name"], args.models):
                continue
            forms = [("cifar", entry["cifar"]), ("imagenet", entry.get("imagenet"))]
            for stem, form in forms:
                if form and stem in args.forms.split(",") and form["multiply_adds"] <= args.most:
                    size = form["input"][-1]
                    cases += [(entry["name"], stem, a, size) for a in activations(entry, stem)]
    rows, failed = [], 0
    for case in cases:
        with tempfile.TemporaryDirectory() as folder:
            try:
                rows.append(Case(pathlib.Path(folder), *case).check())
                print(rows[-1], flush=True)
            except Exception as error:  # continue with the other cases
                failed += 1
                print("FAILED", *case, type(error).__name__, str(error)[:2000], flush=True)
    print(f"{len(rows)} cases passed, {failed} failed")
    if args.out and not failed:
        marker = "<!-- tests/export.py -->\n"
        text = args.out.read_text().split(marker)[0] + marker + page(rows)
        args.out.write_text(text)
    sys.exit(failed > 0)
