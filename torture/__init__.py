"""Faults, injected for real. A fault yields for every injection what was lost, "" if nothing was.

`python -m torture` injects them at full length; tests/test_torture.py injects a few of each kind.
"""

import io
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from random import Random

from conftest import laid_out

from pipeline.runner.cli import exit_code_of
from pipeline.tracking.follower import FOLLOWED


@dataclass(frozen=True)
class Fault:
    inject: Callable[[Path, int, Random], Iterator[str]]  # takes a project's folder and a number of times
    times: int
    few: int = 0  # times in the tests; 0: too slow for them
    graph: bool = False  # whether it runs whole graphs


def refused(act: Callable, names: str = "") -> str:
    """Check that `act` ends in a one-line error that names what is wrong; "" if it does."""
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            code = exit_code_of("torture", act)
    except BaseException as error:
        return f"a traceback: {type(error).__name__}: {error}"
    lines = said.getvalue().strip().splitlines()
    if code == 0:
        return "it was taken"
    if len(lines) != 1 or names not in lines[0]:
        return f"{names} is not named in one line: {lines}"
    return ""


def faults() -> dict[str, Fault]:
    from torture import away, damage, disk, exposure, fuzz, hostile, interruption, load, same

    every: dict[str, Fault] = {}
    for module in (interruption, damage, hostile, fuzz, away, load, exposure, disk, same):
        every |= module.FAULTS
    return every


def suffer(name: str, seed: int, most: int) -> tuple[int, list[str], float]:
    """Inject a fault in a new folder; return the number of injections, the losses, and the seconds."""
    began, outcomes = time.monotonic(), []
    with tempfile.TemporaryDirectory(prefix="torture-") as folder:
        place = Path(folder) / "project"
        laid_out(place)
        os.chdir(place)
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        os.environ[FOLLOWED] = "by nobody"
        fault = faults()[name]
        try:
            outcomes += fault.inject(place, min(most, fault.times), Random(f"{name} {seed}"))
        except Exception as error:
            outcomes.append(f"{type(error).__name__}: {error}")
        os.chdir("/")
    return len(outcomes), [outcome for outcome in outcomes if outcome], time.monotonic() - began
