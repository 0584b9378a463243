"""How a stage is called: NAME, --seed, --scale; and how a slip is answered: in one line."""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any

from pipeline import progress
from pipeline.files import hold, holder
from pipeline.graph import RESULTS, Graph
from pipeline.params import Params, load

LOCK = RESULTS / ".graph.lock"


class Stopped(BaseException):
    """Ctrl-C or SIGTERM, taken at a moment when nothing is half-done."""


def run_stage(stage: str, work: Callable[[Graph, str, int], Any]) -> None:
    """`python -m pipeline.<stage> NAME --seed N --scale S`."""
    parser = argparse.ArgumentParser(prog=f"python -m pipeline.{stage}")
    parser.add_argument("name", help="of the run, data set or measurement")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scale", default=None, help="instead of the one that params.yaml names")
    given = parser.parse_args()

    def act() -> None:
        work(Graph(begun(given.scale)), given.name, given.seed)

    sys.exit(answered(f"{stage} {given.name}", act))


def begun(scale: str | None) -> Params:
    """What params.yaml says; long work that begins with it can be stopped, and says how far it is."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a cluster's word for Ctrl-C
    params = load(scale=scale)
    progress.every = params.engine.log_seconds
    return params


def run_rendering(stage: str, work: Callable[[Graph, str], Any], *, name: str) -> None:
    """`python -m pipeline.<stage> NAME --scale S`, for what is made of measurements."""
    from pipeline import papers

    parser = argparse.ArgumentParser(prog=f"python -m pipeline.{stage}")
    parser.add_argument("name", help=name)
    parser.add_argument("--scale", default=None, help="instead of the one that params.yaml names")
    given = parser.parse_args()

    def act() -> None:
        params = load(scale=given.scale)
        papers.check(params)
        work(Graph(params), given.name)

    sys.exit(answered(f"{stage} {given.name}", act))


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


def answered(who: str, act: Callable[[], Any]) -> int:
    """Do it; what the user can mend is said in one line, and the exit code is not zero."""
    debug = bool(os.environ.get("PIPELINE_TRACEBACK"))
    try:
        act()
    except (ValueError, OSError) as error:
        if debug:
            raise
        print(f"{who}: {_one_line(error)}", file=sys.stderr)
        return 1
    except MemoryError:
        print(f"{who}: out of memory; fewer jobs at once (--cores), or a smaller batch", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, Stopped):
        print(f"{who}: stopped; the same command goes on from what is written", file=sys.stderr)
        return 128 + signal.SIGINT
    return 0


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        where = f" ({error.filename})" if error.filename else ""
        return f"{error.strerror}{where}"
    return " ".join(str(error).split())
