"""Ctrl-C and SIGTERM, taken between two steps."""

import signal
from contextlib import contextmanager


@contextmanager
def stop_signals(came: list[int]):
    """Append Ctrl-C and SIGTERM to this list: loops stop between two steps once it is not empty."""
    old = {
        number: signal.signal(number, lambda received, frame: came.append(received))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


class Stopped(BaseException):
    """Ctrl-C or SIGTERM, taken at a moment when nothing is half-done."""
