"""Trains a network of each family for a few steps on the real CIFAR-100 and prints a table.

    cargo build --release
    python tests/families.py target/release/mish cifar100 > families.md

Each network takes its own recipe (`mish train NAME --dry-run` shows it) with batches of 64, seed 0
and one pass over the first images: 60 steps, or 20 where an image takes over a billion
multiply-adds, over which the one-cycle schedule rises and falls. The training loss is the mean over
these steps, the test loss that on the first 1,000 test images after them; ln(100) = 4.605 is that
of a guess. The peak of memory is that of the training process. Images per second are those of
`mish bench train` and `mish bench infer` with batches of 64. Needs no packages.
"""

import json
import os
import subprocess
import sys
import tempfile

NETWORKS = """
    resnet18 resnet20 resnetv2_20 wrn10_2 resnext50_32x4d seresnet18 densenet_bc100_12 vgg11 vgg11_bn
    mobilenetv1_100 mobilenetv2_100 shufflenet_v1_x1_0 shufflenet_v2_x1_0 squeezenet1_1 inception_v3
    legacy_xception xception41 efficientnet_b0 cspdarknet53 peleenet simplenet capsnet
    capsnet_reconstruction resnet9 cnn6 mlp_5x500
""".split()


def run(*arguments):
    """What the program prints as JSON, and its peak of memory in MiB."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [PROGRAM, *arguments, "--json"], stdout=subprocess.PIPE, stderr=errors
        )
        answer = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        if status != 0:
            errors.seek(0)
            sys.exit(errors.read().decode().strip().splitlines()[-1])
    return json.loads(answer), usage.ru_maxrss // 1024


def row(name):
    steps = 20 if run("models", name)[0]["multiply_adds"] > 1e9 else 60
    with tempfile.TemporaryDirectory() as folder:
        output = os.path.join(folder, "run")
        summary, memory = run(
            *("train", name, "--dataset", "cifar100", "--data-dir", DATA, "--output", output),
            *("--limit-train", str(64 * steps), "--limit-test", "1000", "--epochs", "1"),
            *("--batch-size", "64", "--seed", "0"),
        )
        with open(os.path.join(output, "metrics.jsonl")) as lines:
            epoch = json.loads(lines.readline())
    recipe = run("train", name, "--dry-run")[0]["recipe"]

    def speed(kind):
        bench, _ = run("bench", kind, name, "--batch-size", "64", "--steps", "5")
        return f"{bench['images_per_second']:,.0f}"

    return [
        f"`{name}`",
        f"{summary['params']:,}",
        f"{recipe['opt']}, {recipe['lr']:g}",
        str(steps),
        f"{epoch['train_loss']:.3f}",
        f"{summary['final_loss']:.3f}",
        speed("train"),
        speed("infer"),
        f"{memory:,}",
    ]


def main():
    columns = [
        *("network", "parameters", "optimizer, rate", "steps", "training loss", "test loss"),
        *("training, img/s", "evaluating, img/s", "peak, MiB"),
    ]
    print("|", " | ".join(columns), "|")
    print("| --- | ---: | --- |" + " ---: |" * 6)
    for name in ONLY or NETWORKS:
        print("|", " | ".join(row(name)), "|", flush=True)


PROGRAM, DATA, *ONLY = sys.argv[1:]
main()
