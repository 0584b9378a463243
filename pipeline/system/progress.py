"""How far long work is, and how long the rest will take: a bar in a terminal, lines in a log."""

import math
import sys
import time

every = math.inf  # seconds between two lines in a log; a command takes them from params.yaml


def lasting(seconds: float) -> str:
    """45 s, 12 min, 3.5 h: as exactly as an estimate deserves."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            amount = seconds / length
            return f"{amount:.0f} {unit}" if amount >= 10 else f"{amount:.1f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


class Progress:
    """Of `total` steps (or images), `done` were done before."""

    def __init__(self, total: int, unit: str = "step", *, done: int = 0) -> None:
        self.total, self.unit, self.first = total, unit, done
        self.began = self.said = time.monotonic()
        self.terminal = sys.stderr.isatty()

    def say(self, done: int, note: str = "") -> None:
        """Where it is time to, and there is anything to say of what is left."""
        now = time.monotonic()
        if done <= self.first or now - self.said < (0.2 if self.terminal else every):
            return
        self.said = now
        left = (now - self.began) / (done - self.first) * max(0, self.total - done)
        bar = ""
        if self.terminal:
            filled = 30 * min(done, self.total) // self.total
            bar = f"\r\033[K[{'#' * filled}{'.' * (30 - filled)}] "
        text = ", ".join(each for each in (note, f"{lasting(left)} left") if each)
        line = f"{bar}{self.unit} {done}/{self.total}, {text}"
        print(line, end="" if self.terminal else "\n", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self.terminal and self.said > self.began:
            print(file=sys.stderr)
