"""Checks the event files of a run with TensorBoard's own reader.

    cargo build --release
    pip install tensorboard pillow
    python tests/event_files.py target/release/mish

Trains a small network on the synthetic set with `--tensorboard --histograms`, continues it twice (once after
its first file lost its end and its state went back, as after SIGKILL), and reads the folder with
EventAccumulator. Every value is compared with metrics.jsonl, which holds the same figures, and printed.
"""

import io
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

PROGRAM = sys.argv[1]
OPTIONS = """
    --dataset synthetic --limit-train 320 --limit-test 40 --batch-size 32 --threads 2 --sched constant --lr 0.01
    --tensorboard --histograms --log-interval 4 --no-report
""".split()
STEPS = 10  # in an epoch
FIGURES = {
    "epoch/number": "epoch",
    "epoch/lr": "lr",
    "epoch/train_loss": "train_loss",
    "epoch/train_top1": "train_top1",
    "epoch/images_per_second": "images_per_second",
    "epoch/seconds": "seconds",
    "eval/loss": "loss",
    "eval/top1": "top1",
    "eval/top5": "top5",
}


def train(*arguments):
    subprocess.run([PROGRAM, "train", *arguments, *OPTIONS], check=True, capture_output=True)


def read(run):
    # Without limits: the defaults keep a sample of the values.
    kinds = ("scalars", "histograms", "images", "tensors", "compressedHistograms")
    events = EventAccumulator(str(run / "tensorboard"), size_guidance=dict.fromkeys(kinds, 0))
    return events.Reload()


def check(run, epochs, files):
    """Compares all values of a run of `epochs` epochs, which `files` processes trained."""
    found = sorted(path.name for path in (run / "tensorboard").iterdir())
    assert len(found) == files, found
    events = read(run)
    tags = events.Tags()
    records = [json.loads(line) for line in open(run / "metrics.jsonl")]
    assert len(records) == epochs
    for tag, name in FIGURES.items():
        scalars = events.Scalars(tag)
        assert [scalar.step for scalar in scalars] == [record["step"] for record in records], tag
        expected = numpy.array([record[name] for record in records], numpy.float32)
        assert numpy.array_equal(numpy.array([s.value for s in scalars], numpy.float32), expected), tag
    logged = [step for step in range(1, epochs * STEPS + 1) if step % 4 == 0]
    for tag in ("train/loss", "train/lr", "train/images_per_second"):
        scalars = events.Scalars(tag)
        assert [scalar.step for scalar in scalars] == logged, (tag, [s.step for s in scalars])
        assert all(numpy.isfinite(scalar.value) for scalar in scalars), tag
    assert {scalar.value for scalar in events.Scalars("train/lr")} == {float(numpy.float32(0.01))}
    assert set(tags["scalars"]) == {*FIGURES, "train/loss", "train/lr", "train/images_per_second"}

    histograms = [tag for tag in tags["histograms"] if tag.startswith("pre_activations/")]
    assert histograms and histograms == tags["histograms"]
    for tag in histograms:
        values = events.Histograms(tag)
        assert [value.step for value in values] == [record["step"] for record in records], tag
        for value in values:
            histogram = value.histogram_value
            assert histogram.num == sum(histogram.bucket) > 0
            assert histogram.min <= histogram.sum / histogram.num <= histogram.max
            assert list(histogram.bucket_limit) == sorted(histogram.bucket_limit)

    (image,) = events.Images("train/images")
    sheet = Image.open(io.BytesIO(image.encoded_image_string))
    assert (image.step, image.width, image.height) == (0, *sheet.size) and sheet.mode == "RGB"
    texts = {tag: events.Tensors(f"{tag}/text_summary") for tag in ("hyperparameters", "layers")}
    for tag, word in (("hyperparameters", b"| lr | 0.01 |"), ("layers", b"| Linear |")):
        assert word in texts[tag][-1].tensor_proto.string_val[0], tag
        assert events.SummaryMetadata(f"{tag}/text_summary").plugin_data.plugin_name == "text"

    print(f"{epochs} epochs, {files} files: {', '.join(found)}")
    for tag in sorted(tags["scalars"]):
        values = ", ".join(f"{s.step}: {s.value:.5g}" for s in events.Scalars(tag))
        print(f"  {tag}: {values}")
    for tag in histograms:
        values = [event.histogram_value for event in events.Histograms(tag)]
        print(f"  {tag}: " + ", ".join(f"{v.num:.0f} in [{v.min:.3g}, {v.max:.3g}]" for v in values))
    print(f"  train/images: {sheet.size[0]} x {sheet.size[1]} pixels")


def main():
    with tempfile.TemporaryDirectory() as folder:
        run, kept = pathlib.Path(folder) / "run", pathlib.Path(folder) / "kept"
        train("mlp_2x8", "--epochs", "2", "--output", str(run))
        check(run, 2, 1)
        shutil.copytree(run, kept)
        train("--resume", str(run), "--epochs", "3")
        check(run, 3, 2)
        # A process that was killed after epoch 3: its last record is cut off, and the state is that of epoch 2.
        for path in kept.iterdir():
            if path.is_file():
                shutil.copy(path, run)
        last = max((run / "tensorboard").iterdir())
        last.write_bytes(last.read_bytes()[:-5])
        train("--resume", str(run), "--epochs", "4")
        check(run, 4, 3)
    print("all values are those of metrics.jsonl")


main()
