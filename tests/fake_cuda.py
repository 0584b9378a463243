"""Steps of trainings on CUDA tensors without memory, on a machine without a GPU.

FakeTensorMode computes shapes, types and devices alone, and refuses what a GPU would refuse. Autograd asks the CUDA
runtime for streams all the same: fake_cuda.c answers in its place.
"""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from conftest import command
from torch import nn
from torch._subclasses import FakeTensorMode
from torch._subclasses.fake_tensor import unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.compute.device import COMPILER
from pipeline.config.reading import load
from pipeline.config.typed import Choice
from pipeline.data.images import Images, images_of
from pipeline.data.subsets import subset
from pipeline.objectives import objective_of
from pipeline.training.loop import steps
from pipeline.training.run import batches_of
from pipeline.work.graph import Graph
from pipeline.work.identity import Training

SOURCE = Path(__file__).with_suffix(".c")
CUDA = torch.device("cuda", 0)
READS = (torch.ops.aten._local_scalar_dense, torch.ops.aten.nonzero, torch.ops.aten.is_pinned)


def stepped(folder: Path, *labels: str, planted: str = "pass") -> dict[str, str]:
    """Take two steps of each training in a process of its own: its host copies in the second, or an error.

    `planted` is code that runs before.
    """
    library = folder / "libcuda.so.1"  # dlopen takes a loaded library of this name for the driver
    words = [COMPILER, "-x", "c", "-shared", "-fPIC", f"-Wl,-soname,{library.name}"]
    subprocess.run([*words, str(SOURCE), "-o", str(library)], check=True)
    code = f"import sys, torch; {planted}; import fake_cuda; fake_cuda.main(sys.argv[1:])"
    paths = f"{Path(__file__).parent}:{Path(__file__).parents[1]}"
    done = command(
        *(sys.executable, "-c", code, *labels), folder=folder, PYTHONPATH=paths, LD_PRELOAD=str(library)
    )
    return dict(line.split(": ", 1) for line in done.stdout.splitlines())


def main(labels: list[str]) -> None:
    torch.cuda.is_bf16_supported = lambda *args, **kwargs: True  # it asks for the card's properties
    Images.crops = on_host(Images.crops)
    graph = Graph(load())
    for label in labels:
        try:
            copies = host_copies(graph.training(*label.split("."), 0))
            found = ", ".join(f"{count} {name}" for name, count in sorted(copies.items())) or "none"
        except Exception as error:
            found = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        print(f"{label}: {found}", flush=True)


def on_host(act: Callable[..., Any]) -> Callable[..., Any]:
    """Run with real tensors, since code on numpy arrays needs values."""

    def real(*args: Any, **options: Any) -> Any:
        with unset_fake_temporarily():
            return act(*args, **options)

    return real


class Fakes(FakeTensorMode):
    """Keep constants off the GPU, too: fake_cuda.c has no memory."""

    avoid_device_init = property(lambda self: True, lambda self, value: None)


class Copies(TorchDispatchMode):
    """Count operations that make the host wait for the GPU or the GPU for the host."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        given = [each for each in args if isinstance(each, torch.Tensor)]
        on = {each.device.type for each in given if each.dim() or func is torch.ops.aten._to_copy.default}
        if isinstance(result, torch.Tensor):
            on.add(result.device.type)
        indices = args[1] if func.overloadpacket is torch.ops.aten.index else ()
        on |= {each.device.type for each in indices if each is not None}
        if len(on) > 1 or (func.overloadpacket in READS and "cuda" in on):
            self.counts[func.overloadpacket.__name__] += 1
        return result


def host_copies(training: Training) -> Counter[str]:
    engine = replace(load().engine, precision="bf16", compile="never", images="device")
    spec = training.spec
    if hasattr(spec.objective.options, "weights"):  # which `prepare` would read from the device
        spec = replace(
            spec,
            objective=Choice(spec.objective.name, replace(spec.objective.options, weights=(1.0,) * 9)),
        )
    images = images_of(training, stream_above_gb=engine.stream_above_gb, on=CUDA)
    images.hold(list(range(len(images.manifest.windows))))
    labelled = subset(images, spec.data, seed=0)
    model = objective_of(spec).build(spec, images.manifest).to(memory_format=torch.channels_last)
    with Fakes(allow_non_fake_inputs=True):
        faked(model)
        running = steps(
            model,
            lambda batch, generator: objective_of(spec).loss(model, batch, spec, generator),
            batches_of(training, images, np.asarray(labelled)),
            spec,
            seed=0,
            owner={},
            folder=training.folder,
            engine=engine,
            device=CUDA,
            stopping=[],
        )
        next(running)
        with Copies() as copies:
            next(running)
        assert all(weights.is_cuda for weights in model.parameters())
    return copies.counts


def faked(model: nn.Module) -> None:
    """Put a model's tensors on the fake GPU; `model.to` would swap fake ones for real ones, which torch refuses."""

    def like(tensor: torch.Tensor) -> torch.Tensor:
        return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=CUDA)

    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = nn.Parameter(
                    like(parameter), requires_grad=parameter.requires_grad
                )
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = like(buffer)
