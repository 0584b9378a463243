"""Several trainings in one process, step by step in turn: on a GPU, kernels of one fill gaps of another."""

from collections.abc import Generator, Mapping
from typing import Any

import torch

from pipeline.system.signals import Stopped, stop_signals

Steps = Generator[None, None, Any]  # yields when its data are read, then after each step


def take_turns(trainings: Mapping[int, Steps], device: torch.device, stopping: list[int]) -> None:
    """Run the trainings of these seeds to their ends, each on a CUDA stream of its own.

    A training that fails ends alone, and its error is raised once the others have ended. Signals are appended
    to `stopping`, at which each training stops with a checkpoint.
    """
    several = len(trainings) > 1
    streams = {
        seed: torch.cuda.Stream(device) if several and device.type == "cuda" else None for seed in trainings
    }

    def turn(seed: int, steps: Steps) -> None:
        with torch.cuda.stream(streams[seed]):  # None: no change
            next(steps)

    running, ended, failed = dict(trainings), set[type[BaseException]](), dict[int, ValueError]()
    # Read the data before stop_signals, so that Ctrl-C interrupts it at once.
    for seed, steps in running.items():
        turn(seed, steps)
    with stop_signals(stopping):
        while running:
            for seed, steps in list(running.items()):
                try:
                    turn(seed, steps)
                    continue
                except (StopIteration, Stopped) as end:
                    ended.add(type(end))
                except ValueError as error:
                    failed[seed] = error
                del running[seed]
    if failed:
        if not several:
            raise next(iter(failed.values()))
        raise ValueError("; ".join(f"seed {seed}: {error}" for seed, error in failed.items()))
    if Stopped in ended:
        raise Stopped
