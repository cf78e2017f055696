"""Compares the speed of networks with PyTorch and onnxruntime, and writes a table in Markdown.

    pip install torch torchvision timm onnx onnxruntime
    cargo build --release
    python tests/reference/bench_zoo.py target/release/mish
    python tests/reference/bench_zoo.py target/release/mish --rows resnet18 --rounds 5 --modes eager

Each row is a network of timm, with the same form, activation and batch size on all sides. In each
round every program runs once, one after the other, as a process of its own with the same number of
threads. The table has the median over the rounds of each program's median step, and the ratio of
the fastest mode of the peers to ours: above 1 we are faster. The mode bf16, channels_last with
autocast to bfloat16, computes less exactly and does not count for the ratio.

PyTorch keeps its memory between steps (MALLOC_MMAP_THRESHOLD_ and MALLOC_TRIM_THRESHOLD_); with the
default allocator it is slower.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

# Network, form, work, batch size, activation.
ROWS = [
    ("resnet18", "cifar", "train", 32, "mish"),
    ("vgg16_bn", "imagenet", "train", 4, "mish"),
    ("mobilenetv2_100", "cifar", "train", 32, "mish"),
    ("efficientnet_b0", "cifar", "train", 32, "silu"),
    ("densenet121", "cifar", "train", 32, "mish"),
    ("seresnet18", "cifar", "train", 32, "mish"),
    ("resnet50", "cifar", "train", 16, "mish"),
    ("resnext50_32x4d", "cifar", "train", 16, "mish"),
    ("resnet50", "imagenet", "train", 8, "mish"),
    ("seresnet50", "imagenet", "train", 8, "relu"),
    ("resnet50", "imagenet", "infer", 1, "relu"),
    ("resnet50", "imagenet", "infer", 8, "relu"),
    ("vgg16_bn", "imagenet", "infer", 1, "relu"),
    ("vgg16_bn", "imagenet", "infer", 8, "relu"),
    ("densenet121", "imagenet", "infer", 1, "relu"),
    ("densenet121", "imagenet", "infer", 8, "relu"),
    ("mobilenetv2_100", "imagenet", "infer", 1, "relu"),
    ("mobilenetv2_100", "imagenet", "infer", 8, "relu"),
    ("efficientnet_b0", "imagenet", "infer", 8, "silu"),
    ("inception_v3", "imagenet", "infer", 4, "relu"),
]
MODES = ("eager", "channels_last", "compile", "onnxruntime")
BF16 = "bf16"
HEAP = {"MALLOC_MMAP_THRESHOLD_": "4000000000", "MALLOC_TRIM_THRESHOLD_": "16000000000"}


def replace_activations(module, activation):
    """Replaces the activations of feature maps, not those of gates."""
    import torch.nn as nn

    for name, child in module.named_children():
        if isinstance(child, (nn.ReLU, nn.ReLU6, nn.SiLU)) and name != "gate":
            setattr(module, name, activation(inplace=True))
        else:
            replace_activations(child, activation)


def network(name, form, activation):
    """The network of timm. The CIFAR form has 100 classes and reduces the image later."""
    import timm
    import torch.nn as nn

    if form == "imagenet":
        net = timm.create_model(name)
    else:
        net = timm.create_model(name, num_classes=100)
        if "resne" in name:
            net.conv1, net.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
        elif name.startswith("densenet"):
            net.features.conv0 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
            net.features.pool0 = nn.Identity()
        else:
            net.conv_stem.stride = (1, 1)
            if name.startswith("mobilenetv2"):
                net.blocks[1][0].conv_dw.stride = (1, 1)
    replace_activations(net, {"mish": nn.Mish, "relu": nn.ReLU, "silu": nn.SiLU}[activation])
    return net


def timed(step, seconds):
    """Milliseconds of each call, after two calls that do not count."""
    for _ in range(2):
        step()
    times, start = [], time.perf_counter()
    while len(times) < 5 or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - before))
    return times


def measure_peer(name, form, work, batch, activation, mode, threads, seconds):
    """Runs in a process of its own and prints one JSON object."""
    import torch

    torch.set_num_threads(threads)
    net = network(name, form, activation)
    size = 32 if form == "cifar" else net.default_cfg["input_size"][-1]
    images = torch.randn(batch, 3, size, size)
    if mode == "onnxruntime":
        times = timed(onnx_step(net.eval(), images, threads), seconds)
    else:
        autocast = torch.autocast("cpu", torch.bfloat16, enabled=mode == BF16)
        if mode in ("channels_last", BF16):
            net = net.to(memory_format=torch.channels_last)
            images = images.contiguous(memory_format=torch.channels_last)
        forward = torch.compile(net) if mode == "compile" else net
        if work == "infer":
            net.eval()

            def step():
                with torch.inference_mode(), autocast:
                    forward(images)
        else:
            labels = torch.randint(0, 100, (batch,))
            optimizer = torch.optim.SGD(
                net.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4
            )

            def step():
                optimizer.zero_grad()
                with autocast:
                    loss = torch.nn.functional.cross_entropy(forward(images), labels)
                loss.backward()
                optimizer.step()

        times = timed(step, seconds)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"median_ms": statistics.median(times), "peak_mib": peak}))


def onnx_step(net, images, threads):
    """A step of onnxruntime on the exported network."""
    import onnxruntime
    import torch

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "network.onnx")
        torch.onnx.export(net, (images,), path, dynamo=False, input_names=["images"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )
    values = {"images": images.numpy()}
    return lambda: session.run(None, values)


def last_json(command, environment):
    """The JSON object at the end of a command's output, or None if the command fails."""
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        print(f"{' '.join(command)}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    return json.loads(done.stdout[done.stdout.index("{") :])


def measure_ours(program, name, form, work, batch, activation, threads, seconds):
    """`mish bench`, with as many steps as fit into the time."""
    command = [program, "bench", work, name, "--stem", form, "--activation", activation]
    command += ["--batch-size", str(batch), "--threads", str(threads), "--json", "--steps"]
    once = last_json(command + ["3"], {})
    steps = max(5, int(1e3 * seconds / once["median_ms"]))
    result = last_json(command + [str(min(steps, 200))], {})
    return {"median_ms": result["median_ms"], "peak_mib": result["peak_rss_bytes"] / 2**20}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", help="the mish program")
    parser.add_argument("--rows", nargs="*", default=[], help="names of networks")
    parser.add_argument("--work", nargs="*", default=["train", "infer"])
    parser.add_argument("--modes", nargs="*", default=MODES, choices=(*MODES, BF16))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--peer", nargs=6, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        name, form, work, batch, activation, mode = args.peer
        measure_peer(name, form, work, int(batch), activation, mode, args.threads, args.seconds)
        return
    columns = " | ".join(args.modes)
    print(f"| network, form | work | ours, ms | {columns} | ratio | memory, MiB | ratio |")
    print("| --- | --- | ---: |" + " ---: |" * len(args.modes) + " ---: | ---: | ---: |")
    for row in ROWS:
        if row[2] in args.work and (not args.rows or row[0] in args.rows):
            compare(row, args)


def median(results, key):
    """The median of a figure over the rounds."""
    return statistics.median(result[key] for result in results)


def compare(row, args):
    """Prints one row of the table."""
    name, form, work, batch, activation = row
    modes = [m for m in args.modes if work == "infer" or m != "onnxruntime"]
    ours, peers = [], {mode: [] for mode in modes}
    for _ in range(args.rounds):
        ours.append(measure_ours(args.program, *row, args.threads, args.seconds))
        for mode in modes:
            command = [sys.executable, __file__, args.program, "--peer"]
            command += [name, form, work, str(batch), activation, mode]
            command += ["--threads", str(args.threads), "--seconds", str(args.seconds)]
            threads = {"OMP_NUM_THREADS": str(args.threads)}
            result = last_json(command, HEAP | threads)
            if result:
                peers[mode].append(result)
    times = {mode: median(results, "median_ms") for mode, results in peers.items() if results}
    own = median(ours, "median_ms")
    cells = [f"{times[m]:.1f}" if m in times else "" for m in args.modes]
    fastest = min((mode for mode in times if mode != BF16), key=times.get)
    memory = median(ours, "peak_mib")
    eager = peers.get("eager")
    saved = f"{memory / median(eager, 'peak_mib'):.2f}x" if eager else ""
    print(
        f"| {name} {form} | {work}, batch {batch}, {activation} | {own:.1f} | "
        + " | ".join(cells)
        + f" | {times[fastest] / own:.2f}x ({fastest}) | {memory:.0f} | {saved} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
