"""Whole commands: parallel stages, a smoke graph, a graph with nothing to do."""

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.timing import Row, seconds_of
from pipeline.config.params import Params

ROOT = Path(__file__).parents[1]
PARTS = ("pipeline", "profiles", "Snakefile", "params.yaml")
BUSY = "while True: sum(range(10_000))"


def environment(**more: str) -> dict[str, str]:
    """Put the project's programs first; remove the shell's settings of threads."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    return {**kept, "PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true", **more}


def project(name: str) -> Path:
    """Copy the project, without results, to the current folder."""
    folder = Path(name).absolute()
    if not folder.exists():
        folder.mkdir()
        for part in PARTS:
            source = ROOT / part
            (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / part)
    return folder


def snakemake(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["snakemake", "--cores", "all", *words],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout + done.stderr


def side_by_side(params: Params) -> Iterator[Row]:
    """Run two pre-trainings of the smoke graph in parallel, as the graph does, beside a busy process."""
    folder, names, seconds = project("side-by-side"), ("cifar10", "cifar100"), {}
    with warm(folder):
        for name in names:
            together(folder, ["shard", name])
        for threads in (1, os.cpu_count() or 1):
            shutil.rmtree(folder / "results" / "runs", ignore_errors=True)
            text = (ROOT / "params.yaml").read_text()
            shorter = text.replace("    epochs: 20\n    batch: 16", "    epochs: 8\n    batch: 16", 1)
            (folder / "params.yaml").write_text(shorter.replace("  threads: 1 ", f"  threads: {threads} "))
            busy = subprocess.Popen([sys.executable, "-c", BUSY])
            try:
                stages = [["pretrain", f"{name}-pixel"] for name in names]
                seconds[threads] = seconds_of(lambda stages=stages: together(folder, *stages))
            finally:
                busy.kill()
                busy.wait()
    one, default = seconds.values() if len(seconds) == 2 else (0.0, 0.0)
    yield Row(
        what="two smoke pre-trainings side by side, another process busy: one thread each",
        against="default threads",
        ours=f"{one:.1f} s",
        other=f"{default:.1f} s",
        ratio=default / one if one else None,
        bound=5.0,
        note="as the graph runs them: forks of a process that holds torch",
    )


@contextmanager
def warm(folder: Path) -> Iterator[None]:
    """The warm worker that a graph starts."""
    (folder / "results").mkdir(exist_ok=True)
    words = [sys.executable, "-m", "pipeline.runner.worker"]
    server = subprocess.Popen(
        words, cwd=folder, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        server.stdout.readline()
        yield
    finally:
        server.stdin.close()
        server.wait()


def together(folder: Path, *stages: list[str]) -> None:
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "pipeline.runner.worker", *stage],
            cwd=folder,
            env=environment(),
            stderr=subprocess.DEVNULL,
        )
        for stage in stages
    ]
    assert [process.wait() for process in started] == [0] * len(started)


def smoke_graph(params: Params) -> Iterator[Row]:
    """Time Table 6 from nothing: total processor seconds against the seconds of its stages."""
    folder = project("graph")
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    snakemake(folder, "results/table6.csv")
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    records = [
        *folder.glob("results/runs/*/*/*/*/run.json"),
        *folder.glob("results/runs/*/*/*/*/metrics.json"),
    ]
    worked = sum(json.loads(record.read_text())["seconds"] for record in records)
    yield Row(
        what=f"smoke graph of table6 ({len(records)} stages, {wall:.0f} s): processors' seconds in all",
        against="those of its stages' own work",
        ours=f"{spent:.0f} s",
        other=f"{worked:.0f} s",
        ratio=spent / worked,
        bound=2.0,
        at_most=True,
    )


def up_to_date(params: Params) -> Iterator[Row]:
    """Time a second command on finished results."""
    for what, words, bound in (
        ("up-to-date snakemake, every paper", ["snakemake", "--cores", "all", "-n", "--quiet"], 8.0),
        ("dvc status", ["dvc", "status"], 15.0),
    ):
        began = time.perf_counter()
        done = subprocess.run(words, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - began
        nothing = "up to date" if words[0] == "dvc" else "Nothing to be done"
        made = done.returncode == 0 and nothing in done.stdout + done.stderr
        yield Row(
            what=what,
            against=f"{bound:.0f} s",
            ours=f"{seconds:.1f} s",
            other=f"{bound:.0f} s",
            ratio=seconds / bound if made else None,
            bound=1.0,
            at_most=True,
            note="" if made else "not everything is made here: snakemake --cores all, or dvc repro, first",
        )
