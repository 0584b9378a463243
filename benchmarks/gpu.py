"""On a CUDA GPU: the share of its matrix rate that a training uses, and the cost of feeding it."""

import time
from collections.abc import Iterator
from dataclasses import replace

import torch

from benchmarks.pictures import Pictures
from benchmarks.timing import Row, medians, rate
from benchmarks.training import Ours, Repeated
from pipeline.config.params import Params
from pipeline.models.layer_costs import count

SHAPES = {  # run, n, side of images, required share of the matrix rate
    "Network-1 n=64, 29 px": ("cifar10-pixel", 64, 32, 0.35),
    "Network-1 n=128, 29 px": ("cifar10-pixel", 128, 32, 0.45),
    "Network-2, 225 px": ("imagenet-full", 64, 256, 0.45),
}
ROW = {"pretrain": "cifar10-pixel", "finetune": "cifar10-ours"}  # dong2016's Table 4, from data
CIFAR = 50_000  # images
STEPS, REPEATS = 100, 3
PATHS = {  # engine.compile and engine.capture
    ("never", "never"): "",
    ("never", "auto"): ", recorded",
    ("always", "auto"): ", compiled and recorded",
}


def rows(params: Params) -> Iterator[Row]:
    here = torch.cuda.is_available()
    missing, matrix = "" if here else "no CUDA here", "the measured bf16 matrix rate"
    peak = matrix_rate() if here else 0.0
    for (compile, capture), how in PATHS.items():
        engine = replace(params.engine, compile=compile, capture=capture)
        paths = replace(params, engine=engine)
        for what, (run, n, side, least) in SHAPES.items():
            batch = params.pretrain[run].batch
            used = f"pre-training on a GPU, {what}, batch {batch}{how}"
            fed = f"data on a GPU, {what}, batch {batch}{how}"
            fixed = "a loop on one fixed batch"
            if not here:
                yield Row(what=used, against=matrix, bound=least, note=missing)
                yield Row(what=fed, against=fixed, bound=0.97, note=missing)
                continue
            ours = Ours(paths, Pictures(params, side=side, count=8 * batch), run, n=n, batch=batch)
            timed = medians([[ours.pace(STEPS), ours.pace(STEPS, Repeated)] for _ in range(REPEATS)])
            layers = count(ours.model.cpu(), side=ours.spec.augment.crop, channels=3)
            done = timed.ours * 3 * sum(layer.flops for layer in layers)
            yield Row(
                what=used,
                against=matrix,
                ours=f"{rate(timed.ours)}, {done / 1e12:.0f} TFLOP/s",
                other=f"{peak / 1e12:.0f} TFLOP/s",
                ratio=done / peak,
                bound=least,
            )
            yield Row(
                what=fed,
                against=fixed,
                ours=rate(timed.ours),
                other=rate(timed.other),
                ratio=timed.ratio,
                bound=0.97,
            )
        seconds = whole_row(paths) if here else 0.0
        yield Row(
            what=f"data-driven CIFAR-10 row, n=64, by the rates of its two trainings{how}",
            against="5 minutes",
            ours=f"{seconds:.0f} s" if here else "",
            other="300 s",
            ratio=seconds / 300 if here else None,
            bound=1.0,
            at_most=True,
            note=missing,
        )


def whole_row(params: Params) -> float:
    """Seconds of all epochs of a pre-training and its fine-tuning, at the paper's scale."""
    seconds = 0.0
    for stage, run in ROW.items():
        spec = getattr(params, stage)[run]
        pictures = Pictures(params, side=32, count=8 * spec.batch)
        ours = Ours(params, pictures, run, n=64, batch=spec.batch, stage=stage)
        seconds += spec.epochs * CIFAR / ours.pace(STEPS)
    return seconds


def matrix_rate(side: int = 8192, times: int = 50) -> float:
    """Measure FLOP/s of a large product of bf16 matrices."""
    a, b = (torch.randn(side, side, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for _ in range(5):
        a @ b
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(times):
        a @ b
    torch.cuda.synchronize()
    return times * 2 * side**3 / (time.perf_counter() - began)
