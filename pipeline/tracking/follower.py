"""The process that delivers event logs to MLflow while runs go on."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

FOLLOWED = "PIPELINE_FOLLOWED"  # set by a process that delivers the events of its child processes


def follow() -> subprocess.Popen | None:
    """Start a follower that delivers until this process ends; None if a parent process has one.

    Its standard input closes however this process ends, which stops the follower.
    """
    if FOLLOWED in os.environ:
        return None
    words = [sys.executable, "-m", "pipeline.track", "--follow"]
    return subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True)


@contextmanager
def followed(who: str) -> Iterator[None]:
    """One follower for all event logs that this process writes at once."""
    outer, follower = os.environ.get(FOLLOWED), follow()
    os.environ[FOLLOWED] = f"by {who}"
    try:
        yield
    finally:
        os.environ.pop(FOLLOWED)
        if outer is not None:
            os.environ[FOLLOWED] = outer
        finish([follower], within=0)


def finish(followers: list[subprocess.Popen | None], *, within: float | None = None) -> None:
    """Close their input and wait until they have delivered; after `within` seconds leave them running."""
    running = [follower for follower in followers if follower is not None]
    until = time.monotonic() + (within or 0)
    for follower in running:
        assert follower.stdin is not None
        follower.stdin.close()
    for follower in running:
        with suppress(subprocess.TimeoutExpired):
            follower.wait(None if within is None else max(0.0, until - time.monotonic()))
