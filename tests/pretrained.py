"""Compares the logits of pretrained weights with timm, over a Hub on the loopback interface.

For every network with an ImageNet form, the independent implementation (timm, else torchvision or
tests/reference) gets random weights. A server offers them in the Hub's layout, as the file that timm pushes
(`model.safetensors`), and

    mish predict NAME input.safetensors --pretrained --logits logits.json

downloads and evaluates them. The input is an image with the statistics of a photograph (smooth areas, edges,
texture with the spectrum of natural images), prepared by timm's transform. The largest difference of a logit
must be less than 1e-4 of the largest logit.

The script repeats this for files with keys of torchvision and older versions, for `.pth` and `.bin` files and
for the CIFAR weights, and compares the table of weights (`mish models --json`) with timm's configurations.

    pip install torch==2.13.0 torchvision==0.28.0 timm==1.0.31 safetensors pillow
    cargo build --release --bin mish
    python tests/pretrained.py --page docs/verification/pretrained.md       # all networks
    python tests/pretrained.py resnet18 densenet121            # some networks
"""

import argparse
import gc
import hashlib
import http.server
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import threading

import numpy as np
import safetensors.torch
import timm
import timm.data
import torch
import torchvision
from PIL import Image

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LIMIT = 1e-4
ROOT = pathlib.Path(__file__).resolve().parent.parent


class Hub(http.server.BaseHTTPRequestHandler):
    """Serves the Hub's site under /api and /resolve, and its storage of large files under /storage."""

    repositories: dict[str, dict[str, pathlib.Path]] = {}
    hashes: dict[str, pathlib.Path] = {}

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def log_message(self, *_):
        pass

    def reply(self, status, headers, content=b"", body=True):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def answer(self, body):
        if match := re.fullmatch(rf"/api/models/([^/]+/[^/]+)/revision/(?:main|{COMMIT})", self.path):
            files = self.repositories.get(match[1])
            if files is None:
                return self.reply(404, {"X-Error-Code": "RepoNotFound"})
            siblings = [{"rfilename": name} for name in files]
            info = {"_id": "0", "id": match[1], "sha": COMMIT, "siblings": siblings}
            return self.reply(200, {}, json.dumps(info).encode(), body)
        if match := re.fullmatch(rf"/([^/]+/[^/]+)/resolve/(?:main|{COMMIT})/(.+)", self.path):
            path = self.repositories.get(match[1], {}).get(match[2])
            if path is None:
                return self.reply(404, {"X-Error-Code": "EntryNotFound"})
            digest = hashlib.file_digest(path.open("rb"), "sha256").hexdigest()
            self.hashes[digest] = path
            host, port = self.server.server_address
            headers = {
                "Location": f"http://{host}:{port}/storage/{digest}",
                "ETag": f'"{digest[:40]}"',
                "X-Linked-ETag": f'"{digest}"',
                "X-Linked-Size": str(path.stat().st_size),
                "X-Repo-Commit": COMMIT,
            }
            return self.reply(302, headers)
        path = self.hashes.get(self.path.removeprefix("/storage/"))
        if path is None:
            return self.reply(404, {"X-Error-Code": "RepoNotFound"})
        self.reply(200, {"Accept-Ranges": "bytes"}, path.read_bytes() if body else b"", body)


def photograph(height=360, width=480):
    """An image with the statistics of a photograph."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:height, 0:width]
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
    frequency[0, 0] = 1.0
    pixels = np.zeros((height, width, 3))
    for channel in range(3):
        noise = np.fft.fft2(rng.standard_normal((height, width))) / frequency
        texture = np.real(np.fft.ifft2(noise))
        sky = 180 - 90 * y / height + 20 * channel
        pixels[..., channel] = sky + 18 * texture / texture.std()
    for _ in range(12):
        cy, cx, r = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(15, 90)
        inside = (y - cy) ** 2 + (x - cx) ** 2 < r * r
        pixels[inside] = 0.35 * pixels[inside] + 0.65 * rng.uniform(0, 255, 3)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def randomise(model):
    """Draws weights and statistics far from their initial values, with a fixed seed."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            for tensor, low, high in [
                (module.weight, 0.7, 1.3),
                (module.bias, -0.2, 0.2),
                (module.running_mean, -0.2, 0.2),
                (module.running_var, 0.7, 1.3),
            ]:
                tensor.data.uniform_(low, high, generator=generator)
        elif isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            fan_in = module.weight[0].numel()
            module.weight.data.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
            if module.bias is not None:
                module.bias.data.uniform_(-0.1, 0.1, generator=generator)
    return model.eval()


def reference_network(name):
    """A network from a script of tests/reference, without running the script's cases."""
    script = name.split("_")[0]
    folder = ROOT / "tests" / "reference"
    sys.path.insert(0, str(folder))
    source = (folder / f"{script}.py").read_text().split("\nzoo.write(")[0]
    scope = {"__file__": str(folder / f"{script}.py"), "__name__": script}
    exec(compile(source, script, "exec"), scope)
    sys.path.pop(0)
    return scope["VARIANTS"][name](num_classes=1000) if "VARIANTS" in scope else scope["PeleeNet"](1000, 2)


