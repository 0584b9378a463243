"""Long work reports progress and remaining time: a bar on a terminal, lines in a log."""

import os
import re
import sys
import termios
import time

import numpy as np
import pytest
from conftest import command, set_params

from pipeline.data.views import parts
from pipeline.system import progress
from pipeline.system.progress import Progress, lasting


def test_a_log_gets_lines_with_the_time_that_is_left(monkeypatch, capsys):
    monkeypatch.setattr(progress, "every", 0.0)
    shown = Progress(10, "image")
    time.sleep(0.5)
    shown.say(5, "loss 0.25")
    shown.end()
    assert capsys.readouterr().err == "image 5/10, loss 0.25, 0.5 s left\n"


def test_resumed_steps_do_not_shorten_the_estimate(monkeypatch, capsys):
    monkeypatch.setattr(progress, "every", 0.0)
    shown = Progress(110, done=100)
    shown.say(100)
    time.sleep(0.5)
    shown.say(105)
    assert capsys.readouterr().err == "step 105/110, 0.5 s left\n"


def test_a_log_gets_at_most_one_line_an_interval(monkeypatch, capsys):
    monkeypatch.setattr(progress, "every", 0.2)
    shown, until = Progress(10**9, "image"), time.monotonic() + 0.5
    done = 0
    while time.monotonic() < until:
        done += 1
        shown.say(done)
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_a_terminal_gets_a_bar(monkeypatch):
    master, slave = os.openpty()
    termios.tcsetwinsize(slave, (24, 80))
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        shown = Progress(4, "image")
        time.sleep(0.25)
        shown.say(2, "loss 0.25")
        shown.end()
        said = ""
        while not said.endswith("\n"):  # a terminal may hand over a part
            said += os.read(master, 1000).decode()
    os.close(master)
    assert re.search(r"\rimage:  50%\|█+ +\| 2/4 \[[\d:]+<[\d:]+, .*, loss 0\.25\] *\r\n$", said)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.04, "0.0 s"), (75, "75 s"), (90, "1.5 min"), (3000, "50 min"), (7200, "2.0 h"), (400_000, "4.6 d")],
)
def test_times_are_rounded_to_two_digits(seconds, said):
    assert lasting(seconds) == said


def test_evaluate_and_shard_show_progress(workplace, monkeypatch, capsys):
    monkeypatch.setattr(progress, "every", 0.0)
    assert [len(own) for own in parts(np.arange(230))] == [100, 100, 30]
    assert [line.split(",")[0] for line in capsys.readouterr().err.splitlines()] == [
        "image 100/230",
        "image 200/230",
        "image 230/230",
    ]
    set_params(workplace, engine__log_seconds=0)
    said = command(sys.executable, "-m", "pipeline.shard", "mnist", folder=workplace).stderr.splitlines()
    assert [line.split(",")[0] for line in said if "48/48" in line or "40/40" in line] == [
        "train: image 48/48",
        "test: image 40/40",
    ]
