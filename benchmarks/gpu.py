"""What only a CUDA GPU shows: how much of its matrix rate a training uses, and what feeding it costs."""

import time
from collections.abc import Iterator

import torch

from benchmarks.pictures import Pictures
from benchmarks.timing import Row, in_turn, rate
from benchmarks.training import Ours, Repeated
from pipeline.models.count import count
from pipeline.params import Params

SHAPES = {  # run, n, side of the pictures, batch, least share of the matrix rate
    "Network-1 n=64, 29 px": ("cifar10-pixel", 64, 32, 512, 0.35),
    "Network-1 n=128, 29 px": ("cifar10-pixel", 128, 32, 512, 0.45),
    "Network-2, 225 px": ("imagenet-full", 64, 256, 64, 0.45),
}
STEPS = 50


def rows(params: Params) -> Iterator[Row]:
    for what, (run, n, side, batch, least) in SHAPES.items():
        used, fed = f"pre-training on a GPU, {what}, batch {batch}", f"data on a GPU, {what}"
        matrix, fixed = "the measured bf16 matrix rate", "a loop on one fixed batch"
        if not torch.cuda.is_available():
            yield Row(what=used, against=matrix, bound=least, note="no CUDA here")
            yield Row(what=fed, against=fixed, bound=0.97, note="no CUDA here")
            continue
        ours = Ours(params, Pictures(params, side=side, count=8 * batch), run, n=n, batch=batch)
        found = in_turn(
            lambda ours=ours: ours.train(STEPS), lambda ours=ours: ours.train(STEPS, Repeated), repeats=3
        )
        layers = count(ours.model.cpu(), side=ours.spec.augment.crop, channels=3)
        done, peak = found.ours * 3 * sum(each.flops for each in layers), matrix_rate()
        yield Row(
            what=used,
            against=matrix,
            ours=f"{rate(found.ours)}, {done / 1e12:.0f} TFLOP/s",
            other=f"{peak / 1e12:.0f} TFLOP/s",
            ratio=done / peak,
            bound=least,
        )
        yield Row(
            what=fed,
            against=fixed,
            ours=rate(found.ours),
            other=rate(found.other),
            ratio=found.ratio,
            bound=0.97,
        )


def matrix_rate(side: int = 8192, times: int = 50) -> float:
    """FLOP/s of a large product of bf16 matrices."""
    a, b = (torch.randn(side, side, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for _ in range(5):
        a @ b
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(times):
        a @ b
    torch.cuda.synchronize()
    return times * 2 * side**3 / (time.perf_counter() - began)
