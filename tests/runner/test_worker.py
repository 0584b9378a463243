"""A stage run by the warm worker has the same weights, exit code, signals and end as by itself."""

import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from compiler import compiled
from conftest import both, command, set_params

from pipeline.compute.device import COMPILER
from pipeline.config.reading import load
from pipeline.data.writer import shard
from pipeline.runner import worker
from pipeline.training.weights import load_parts
from pipeline.work.graph import Graph

RUN = ("pipeline.runner.worker", "pretrain", "imagenet-full")


@contextmanager
def holding_torch():
    server = worker.start()
    try:
        yield server
    finally:
        server.stdin.close()
        server.wait(timeout=30)


@pytest.fixture
def ready(workplace):
    set_params(workplace, engine__checkpoint_seconds=0, scales__smoke__epochs=both(40))
    shard(Graph(load()).shards("imagenet"))
    return Graph(load()).training("pretrain", "imagenet-full", 0)


def children(process: int) -> list[int]:
    found = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [int(each) for each in found]


def same(one: dict, other: dict) -> bool:
    """Compare weights to the bit, part by part."""
    return one.keys() == other.keys() and all(
        torch.equal(tensor, other[part][name]) for part, own in one.items() for name, tensor in own.items()
    )


def until(what, *, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes in /proc")
def test_a_fork_behaves_as_the_stage(workplace, ready):
    def client() -> subprocess.Popen:
        return subprocess.Popen([sys.executable, "-m", *RUN], stderr=subprocess.PIPE, text=True)

    checkpoint = ready.folder / "checkpoint.pt"
    with holding_torch() as server:
        # a slip: its line, its exit code
        said = command(
            sys.executable,
            "-m",
            "pipeline.runner.worker",
            "pretrain",
            "imagenet-ful",
            folder=workplace,
            check=False,
        )
        assert said.returncode == 1
        assert said.stderr.strip().startswith("pretrain imagenet-ful: pretrain has no run 'imagenet-ful'")
        # a signal reaches it: it leaves a checkpoint and says so
        process = client()
        until(checkpoint.exists)
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=30)[1]
        assert (process.returncode, said.strip().splitlines()[-1]) == (
            130,
            "pretrain imagenet-full: stopped; the same command goes on from what is written",
        )
        # its caller is killed: so is the fork
        process = client()
        until(lambda: children(server.pid))
        process.kill()
        process.wait()
        until(lambda: not children(server.pid))
        # to its end, with the weights of a process of its own
        done = command(sys.executable, "-m", *RUN, folder=workplace)
        assert done.returncode == 0
        forked = load_parts(ready)
        ready.weights.unlink()
        # the graph ends: so do its forks
        process = client()
        until(lambda: children(server.pid))
        fork = children(server.pid)[0]
    assert process.wait(timeout=30) == 1
    until(lambda: not Path(f"/proc/{fork}").exists())
    assert not Path(worker.SOCKET).exists()
    for left in ready.folder.glob("*"):
        left.unlink()
    command(sys.executable, "-m", *RUN, folder=workplace, OMP_NUM_THREADS="1")
    assert same(load_parts(ready), forked)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes in /proc")
def test_a_signal_that_comes_while_the_server_imports_torch_stops_the_stage(workplace, ready):
    def listens(process: int) -> bool:
        caught = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{process}/status").read_text())
        return bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)

    with holding_torch() as server:
        with subprocess.Popen([sys.executable, "-m", *RUN], stderr=subprocess.PIPE, text=True) as process:
            until(lambda: listens(process.pid))
            assert not children(server.pid)
            process.send_signal(signal.SIGTERM)
            said = process.communicate(timeout=60)[1]
        assert process.returncode != 0, said
        assert "Traceback" not in said
        assert not ready.weights.exists()


def test_a_fork_sees_the_callers_environment_not_the_servers(workplace, monkeypatch):
    with holding_torch():
        monkeypatch.setenv("PIPELINE_TRACEBACK", "1")
        done = command(
            sys.executable,
            "-m",
            "pipeline.runner.worker",
            "pretrain",
            "nobody",
            folder=workplace,
            check=False,
        )
    assert "Traceback" in done.stderr


def test_a_forks_collector_does_not_visit_what_the_server_imported(workplace):
    said = "import gc; print(len(gc.get_objects()), gc.get_freeze_count())"
    (workplace / "pipeline" / "count.py").write_text(said)
    with holding_torch():
        done = command(sys.executable, "-m", "pipeline.runner.worker", "count", folder=workplace)
    visited, left_alone = map(int, done.stdout.split())
    assert left_alone > 20 * visited


@compiled
def test_forks_compile_once(workplace, tmp_path):
    set_params(workplace, engine__convolution="winograd", engine__precision="fp32", scales__smoke__width=16)
    shard(Graph(load()).shards("imagenet"))
    compiler, calls = tmp_path / "compiler", tmp_path / "calls"
    compiler.write_text(f'#!/bin/sh\necho called >> {calls}\nexec {COMPILER} "$@"\n')
    compiler.chmod(0o755)
    with holding_torch():
        for seed in ("0", "1"):
            command(sys.executable, "-m", *RUN, "--seed", seed, folder=workplace, CXX=str(compiler))
    assert calls.read_text() == "called\n"


def test_a_server_that_ends_late_keeps_its_successors_socket(workplace):
    with holding_torch() as first, holding_torch():
        first.stdin.close()
        first.wait(timeout=30)
        assert worker.SOCKET.exists()
    assert not worker.SOCKET.exists()
