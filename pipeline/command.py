"""How a stage is called: NAME, --seed, --scale; and how a slip is answered: in one line."""

import argparse
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from pipeline import progress
from pipeline.graph import Graph
from pipeline.params import load


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
        graph = Graph(load(scale=given.scale))
        progress.every = graph.params.engine.log_seconds
        work(graph, given.name, given.seed)

    sys.exit(answered(f"{stage} {given.name}", act))


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
        print(f"{who}: stopped; the same command goes on from the last checkpoint", file=sys.stderr)
        return 128 + signal.SIGINT
    return 0


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        where = f" ({error.filename})" if error.filename else ""
        return f"{error.strerror}{where}"
    return " ".join(str(error).split())
