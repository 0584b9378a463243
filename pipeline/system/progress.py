"""How far long work is, and how long the rest will take: tqdm's bar in a terminal, lines in a log."""

import math
import sys
import time

every = math.inf  # seconds between two lines in a log; commands set engine.log_seconds


def lasting(seconds: float) -> str:
    """45 s, 12 min, 3.5 h: as exactly as an estimate deserves."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            amount = seconds / length
            return f"{amount:.0f} {unit}" if amount >= 10 else f"{amount:.1f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


class Progress:
    """Of `total` steps (or images), `done` before it began."""

    def __init__(self, total: int, unit: str = "step", *, done: int = 0) -> None:
        self.total, self.unit, self.first = total, unit, done
        self.began = self.said = time.monotonic()
        self.bar = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(total=total, initial=done, desc=unit, mininterval=0.2)

    def say(self, done: int, note: str = "") -> None:
        now = time.monotonic()
        if self.bar is not None:
            self.bar.set_postfix_str(note, refresh=False)
            self.bar.update(done - self.bar.n)
        elif done > self.first and now - self.said >= every:
            self.said = now
            left = (now - self.began) / (done - self.first) * max(0, self.total - done)
            words = [f"{self.unit} {done}/{self.total}", note, f"{lasting(left)} left"]
            print(", ".join(filter(None, words)), file=sys.stderr, flush=True)

    def end(self) -> None:
        if self.bar is not None:
            self.bar.close()
