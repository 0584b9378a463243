"""Ctrl-C and SIGTERM, taken between two steps."""

import signal
from contextlib import contextmanager


@contextmanager
def stop_signals():
    """A list that is no longer empty once Ctrl-C or SIGTERM came: the loop stops between two steps."""
    came: list[int] = []
    old = {
        number: signal.signal(number, lambda received, frame: came.append(received))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield came
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


class Stopped(BaseException):
    """Ctrl-C or SIGTERM, taken at a moment when nothing is half-done."""