def implementation(name):
    """The network and the name of its library."""
    if timm.is_model(name):
        return timm.create_model(name, pretrained=False), "timm"
    if hasattr(torchvision.models, name):
        return getattr(torchvision.models, name)(weights=None), "torchvision"
    return reference_network(name), "tests/reference"


class Check:
    def __init__(self, mish, folder, address):
        self.mish, self.folder, self.address = mish, folder, address
        self.image = photograph()
        self.rows, self.failures = [], []

    def predict(self, name, tensor, pretrained):
        """The logits of `mish predict` for the tensor with these weights."""
        source, out = self.folder / "input.safetensors", self.folder / "logits.json"
        safetensors.torch.save_file({"input": tensor}, source)
        home = self.folder / "home"
        environment = dict(os.environ, HF_HOME=str(home), HF_ENDPOINT=self.address)
        for variable in ("HF_HUB_OFFLINE", "HF_TOKEN", "HF_HUB_CACHE"):
            environment.pop(variable, None)
        command = [self.mish, "predict", name, source, "--logits", out, "--pretrained"]
        subprocess.run(command + pretrained, env=environment, check=True)
        shutil.rmtree(home)
        found = json.loads(out.read_text())
        out.unlink()
        return torch.tensor(found["logits"])

    def case(self, name, what, model, files, pretrained, config, limit=LIMIT):
        """Compares the model's logits with mish's, which loads it from a repository with these files."""
        repository, content = files
        Hub.repositories = {repository: content}
        transform = timm.data.create_transform(**config)
        tensor = transform(self.image)[None]
        with torch.no_grad():
            want = model(tensor)
        got = self.predict(name, tensor, pretrained)
        error = ((got - want).abs().max() / want.abs().max()).item()
        ok = got.shape == want.shape and error < limit
        same = (got.argmax(1) == want.argmax(1)).all().item()
        size = f"{tensor.shape[-1]}x{tensor.shape[-1]}"
        self.rows.append((name, what, f"`{repository}`", size, f"{error:.1e}", "yes" if same else "no"))
        print(f"{name:22} {what:28} {error:.1e} {'' if ok else 'FAILED'}", flush=True)
        if not ok:
            self.failures.append(name)

    def save(self, model, name="model.safetensors"):
        path = self.folder / name
        state = {k: v.contiguous() for k, v in model.state_dict().items()}
        if path.suffix == ".safetensors":
            safetensors.torch.save_file(state, path, metadata={"format": "pt"})
        else:
            torch.save(state, path)
        return path

    def imagenet(self, entry):
        name = entry["name"]
        model, library = implementation(name)
        model = randomise(model)
        rows = [row for row in entry["pretrained"] if row["stem"] == "imagenet"]
        config = {"input_size": tuple(entry["imagenet"]["input"]), "interpolation": "bicubic"}
        if timm.is_model(name):
            config = timm.data.resolve_data_config(model=model)
        repository = rows[0]["repo"] if rows else f"loopback/{name}"
        # A network without a row needs an address; mish assumes its paper's activation.
        pretrained = [] if rows else [f"hf://{repository}"]
        files = (repository, {"model.safetensors": self.save(model)})
        self.case(name, library, model, files, pretrained, config)

    def other_styles(self):
        config = {"input_size": (3, 224, 224)}
        densenet = randomise(torchvision.models.densenet121(weights=None))
        state = {
            re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", key): value
            for key, value in densenet.state_dict().items()
        }
        path = self.folder / "weights.pth"
        torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, path)
        files = ("loopback/densenet121", {"weights.pth": path})
        address = ["hf://loopback/densenet121/weights.pth"]
        self.case("densenet121", "torchvision before 0.3, .pth", densenet, files, address, config)
        for name, style in [
            ("mobilenetv2_100", "mobilenet_v2"),
            ("efficientnet_b0", "efficientnet_b0"),
            ("vgg11", "vgg11"),
            ("resnet50", "resnet50"),
            ("inception_v3", "inception_v3"),
        ]:
            model = getattr(torchvision.models, style)(weights=None)
            model = randomise(model)
            files = (f"loopback/{style}", {"pytorch_model.bin": self.save(model, "model.bin")})
            size = {"inception_v3": 299}.get(name, 224)
            config = {"input_size": (3, size, size)}
            self.case(name, "torchvision, .bin", model, files, [f"hf://{files[0]}"], config)

    def cifar(self, entry):
        name = entry["name"]
        for row in entry["pretrained"]:
            if row["stem"] != "cifar":
                continue
            model = timm.create_model(name, pretrained=False, num_classes=row["num_classes"])
            if name.startswith("vgg"):
                model.pre_logits = torch.nn.Identity()
                model.head.fc = torch.nn.Linear(512, row["num_classes"])
            else:
                model.conv1 = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False)
                model.maxpool = torch.nn.Identity()
            model = randomise(model)
            files = (row["repo"], {row["file"]: self.save(model, "model.bin")})
            config = {"input_size": (3, 32, 32), "mean": row["mean"], "std": row["std"]}
            self.case(name, f"timm, {row['tag']}, .bin", model, files, [row["tag"]], config)


