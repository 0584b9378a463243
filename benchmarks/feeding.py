"""Batches and shards: images per second, on one core unless said otherwise."""

import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks import peer
from benchmarks.pictures import Pictures
from benchmarks.timing import Row, in_turn, rate, seconds_of
from benchmarks.training import Ours
from pipeline.compute.device import prepare
from pipeline.config.params import Params
from pipeline.corruptions import CORRUPTIONS
from pipeline.data.window import Window

SHAPES = {29: (32, 1024, False), 89: (96, 512, False), 225: (256, 128, True)}  # crop: side, images, JPEG
LEAST = {29: 20.0, 89: None, 225: 3.0}  # required ratios; none for 89
TRAININGS = {  # crop: run, n, images per step
    29: ("cifar10-pixel", 16, 64),
    89: ("stl10-small", 64, 4),
    225: ("imagenet-full", 64, 2),
}
OPTIONS: dict[str, dict] = {
    "pixel_gaussian": {"sigma": (10, 50)},
    "patch_gaussian": {"sigma": (10, 50), "patch": 8},
    "big_block": {"low": 0.25, "high": 0.5},
    "small_blocks": {"fraction": 0.125, "count": 21},
}
BATCH = 64


def preparation(params: Params) -> Iterator[Row]:
    """Time gathering, cropping, mirroring and corrupting against one worker of the peer."""
    prepare(replace(params.engine, threads=1))
    cpu = torch.device("cpu")
    for crop, (side, count, jpeg) in SHAPES.items():
        pictures = Pictures(params, side=side, count=count, jpeg=jpeg)
        batches = pictures.batches(crop=crop, batch=BATCH)
        slowest = float("inf")
        for name, options in OPTIONS.items():
            few = peer.forever(
                peer.loader(pictures.folder / "train", crop=crop, corruption=name, batch=BATCH, workers=0)
            )

            def ours(name: str = name, options: dict = options, batches=batches) -> int:
                steps = max(2, 4096 // batches.batch * 29 // batches.augment.crop)
                for step in range(steps):
                    batch = batches.at(step, cpu)
                    generator = torch.Generator().manual_seed(step)
                    _ = CORRUPTIONS[name](batch.centred, **options, generator=generator) / batch.std
                return steps * batches.batch

            def other(few=few) -> int:
                next(few)
                return BATCH

            timed = in_turn(ours, other, repeats=5)
            slowest = min(slowest, timed.ours)
            yield Row(
                what=f"a batch at {crop} px: gather, crop, flip, {name}; a core",
                against="a worker of the peer's" + (" (decodes JPEG each time)" if jpeg else ""),
                ours=rate(timed.ours),
                other=rate(timed.other),
                ratio=timed.ratio,
                bound=LEAST[crop],
            )
        run, n, few_images = TRAININGS[crop]
        training = Ours(params, pictures, run, n=n, batch=few_images)
        training.train(1)
        step = statistics.median(seconds_of(lambda training=training: training.train(1)) for _ in range(3))
        yield Row(
            what=f"a batch at {crop} px, by the slowest of these, in a step of {run}, n={n}; a core",
            against="the step",
            ours=f"{1e3 / slowest:.3f} ms an image",
            other=f"{1e3 * step / few_images:.1f} ms an image",
            ratio=few_images / slowest / step,
            bound=0.05,
            at_most=True,
        )


def webdataset_of(pictures: Pictures) -> Iterator:
    import webdataset

    shards = [str(pictures.manifest.folder / shard["name"]) for shard in pictures.manifest.record["shards"]]
    decode = webdataset.WebDataset(shards, shardshuffle=False).decode("rgb8")
    return iter(decode.to_tuple("jpg" if pictures.jpeg else "ppm", "cls"))


def reading(params: Params) -> Iterator[Row]:
    """Time reading all shards into memory, as a stage does at its start."""
    for jpeg, least in ((False, 15.0), (True, 4.0)):
        pictures = Pictures(params, side=96 if jpeg else 32, count=2048 if jpeg else 8192, jpeg=jpeg)

        def ours(pictures: Pictures = pictures) -> int:
            return len(Window(pictures.manifest, list(range(len(pictures.manifest.record["shards"])))))

        def other(pictures: Pictures = pictures) -> int:
            return sum(1 for _ in webdataset_of(pictures))

        timed = in_turn(ours, other, repeats=5)
        yield Row(
            what=f"reading shards into memory, {pictures.side} px, {'JPEG' if jpeg else 'raw'}",
            against="webdataset's decode pipeline",
            ours=rate(timed.ours),
            other=rate(timed.other),
            ratio=timed.ratio,
            bound=least,
        )


def streaming(params: Params) -> Iterator[Row]:
    """Time streaming JPEG shards (windows, shuffling, crops, batches) against decoding alone."""
    pictures = Pictures(params, side=96, count=2048, jpeg=True)

    def ours() -> int:
        return streamed(pictures, window=512)

    def other() -> int:
        return sum(1 for _ in webdataset_of(pictures))

    timed = in_turn(ours, other, repeats=5)
    yield Row(
        what="streaming JPEG shards, 96 px, into batches",
        against="webdataset's decode pipeline, unshuffled, one by one",
        ours=rate(timed.ours),
        other=rate(timed.other),
        ratio=timed.ratio,
        bound=1.5,
    )


def streamed(pictures: Pictures, *, window: int) -> int:
    """Stream an epoch of batches with at most two windows of so many samples in memory."""
    from pipeline.data import manifest

    usual, manifest.WINDOW = manifest.WINDOW, window
    try:
        batches = pictures.batches(crop=29, batch=BATCH, stream=True)
        assert batches.images.streamed, "the shards are of one window"
        for step in range(batches.steps):
            batches.at(step, torch.device("cpu"))
    finally:
        manifest.WINDOW = usual
    return batches.steps * BATCH


def growth(params: Params) -> Iterator[Row]:
    """Ten times the images should take ten times the time, and for a streamed set the same memory."""
    few, many = (Pictures(params, side=32, count=count) for count in (2048, 20480))

    def whole() -> int:
        return streamed(many, window=1024)

    def tenth() -> int:
        """Repeat ten times from the shards, so that both sides run equally long."""
        return sum(streamed(few, window=1024) for _ in range(10))

    timed = in_turn(whole, tenth, repeats=5)
    yield Row(
        what="10x the images: time of an epoch of batches from shards",
        against="10x the time",
        ours=f"{many.count / timed.ours:.2f} s",
        other=f"{few.count / timed.other:.3f} s",
        ratio=1 / timed.ratio,
        bound=1.1,
        at_most=True,
    )
    one, ten = peak_megabytes(few), peak_megabytes(many)
    yield Row(
        what="10x the images of a streamed set: peak memory",
        against="the same",
        ours=f"{ten:.0f} MB",
        other=f"{one:.0f} MB",
        ratio=ten / one,
        bound=1.1,
        at_most=True,
    )


def peak_megabytes(pictures: Pictures) -> float:
    """Peak memory of a new process that streams these shards."""
    words = [sys.executable, "-m", "benchmarks.feeding", str(pictures.side), str(pictures.count)]
    root = Path(__file__).parents[1]
    import os

    done = subprocess.run(
        words, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


if __name__ == "__main__":
    from pipeline.config.reading import load

    side, count = map(int, sys.argv[1:])
    streamed(Pictures(load(Path(__file__).parents[1] / "params.yaml"), side=side, count=count), window=1024)
    # not getrusage's, which is inherited from the parent process
    print(int(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024)
