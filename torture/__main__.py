"""python -m torture: every fault at full length, four at a time, and a table of what was lost."""

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from torture import faults, suffer


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m torture", description=__doc__)
    parser.add_argument("names", nargs="*", help="parts of the names of faults; none: all")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the moments and the damage")
    parser.add_argument("--most", type=int, default=10**9, help="times that any fault is injected")
    given = parser.parse_args()
    names = [name for name in faults() if not given.names or any(part in name for part in given.names)]
    print(f"seed {given.seed}\n\n{'fault':58} injected  survived  lost  seconds", flush=True)
    lost_at_all = []
    with ProcessPoolExecutor(4, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        done = {name: pool.submit(suffer, name, given.seed, given.most) for name in names}
        for name, result in done.items():
            injected, lost, seconds = result.result()
            print(f"{name:58} {injected:8} {injected - len(lost):9} {len(lost):5} {seconds:8.0f}", flush=True)
            lost_at_all += [f"{name}: {outcome}" for outcome in lost]
            if not injected:
                lost_at_all.append(f"{name}: never injected")
    print(*["", *lost_at_all[:40]] if lost_at_all else ["\nnothing was lost"], sep="\n")
    sys.exit(bool(lost_at_all))


if __name__ == "__main__":
    main()
