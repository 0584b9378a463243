"""One process at a time: a locked file that names its holder, free once the holder ends, however it ends."""

import os
import sys
import time
from pathlib import Path
from typing import IO

from filelock import lock_descriptor


def hold(path: Path) -> IO[str] | None:
    """Lock a file until it is closed or this process ends; None where another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a+", encoding="utf-8")
    if not lock_descriptor(file.fileno(), blocking=False):
        file.close()
        return None
    file.truncate(0)
    file.write(f"process {os.getpid()} since {time.strftime('%Y-%m-%d %H:%M:%S')}: {' '.join(sys.argv)}")
    file.flush()
    return file


def holder(path: Path) -> str:
    """The process that holds a lock, since when, and its command."""
    return path.read_text(encoding="utf-8")
