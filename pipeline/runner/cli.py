"""The stages' command line (NAME, --seed, --scale), and user errors as one line with an exit code."""

import argparse
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from pipeline.config.params import Params
from pipeline.config.reading import load
from pipeline.system import progress
from pipeline.system.signals import Stopped
from pipeline.work.graph import Graph


def run_stage(stage: str, work: Callable[..., Any], *, seeds: bool = False) -> None:
    """`python -m pipeline.<stage> NAME --seed N --scale S`; with `seeds`, --seed takes several."""
    parser = argparse.ArgumentParser(prog=f"python -m pipeline.{stage}")
    parser.add_argument("name", help="of the run, data set or measurement")
    many = "+" if seeds else 1
    parser.add_argument(
        "--seed",
        type=int,
        nargs=many,
        default=[0],
        metavar="N",
        help="several train side by side" if seeds else None,
    )
    parser.add_argument("--scale", default=None, help="instead of the one that params.yaml names")
    arguments = parser.parse_args()

    def act() -> None:
        work(Graph(begun(arguments.scale)), arguments.name, *arguments.seed)

    sys.exit(exit_code_of(f"{stage} {arguments.name}", act))


def begun(scale: str | None) -> Params:
    """Load params.yaml for long work: make SIGTERM act as Ctrl-C, set the interval of progress lines."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clusters stop jobs by SIGTERM
    params = load(scale=scale)
    progress.every = params.engine.log_seconds
    return params


def run_rendering(stage: str, work: Callable[[Graph, str], Any], *, name: str) -> None:
    """`python -m pipeline.<stage> NAME --scale S`, for stages that read only measurements."""
    from pipeline import papers

    parser = argparse.ArgumentParser(prog=f"python -m pipeline.{stage}")
    parser.add_argument("name", help=name)
    parser.add_argument("--scale", default=None, help="instead of the one that params.yaml names")
    arguments = parser.parse_args()

    def act() -> None:
        params = load(scale=arguments.scale)
        papers.check(params)
        work(Graph(params), arguments.name)

    sys.exit(exit_code_of(f"{stage} {arguments.name}", act))


def exit_code_of(who: str, act: Callable[[], Any]) -> int:
    """Call `act`; print user errors on one line and return the exit code."""
    debug = bool(os.environ.get("PIPELINE_TRACEBACK"))
    try:
        act()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` or `less`, has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except (ValueError, OSError) as error:
        if debug:
            raise
        print(f"{who}: {_one_line(error)}", file=sys.stderr)
        return 1
    except (MemoryError, RuntimeError) as error:
        if "does not have a deterministic implementation" in str(error):
            print(f"{who}: {str(error).split(',')[0]}; set engine.deterministic: false", file=sys.stderr)
            return 1
        # compare torch's OutOfMemoryError (a GPU's) by name: importing torch would slow every command
        if not isinstance(error, MemoryError) and type(error).__name__ != "OutOfMemoryError":
            raise
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
