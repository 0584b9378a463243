"""Resolve the settings of `engine` that are `auto`, by the hardware and by the length of a run."""

import shutil
from collections.abc import Callable

import torch
from torch import Tensor, nn

from pipeline.compute import distributed
from pipeline.compute.device import COMPILER
from pipeline.compute.winograd import library
from pipeline.config.params import Engine
from pipeline.config.runs import Run

Loss = Callable[..., Tensor]
COMPILED_FROM = 2000  # steps; shorter runs do not win back the compilation


def precision(engine: Engine, device: torch.device) -> str:
    """bf16 where the hardware does it natively, fp32 elsewhere."""
    if engine.precision != "auto":
        return engine.precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if torch.cpu._is_amx_tile_supported() else "fp32"


def on_device(engine: Engine, device: torch.device) -> bool:
    """Whether a data set that is held in memory lies on the device rather than the host."""
    return device.type == "cuda" if engine.images == "auto" else engine.images == "device"


def compiles(engine: Engine, device: torch.device, spec: Run, steps: int) -> bool:
    """Whether torch compiles a training: half a minute or more, which only long runs win back."""
    if spec.objective.options.in_parts:
        return False
    if engine.compile != "auto":
        return engine.compile == "always"
    gains = device.type == "cuda" or precision(engine, device) == "bf16"
    return gains and steps >= COMPILED_FROM and distributed.RANKS == 1 and shutil.which(COMPILER) is not None


def compiled(model: nn.Module, loss_of: Loss, device: torch.device) -> Loss:
    """Compile at the first call: on a GPU the loss, without CUDA graphs; on a CPU the model alone.

    fallback_random lets dropout draw as it does uncompiled.
    """
    import torch._inductor.config as inductor

    if shutil.which(COMPILER) is None:
        raise ValueError(f"engine.compile: no {COMPILER} installed; install it or set engine.compile: never")
    inductor.fallback_random = True
    if device.type == "cuda":
        return torch.compile(loss_of, dynamic=False)
    model.compile(dynamic=False)
    return loss_of


def by_winograd(engine: Engine, device: torch.device) -> bool:
    """Whether winograd.cpp computes the convolutions that it suits; `auto`: where it is faster than torch."""
    possible, choice = device.type == "cpu" and precision(engine, device) == "fp32", engine.convolution
    if choice == "auto":
        return possible and torch.backends.cpu.get_cpu_capability() == "AVX2"  # not with AVX-512
    if choice == "winograd" and not possible:
        raise ValueError("engine.convolution: winograd is for a CPU in fp32; set auto or torch")
    if choice == "winograd" and library() is None:
        raise ValueError(f"engine.convolution: {COMPILER} cannot compile winograd.cpp; set auto or torch")
    return choice == "winograd"
