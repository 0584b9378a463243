"""Which device a process computes on: of several GPUs, one that nobody else on this machine has taken."""

import ctypes
import os
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from pipeline.compute import distributed

COMPILER = os.environ.get("CXX", "g++")  # for what is compiled for this very CPU
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of <malloc.h>
_held: list[FileLock] = []  # until the process ends, however it ends


@cache
def device_at_hand() -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    number = distributed.LOCAL
    if distributed.RANKS == 1:
        number = untaken(
            [str(torch.cuda.get_device_properties(i).uuid) for i in range(torch.cuda.device_count())]
        )
    torch.cuda.set_device(number)  # or every process would open a context on the first GPU, too
    return torch.device("cuda", number)


def untaken(names: list[str]) -> int:
    """The first that is free, and then is not; where all are taken, any."""
    for number, name in enumerate(names):
        lock = FileLock(Path(tempfile.gettempdir()) / f"training-on-{name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        _held.append(lock)
        return number
    return os.getpid() % len(names)


def prepare(threads: int) -> None:
    """Set up this process: threads, fp32 that is fp32, memory that is reused.

    cuDNN would round what fp32 convolutions read to TF32. glibc gives each large block back to the system
    and takes it again page by page: two thirds of the time that a batch of photographs takes.
    """
    torch.set_num_threads(threads)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    with suppress(AttributeError, OSError, TypeError):  # another C library
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