# Weights that timm lists and the table omits, because they have no classifier.
LEFT_OUT = {"resnet50.bamboo"}


def lacking(entry):
    """Weights of a network that timm has on the Hub and the table does not."""
    if not timm.is_model(entry["name"]):
        return []
    rows = {f"{entry['name']}.{row['tag']}" for row in entry["pretrained"]}
    listed = set(timm.list_pretrained(f"{entry['name']}.*")) - LEFT_OUT
    on_hub = [name for name in sorted(listed - rows) if timm.get_pretrained_cfg(name).hf_hub_id]
    return [f"{name}: timm has it, the table does not" for name in on_hub]


def compare_table(entries):
    """The differences between the table of weights and timm's configurations."""
    wrong = []
    for entry in entries:
        wrong += lacking(entry)
        rows = [row for row in entry["pretrained"] if row["stem"] == "imagenet"]
        for index, row in enumerate(rows):
            config = timm.get_pretrained_cfg(f"{entry['name']}.{row['tag']}")
            expected = {
                "repo": config.hf_hub_id if "." in config.hf_hub_id else f"timm/{entry['name']}.{row['tag']}",
                "num_classes": config.num_classes,
                "input_size": config.input_size[-1],
                "crop_pct": config.crop_pct,
                "interpolation": config.interpolation,
                "mean": [float(np.float32(v)) for v in config.mean],
                "std": [float(np.float32(v)) for v in config.std],
                "license": config.license,
            }
            found = dict(row, license=row["license"].lower())
            for key in ("mean", "std"):
                found[key] = [float(np.float32(v)) for v in row[key]]
            for key, value in expected.items():
                if found[key] != value:
                    wrong.append(f"{entry['name']}.{row['tag']}: {key} is {found[key]}, timm has {value}")
            default = timm.get_pretrained_cfg(entry["name"]).tag
            if index == 0 and row["tag"] != default:
                wrong.append(f"{entry['name']}: the default is {row['tag']}, timm's {default}")
    return wrong


def page(check, entries):
    listed = sum(row["stem"] == "imagenet" for entry in entries for row in entry["pretrained"])
    versions = (
        f"Python {platform.python_version()}, PyTorch {torch.__version__}, torchvision "
        f"{torchvision.__version__}, timm {timm.__version__}"
    )
    text = f"""# Logits of pretrained weights compared with timm and torchvision

<!-- Written by `python tests/pretrained.py --page docs/verification/pretrained.md`. -->

Each network gets random weights from the library in the second column. A server on the loopback
interface offers them in the Hub's layout, and `mish predict NAME … --pretrained` downloads and evaluates
them on an image with the statistics of a photograph, prepared by timm's transform. The error is the
largest difference of a logit, divided by the largest logit. The script fails if it is {LIMIT:.0e} or more.
{versions}, on the CPU.

The script also compares the {listed} rows of ImageNet weights in the table of `mish models` with timm's
configurations. They agree, and timm has no other weights with a classifier for these networks.

## Not tested

The development machines cannot reach the Hub. These checks, and the failures that `tests/data/download.rs`
injects, use the loopback interface. In particular, **transfers by Xet have not been tested**. The Hub
announces them with `X-Xet-Hash` for most large files, and hf-hub 1.0 then uses Xet and has no option for a
plain download. A file received by Xet is checked by size and SHA-256 like any other, and a transfer that
receives nothing for a minute is aborted.

## Logits

| network | weights of | repository | images | error | same class |
| --- | --- | --- | --- | ---: | --- |
"""
    return text + "".join(f"| {' | '.join(row)} |\n" for row in check.rows)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", help="networks [default: all]")
    parser.add_argument("--mish", default=ROOT / "target" / "release" / "mish")
    parser.add_argument("--page", type=pathlib.Path)
    args = parser.parse_args()
    listed = subprocess.run([args.mish, "models", "--json"], check=True, capture_output=True)
    entries = json.loads(listed.stdout)
    wrong = compare_table(entries)
    print("\n".join(wrong) or "the table agrees with timm", flush=True)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = "http://{}:{}".format(*server.server_address)
    with tempfile.TemporaryDirectory() as folder:
        check = Check(args.mish, pathlib.Path(folder), address)
        chosen = [e for e in entries if not args.names or e["name"] in args.names]
        # The largest networks last.
        chosen.sort(key=lambda entry: (entry["imagenet"] or entry["cifar"])["params"])
        for entry in chosen:
            if entry["imagenet"]:
                check.imagenet(entry)
                gc.collect()
        for entry in chosen:
            check.cifar(entry)
        if not args.names:
            check.other_styles()
    if args.page and not check.failures:
        args.page.write_text(page(check, entries))
    if wrong or check.failures:
        sys.exit(f"{len(wrong)} rows differ; logits differ for: {', '.join(check.failures)}")


main()
