"""A short training of each objective on each network: digests of weights, losses of epochs, metrics."""

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
from conftest import laid_out, set_params, working_in

from golden import changes, forget, machine, names, read, write
from pipeline.config.reading import load
from pipeline.data.writer import shard
from pipeline.evaluate import evaluate
from pipeline.training.run import train
from pipeline.training.weights import load_parts
from pipeline.work.graph import Graph
from pipeline.work.identity import Measurement, Training

RUNS = (  # with their pre-trainings these use every objective and network of params.yaml
    "pretrain.imagenet-patch",
    "pretrain.imagenet-big",
    "pretrain.imagenet-vehicle",
    "pretrain.imagenet-alexnet",
    "pretrain.dong2017-imagenet-context",
    "pretrain.dong2017-wide-sgd-decay",
    "pretrain.mnist-filters-d",
    "pretrain.mnist-unpool-2",
    "pretrain.mnist-shift",
    "pretrain.alexnet-swwae-3",
    "finetune.cifar10-ours",
    "finetune.voc2007-own-pixel",
    "finetune.voc2007-imagenet-animal",
    "finetune.voc2012-encoder-decoder",
    "finetune.dong2017-4000-full",
    "finetune.dong2017-probe-full",
    "finetune.dong2017-wide-sgd",
    "finetune.mnist-cae-1k",
    "finetune.mnist-100-swwae-validated",
    "finetune.stl10-swwae",
    "finetune.vgg-ladder",
)
SMALL = {  # of conftest's tiny scale: stacks use up 19 pixels, and two of 24 images have to show a dog
    "scales__smoke__side": 26,
    "scales__smoke__test_images": 64,
}
ENGINE = {
    "engine__threads": 1,
    "engine__precision": "fp32",
    "engine__images": "host",
    "engine__compile": "never",
    "engine__convolution": "torch",
}
# Values that rounding moves a little. Counts and ranks of images may jump: networks of six steps hardly
# prefer one class to another.
SMOOTH = re.compile(
    r"(loss-\d+|psnr|psnr_(\d+|gain|masked|corrupted)|error_\d+|reconstruction|tone_kept|wh(at|ere)_\w+)$"
)
TIMES = 10  # times the spread between recorded kinds is allowed to another kind
ROUNDING = 1e-4  # relative and absolute tolerance in any case


def trainings(graph: Graph) -> list[Training]:
    """RUNS and their lineages, each after the one that it starts from."""
    ends = [graph.training(*label.split("."), 0) for label in RUNS]
    return list({each.identity: each for end in ends for each in reversed(end.lineage)}.values())


def found(capabilities: list[str]) -> dict[str, list[str]]:
    """The lines of each record, by its name; computed by a process for each capability."""
    return {f"trainings/{machine.kind(each)}.txt": _computed(each) for each in capabilities}


def differences(capabilities: list[str]) -> list[str]:
    return [line for name, lines in found(capabilities).items() for line in compared(name, lines)]


def renew() -> None:
    """Record the kinds that this machine can run as; if a number has moved, delete other machines' records."""
    every = found(machine.capabilities())
    if any(compared(name, lines) for name, lines in every.items()):
        forget("trainings")
    for name, lines in every.items():
        write(name, lines)


def compared(name: str, lines: list[str]) -> list[str]:
    """Differences from the record of this kind of machine; from other kinds, differences beyond rounding."""
    if recorded := read(name):
        return changes(recorded, lines)
    return beyond_rounding([read(each) for each in names("trainings")], lines)


def beyond_rounding(records: list[list[str]], lines: list[str]) -> list[str]:
    known, now = [values(each) for each in records], values(lines)
    if not known:
        return ["no trainings are recorded; make golden"]
    if differ := changes(list(known[0]), list(now)):
        return differ
    beyond = []
    for name, value in now.items():
        if SMOOTH.search(name):
            others = [float(each[name]) for each in known]
            least, most = min(others), max(others)
            allowed = TIMES * (most - least) + ROUNDING * max(1, abs(most))
            if not least - allowed <= float(value) <= most + allowed:
                beyond.append(
                    f"{name} {value}; {least:.9g} to {most:.9g} is recorded, up to {allowed:.1g} away"
                )
    return beyond


def values(lines: list[str]) -> dict[str, str]:
    return dict(line.rsplit(" ", 1) for line in lines)


def _computed(capability: str) -> list[str]:
    tests = Path(__file__).parents[1]
    paths = {"PYTHONPATH": f"{tests.parent}{os.pathsep}{tests}"}
    done = subprocess.run(
        [sys.executable, "-m", "golden.trainings"],
        env={**os.environ, **machine.environment(capability), **paths},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"python -m golden.trainings with {capability} failed:\n{done.stderr[-2000:]}")
    return done.stdout.splitlines()


def compute() -> list[str]:
    """Train and measure in this process, in a copy of the project."""
    lines = []
    with tempfile.TemporaryDirectory() as folder, working_in(laid_out(Path(folder) / "project")) as project:
        set_params(project, **SMALL, **ENGINE)
        graph = Graph(load())
        for training in trainings(graph):
            measured = [graph.measurement(f"{training.label}.{name}", 0) for name in training.spec.evaluate]
            for shards in {training.shards, *(each.shards for each in measured)}:
                if not shards.manifest.exists():
                    shard(shards)
            train(graph, training.stage, training.name, 0)
            lines += trained(training)
            for each in measured:
                evaluate(graph, each.name, 0)
                lines += metrics(each)
    return lines


def trained(training: Training) -> list[str]:
    parts = load_parts(training)
    weights = {f"{part}.{name}": each.numpy() for part in parts for name, each in parts[part].items()}
    losses = json.loads(training.record.read_text())["epoch_losses"]
    return [
        f"{training.label} weights {digest(weights)}",
        *(f"{training.label} loss-{epoch} {loss!r}" for epoch, loss in enumerate(losses, start=1)),
    ]


def metrics(measurement: Measurement) -> list[str]:
    """The metrics, and a digest of the arrays behind figures."""
    record = json.loads(measurement.metrics.read_text())
    lines = [f"{measurement.name} {name} {value!r}" for name, value in sorted(record["metrics"].items())]
    arrays = measurement.folder / "arrays.npz"
    return lines + ([f"{measurement.name} arrays {digest(np.load(arrays))}"] if arrays.exists() else [])


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """Digest of names, types, shapes and bytes."""
    whole = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        whole.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
    return whole.hexdigest()[:16]


if __name__ == "__main__":
    with redirect_stdout(sys.stderr):  # where stages print what they measure
        lines = compute()
    print(*lines, sep="\n")
