"""How the work is done: by what the hardware does natively and how long a run is, unless params.yaml says."""

import shutil

import torch
from torch import nn

from pipeline.compute import distributed
from pipeline.compute.device import COMPILER
from pipeline.compute.winograd import library
from pipeline.config.params import Engine
from pipeline.config.runs import Run

COMPILED_FROM = 2000  # steps


def precision(engine: Engine, device: torch.device) -> str:
    """bf16 where the hardware does it natively, fp32 elsewhere."""
    if engine.precision != "auto":
        return engine.precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if torch.cpu._is_amx_tile_supported() else "fp32"


def on_device(engine: Engine, device: torch.device) -> bool:
    """Whether a set that is held whole lies on the device, and not beside it."""
    return device.type == "cuda" if engine.images == "auto" else engine.images == "device"


def compiles(engine: Engine, device: torch.device, spec: Run, steps: int) -> bool:
    """Whether torch compiles the network: half a minute or more, which is won back by long runs alone."""
    if spec.objective.options.in_parts:
        return False
    if engine.compile != "auto":
        return engine.compile == "always"
    long = steps >= COMPILED_FROM and device.type == "cpu" and precision(engine, device) == "bf16"
    return long and distributed.RANKS == 1 and shutil.which(COMPILER) is not None


def compiled(model: nn.Module, device: torch.device) -> None:
    """Have it compiled when it is called first; layers that draw go on drawing as they do without."""
    import torch._inductor.config as inductor

    if device.type == "cpu" and shutil.which(COMPILER) is None:
        raise ValueError(f"engine.compile: no {COMPILER} is here; install it, or set engine.compile: never")
    inductor.fallback_random = True
    model.compile(dynamic=False, mode="reduce-overhead" if device.type == "cuda" else None)


def by_winograd(engine: Engine, device: torch.device) -> bool:
    """Whether winograd.cpp computes what it can of the convolutions: where it is faster than torch."""
    fits, wanted = device.type == "cpu" and precision(engine, device) == "fp32", engine.convolution
    if wanted == "auto":
        return fits and torch.backends.cpu.get_cpu_capability() == "AVX2"  # not with AVX-512
    if wanted == "winograd" and not fits:
        raise ValueError("engine.convolution: winograd is for a CPU in fp32; set auto or torch")
    if wanted == "winograd" and library() is None:
        raise ValueError(f"engine.convolution: no {COMPILER} here can compile it; set auto or torch")
    return wanted == "winograd"
