"""One graph at a time in a folder; what runs beside it, and how it stops."""

import signal
import subprocess
import sys
from contextlib import suppress
from typing import IO, Any

from pipeline.system.files import RESULTS
from pipeline.system.locks import hold, holder

LOCK = RESULTS / ".graph.lock"


def alone() -> IO[str]:
    """Be the only graph that runs in this folder, for as long as what is returned is kept."""
    lock = hold(LOCK)
    if lock is None:
        sys.exit(f"another graph runs in this folder: {holder(LOCK)}; wait for it, or end it")
    return lock


def idle() -> bool:
    """Whether no graph runs in this folder, not even this process's own."""
    lock = hold(LOCK)
    if lock is not None:
        lock.close()
    return lock is not None


def pass_on_stops(*, besides: list[subprocess.Popen | None]) -> None:
    """On SIGTERM the jobs write their checkpoints and leave; Snakemake alone would wait for their ends."""
    import psutil

    snakemake = signal.getsignal(signal.SIGTERM)
    spared = {each.pid for each in besides if each is not None}

    def stop(number: int, frame: Any) -> None:
        if callable(snakemake):
            snakemake(number, frame)
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if child.pid not in spared and not child.children():
                    child.send_signal(number)

    signal.signal(signal.SIGTERM, stop)
