"""One process at a time: a lock on a file that says who holds it."""

import fcntl
import os
import sys
import time
from pathlib import Path
from typing import IO


def hold(path: Path) -> IO[str] | None:
    """Hold a lock until the file is closed or this process ends, however it ends; None: another holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    file.truncate(0)
    file.write(f"process {os.getpid()} since {time.strftime('%Y-%m-%d %H:%M:%S')}: {' '.join(sys.argv)}")
    file.flush()
    return file


def holder(path: Path) -> str:
    """Who holds a lock, in its own words."""
    return path.read_text(encoding="utf-8")
