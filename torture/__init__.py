"""Faults, injected for real. A fault is done so many times and says of each what was lost: "" where nothing was.

`python -m torture` does them at full length; tests/test_torture.py does a few of each.
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
    inject: Callable[[Path, int, Random], Iterator[str]]  # in a project's folder, so many times
    times: int
    few: int = 0  # times in the tests; 0: too long for them
    graph: bool = False  # runs whole graphs


def refused(act: Callable, names: str = "") -> str:
    """Whether `act` ended in one line that names what is wrong, as a command of the project does."""
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
    """Do one fault in a folder of its own: how often it was injected, what was lost, how long it took."""
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
    return len(outcomes), [each for each in outcomes if each], time.monotonic() - began
