"""track: deliver to MLflow the events that it lacks."""

import argparse
import sys
import threading

from pipeline.runner.cli import exit_code_of
from pipeline.tracking.delivery import PATIENCE, await_end, deliver_in_turn


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.track", description=__doc__.split("\n")[0])
    parser.add_argument("--follow", action="store_true", help="until standard input ends")
    arguments = parser.parse_args()
    until = threading.Event()
    if arguments.follow:
        threading.Thread(target=await_end, args=(until,), daemon=True).start()
    else:
        until.set()

    sys.exit(exit_code_of("track", lambda: deliver_in_turn(until=until, patience=PATIENCE)))


if __name__ == "__main__":
    main()
