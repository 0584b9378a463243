"""Load: many processes at once lose nothing; a second graph in a folder is refused and names the first."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import psutil
from conftest import both, keep_only, keep_runs, set_params

from torture import Fault
from torture.away import teller, undelivered
from torture.interruption import FULL, WORDS, done, family, kill, small_graph, start

METRICS = 2000
BOUND = 1.5  # limit of 64 runs' memory, relative to one run per core


def metrics_at_once(place: Path, times: int, rng: Random) -> Iterator[str]:
    """Eight independent processes with thousands of metrics; every process counts as one injection."""
    processes, database = 8, place / "mlflow.db"
    for _ in range(max(1, times // processes)):
        shutil.rmtree(place / "results", ignore_errors=True)
        database.unlink(missing_ok=True)
        telling = [teller(place, seed, METRICS, 0.001 * seed) for seed in range(processes)]
        said = [process.communicate()[0] for process in telling]
        deadline = time.monotonic() + 60  # delivery may outlast the runs by some seconds
        while (lost := _undelivered(database, processes)) and time.monotonic() < deadline:
            time.sleep(0.5)
        died = [text for process, text in zip(telling, said, strict=True) if process.returncode]
        yield from [f"a run died: {died[0][-500:]}" if died else lost, *[""] * (processes - 1)]


def _undelivered(database: Path, runs: int) -> str:
    import sqlite3

    try:
        return undelivered(database, runs=runs, steps=METRICS)
    except sqlite3.OperationalError as error:
        return str(error)


def two_graphs(place: Path, times: int, rng: Random) -> Iterator[str]:
    """Start Snakemake or DVC while Snakemake runs in the same folder."""
    small_graph(place, epochs=4000)
    done(place, "git", "init", "-q")
    done(place, "dvc", "init", "-q", "-f")
    first = start(place, *WORDS)
    try:
        lock = place / "results" / ".graph.lock"
        until = time.monotonic() + 60
        while not lock.exists() and time.monotonic() < until:
            time.sleep(0.1)
        for number in range(times):
            second = ("dvc", "repro", "pretrain") if number % 3 == 2 else WORDS
            said = done(place, *second, check=False)
            named = f"another graph runs in this folder: process {first.pid} since" in said
            yield "" if named and first.poll() is None else f"{second[0]} was told: {said[-600:]}"
    finally:
        kill(first, alone=False)


def memory(place: Path, times: int, rng: Random) -> Iterator[str]:
    """Run many fine-tunings, eight at a time, in the memory of eight."""
    cores = 8
    keep_only(place, "table6")
    keep_runs(place)
    peaks = []
    for repeats in (cores, times):
        several = {"scales__smoke__repeats": repeats, f"finetune__voc2007-{FULL}__repeats": repeats}
        set_params(place, scales__smoke__epochs=both(2), **several)
        shutil.rmtree(place / "results", ignore_errors=True)
        process = start(
            place,
            "snakemake",
            "--cores",
            str(cores),
            "--quiet",
            "--",
            "finetune",
            PIPELINE_FOLLOWED="by nobody",
        )
        peak = 0
        while process.poll() is None:
            peak = max(peak, sum(_resident(member) for member in family(process)))
            time.sleep(0.3)
        peaks.append(peak)
        if process.returncode:
            yield process.communicate()[0][-500:]
    lost = f"{peaks[1] >> 20} MB for {times} runs, {peaks[0] >> 20} MB for {cores}"
    yield from [lost if peaks[1] > BOUND * peaks[0] else "", *[""] * (times - 1)]


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:
        return 0


FAULTS = {
    "load: 8 processes with 2,000 metrics each, at once": Fault(metrics_at_once, 16),
    "load: 64 fine-tunes, 8 at a time, in bounded memory": Fault(memory, 64),
    "load: a second graph in the same folder": Fault(two_graphs, 6, few=2, graph=True),
}
