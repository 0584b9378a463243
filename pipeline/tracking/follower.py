"""The process beside all runs that hands over to MLflow what happens."""

import os
import subprocess
import sys
import time
from contextlib import suppress

FOLLOWED = "PIPELINE_FOLLOWED"  # set by a process that sees to what the runs below it tell


def follow() -> subprocess.Popen | None:
    """Hand over what happens until this process has ended; where one above it does so already, nothing.

    The follower knows the end, whatever it was, by the end of its standard input.
    """
    if FOLLOWED in os.environ:
        return None
    words = [sys.executable, "-m", "pipeline.track", "--follow"]
    return subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True)


def finish(followers: list[subprocess.Popen | None], *, within: float | None = None) -> None:
    """Let them hand over the rest, and wait for it; after so many seconds they go on alone."""
    told = [follower for follower in followers if follower is not None]
    until = time.monotonic() + (within or 0)
    for follower in told:
        assert follower.stdin is not None
        follower.stdin.close()
    for follower in told:
        with suppress(subprocess.TimeoutExpired):
            follower.wait(None if within is None else max(0.0, until - time.monotonic()))
