"""python -m torture: every fault at full length, two at a time, and a table of what was lost."""

import argparse
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from random import Random

from conftest import laid_out

from pipeline.track import FOLLOWED
from torture import faults


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


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m torture", description=__doc__)
    parser.add_argument("names", nargs="*", help="parts of the names of faults; none: all")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the moments and the damage")
    parser.add_argument("--most", type=int, default=10**9, help="times that any fault is injected")
    given = parser.parse_args()
    names = [each for each in faults() if not given.names or any(part in each for part in given.names)]
    print(f"seed {given.seed}\n\n{'fault':58} injected  survived  lost  seconds", flush=True)
    lost_at_all = []
    with ProcessPoolExecutor(2, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        done = {name: pool.submit(suffer, name, given.seed, given.most) for name in names}
        for name, result in done.items():
            injected, lost, seconds = result.result()
            print(f"{name:58} {injected:8} {injected - len(lost):9} {len(lost):5} {seconds:8.0f}", flush=True)
            lost_at_all += [f"{name}: {each}" for each in lost]
            if not injected:
                lost_at_all.append(f"{name}: never injected")
    print(*["", *lost_at_all[:40]] if lost_at_all else ["\nnothing was lost"], sep="\n")
    sys.exit(bool(lost_at_all))


if __name__ == "__main__":
    main()
