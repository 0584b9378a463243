"""Choose the device: of several GPUs, one that no other process on this machine has locked."""

import ctypes
import os
import resource
import sys
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from pipeline.compute import distributed
from pipeline.config.params import Engine

COMPILER = os.environ.get("CXX", "g++")  # compiles for this machine's CPU
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of <malloc.h>
_held: list[FileLock] = []  # the system releases them when the process ends, even by a kill


@cache
def device_at_hand() -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    number = distributed.LOCAL
    if distributed.RANKS == 1:
        number = untaken(
            [str(torch.cuda.get_device_properties(i).uuid) for i in range(torch.cuda.device_count())]
        )
    torch.cuda.set_device(number)  # or every process would open a context on the first GPU as well
    return torch.device("cuda", number)


def peak_memory(device: torch.device) -> dict[str, int]:
    """Bytes that this process took at most, on the host and on its GPU."""
    unit = 1 if sys.platform == "darwin" else 1024
    peak = {"host": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
    return peak | ({"gpu": torch.cuda.max_memory_allocated(device)} if device.type == "cuda" else {})


def untaken(names: list[str]) -> int:
    """Lock the first free GPU and return its number; if none is free, share one."""
    for number, name in enumerate(names):
        lock = FileLock(Path(tempfile.gettempdir()) / f"training-on-{name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        _held.append(lock)
        return number
    return os.getpid() % len(names)


def prepare(engine: Engine, *, one_shape: bool = False) -> None:
    """Set up this process: threads, fp32 without TF32, determinism, reuse of freed memory.

    cuDNN would round the inputs of fp32 convolutions to TF32. With `one_shape` of batches it times its
    algorithms for each convolution and keeps the fastest, unless runs have to repeat to the bit. glibc
    returns large blocks to the system and faults them in again page by page: two thirds of the time of a
    batch of photographs.
    """
    torch.set_num_threads(engine.threads)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.benchmark = one_shape and not engine.deterministic
    torch.backends.cudnn.deterministic = engine.deterministic
    if torch.are_deterministic_algorithms_enabled() != engine.deterministic:
        torch.use_deterministic_algorithms(engine.deterministic)  # takes 1.4 s: imports torch's compiler
    if engine.deterministic:
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a slow check
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # read with the first product of matrices
    with suppress(AttributeError, OSError, TypeError):  # another C library
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
