"""Trains one network of each family briefly on CIFAR-100 and prints the table of families.md.

    cargo build --release
    python tests/families.py target/release/mish cifar100 > families.md

Each network trains with its own recipe (`mish train NAME --dry-run` shows it), Mish and seed 0, for one pass
and one cycle of the schedule over the first images: as many as correspond to 6 trillion multiply-adds forward,
at most 25,600. Batches are small, for many steps, and the learning rate scales with the batch size. The
training loss is the mean over the steps; test loss and top-1 are measured on the first 1,000 test images after
the last step. Guessing has a loss of ln(100) = 4.605 and a top-1 of 1 %. Peak memory is measured on the training
process, images per second by `mish bench train` and `mish bench infer` with batches of 64. The script
needs no packages. Its table goes into docs/verification/families.md.
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
    """Runs the program; returns its JSON output and its peak memory in MiB."""
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


def plan(name):
    """The number of training images and the batch size."""
    form = next(entry["cifar"] for entry in run("models")[0] if entry["name"] == name)
    images = int(min(25_600, 6e12 / form["multiply_adds"]))
    batch = 64 if images == 25_600 else 16
    return images // batch * batch, batch


def row(name):
    images, batch = plan(name)
    recipe = run("train", name, "--dry-run")[0]["recipe"]
    rate = recipe["lr"] * batch / recipe["batch_size"]
    with tempfile.TemporaryDirectory() as folder:
        output = os.path.join(folder, "run")
        summary, memory = run(
            *("train", name, "--dataset", "cifar100", "--data-dir", DATA, "--output", output),
            *("--limit-train", str(images), "--limit-test", "1000", "--epochs", "1"),
            *("--batch-size", str(batch), "--lr", str(rate), "--seed", "0"),
        )
        with open(os.path.join(output, "metrics.jsonl")) as lines:
            epoch = json.loads(lines.readline())

    def speed(kind):
        bench, _ = run("bench", kind, name, "--batch-size", "64", "--steps", "5")
        return f"{bench['images_per_second']:,.0f}"

    return [
        f"`{name}`",
        f"{summary['params']:,}",
        f"{recipe['opt']}, {rate:g}",
        f"{images // batch} of {batch}",
        f"{epoch['train_loss']:.3f}",
        f"{summary['final_loss']:.3f}",
        f"{100 * summary['final_top1']:.1f}",
        speed("train"),
        speed("infer"),
        f"{memory:,}",
    ]


def main():
    columns = [
        *("network", "parameters", "optimizer, rate", "steps", "training loss", "test loss"),
        *("test top-1, %", "training, img/s", "evaluating, img/s", "peak, MiB"),
    ]
    print("|", " | ".join(columns), "|")
    print("| --- | ---: | --- |" + " ---: |" * 7)
    for name in ONLY or NETWORKS:
        print("|", " | ".join(row(name)), "|", flush=True)


PROGRAM, DATA, *ONLY = sys.argv[1:]
main()
