"""One graph at a time in a folder."""

import subprocess
import sys

from conftest import command

from pipeline.runner.session import LOCK, alone, idle


def test_a_killed_graph_leaves_its_folder_free(workplace):
    code = "import os; from pipeline.runner import session; lock = session.alone(); print(1, flush=True); input()"
    words = [sys.executable, "-c", code]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as graph:
        graph.stdout.readline()
        assert not idle()
        second = command(sys.executable, "-c", code, folder=workplace, check=False)
        assert second.returncode == 1
        assert f"another graph runs in this folder: process {graph.pid} since" in second.stderr
        graph.kill()
        graph.wait()
        lock = alone()
        assert f"process {graph.pid} " not in LOCK.read_text()
        del lock
    assert idle()
