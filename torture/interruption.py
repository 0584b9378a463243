"""Interruption: a graph killed at its worst moments and started again ends like an undisturbed one."""

import csv
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import psutil
from conftest import both, keep_only, laid_out, set_params

from torture import Fault
from torture.damage import FULL, _equal

PATIENCE = 120.0  # seconds to wait for a moment
LEAVES_WITHIN = 10.0  # seconds to exit after Ctrl-C or SIGTERM
WORDS = ("snakemake", "--cores", "2", "results/table6.csv")


def environment(**more: str) -> dict[str, str]:
    """A user's environment, with MLflow's follower and the project's programs."""
    kept = {
        name: value for name, value in os.environ.items() if name not in ("PIPELINE_FOLLOWED", "PYTHONPATH")
    }
    return {
        **kept,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        **more,
    }


def start(place: Path, *words: str, **more: str) -> subprocess.Popen[str]:
    """Start in a new process session, as a terminal does."""
    return subprocess.Popen(
        words,
        cwd=place,
        env=environment(**more),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def done(place: Path, *words: str, check: bool = True, **more: str) -> str:
    process = start(place, *words, **more)
    said = process.communicate(timeout=600)[0]
    assert not check or process.returncode == 0, f"{words} ended with {process.returncode}: {said[-2000:]}"
    return said


def small_graph(place: Path, *, epochs: int = 2) -> None:
    """Reduce params.yaml to Table 6, with a checkpoint after every step."""
    keep_only(place, "table6")
    pretrainings = ("imagenet-none", "imagenet-input-output", FULL)
    epochs_of = {
        f"pretrain__{name}__epochs": epochs for name in pretrainings if epochs > 6
    }  # the paper's, else
    set_params(place, engine__checkpoint_seconds=-1, scales__smoke__epochs=both(epochs), **epochs_of)


def outcome(place: Path) -> dict[str, Any]:
    """Everything in a finished graph that must be deterministic."""
    from pipeline.training.checkpoint import load_tensors

    with (place / "results" / "table6.csv").open(newline="") as file:
        table = [{**line, "commit": ""} for line in csv.DictReader(file)]
    weights = {
        str(file.relative_to(place)): load_tensors(file)["parts"]
        for file in place.glob("results/runs/*/*/*/*/weights.pt")
    }
    shards = {
        str(file.relative_to(place)): file.read_bytes() for file in place.glob("data/*/*/*") if file.is_file()
    }
    losses = {
        str(file.relative_to(place)): json.loads(file.read_text())["epoch_losses"]
        for file in place.glob("results/runs/*/*/*/*/run.json")
    }
    return {
        "table": table,
        "weights": weights,
        "shards": shards,
        "losses": losses,
        "MLflow": stored(place / "mlflow.db"),
    }


def stored(database: Path) -> list[tuple]:
    """Read every run in MLflow: state, parameters, metrics by step."""
    with sqlite3.connect(database) as store:
        return store.execute(
            """select r.name, r.status, (select count(*) from params p where p.run_uuid = r.run_uuid),
            (select group_concat(m) from (select key || ' ' || step || ' ' || value as m from metrics m
             where m.run_uuid = r.run_uuid order by key, step))
            from runs r where lifecycle_stage = 'active' order by r.name"""
        ).fetchall()


def differences(place: Path, expected: dict[str, Any]) -> str:
    actual = outcome(place)
    for what, file in expected.items():
        if not _equal(actual[what], file):
            return f"{what} differs: {actual[what]} instead of {file}"[:600]
    if partial := [str(file) for file in place.rglob("*.partial") if ".snakemake" not in file.parts]:
        return f"partial files are left: {partial}"
    return ""


@cache
def undisturbed() -> dict[str, Any]:
    """The outcome of an undisturbed graph; run once per process."""
    place = Path.cwd().with_name("undisturbed")
    laid_out(place)
    small_graph(place)
    done(place, *WORDS)
    return outcome(place)


def family(process: subprocess.Popen) -> list[psutil.Process]:
    try:
        return [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    except psutil.NoSuchProcess:
        return []


def runs_module(process: subprocess.Popen, module: str) -> bool:
    for file in family(process):
        try:
            if module in file.cmdline():
                return True
        except psutil.Error:
            continue
    return False


def any_file(place: Path, *patterns: str) -> bool:
    return any(next(iter(place.glob(file)), None) is not None for file in patterns)


Moment = Callable[[Path, subprocess.Popen], bool]
MOMENTS: dict[str, Moment] = {
    "sharding": lambda place, process: any_file(place, "data/smoke/*/.*.partial"),
    "mid-epoch": lambda place, process: any_file(place, "results/runs/smoke/*/*/*/checkpoint.pt"),
    "writing a checkpoint": lambda place, process: any_file(
        place, "results/runs/smoke/*/*/*/.checkpoint.pt.*"
    ),
    "writing MLflow": lambda place, process: any_file(place, "mlflow.db-journal", ".mlflow.db.*"),
    "rendering": lambda place, process: runs_module(process, "pipeline.table"),
    "evaluating": lambda place, process: runs_module(process, "pipeline.evaluate"),
}


def kill(process: subprocess.Popen, *, alone: bool) -> None:
    """Kill everything at once, as a power cut does; or Snakemake alone, so that its jobs continue."""
    doomed = family(process)[-1:] if alone else family(process)
    for file in reversed(doomed):
        try:
            file.kill()
        except psutil.NoSuchProcess:
            continue
    process.wait()


def killed(place: Path, times: int, rng: Random) -> Iterator[str]:
    """Kill at the worst moments in turn, and at random moments, so many times."""
    expected, moments = undisturbed(), list(MOMENTS)
    left, rounds = times, 0
    while left:
        rounds += 1
        folder = place.with_name(f"killed-{rounds}")
        laid_out(folder)
        small_graph(folder)
        struck, process = 0, start(folder, *WORDS)
        while process.poll() is None:
            name = moments[(times - left) % len(moments)] if left and rng.random() < 0.7 else ""
            until = time.monotonic() + (PATIENCE if name else rng.uniform(1, 12) if left else PATIENCE * 5)
            since = time.monotonic() + rng.uniform(0, 2)
            while process.poll() is None and time.monotonic() < until:
                if name and time.monotonic() > since and MOMENTS[name](folder, process):
                    time.sleep(rng.uniform(0, 0.05))
                    break
                time.sleep(0.003)
            if process.poll() is None and left:
                kill(process, alone=rng.random() < 0.25)
                left, struck = left - 1, struck + 1
                process = start(folder, *WORDS)
        said = process.communicate()[0]
        lost = f"it does not go on: {said[-1500:]}" if process.returncode else ""
        try:
            lost = lost or differences(folder, expected)
        except FileNotFoundError as error:
            lost = f"{error.filename} is missing after a command that ended well and said: {said[-1500:]}"
        yield from [lost, *[""] * (struck - 1)][:struck]
        shutil.rmtree(folder)


def stopped(place: Path, times: int, rng: Random) -> Iterator[str]:
    """Ctrl-C to all, SIGTERM to all or to Snakemake alone: a last checkpoint, then exit within seconds."""
    small_graph(place, epochs=4000)
    set_params(place, engine__checkpoint_seconds=3600)  # so checkpoints are written only at the end
    ways = [("SIGINT", True), ("SIGTERM", True), ("SIGTERM", False)]
    for number in range(times):
        blow, everybody = ways[number % len(ways)]
        before, until = steps_told(place), time.monotonic() + PATIENCE
        process = start(place, *WORDS)
        while steps_told(place) < before + 3 and time.monotonic() < until and process.poll() is None:
            time.sleep(0.05)
        jobs = family(process)
        struck, clock = time.time(), time.monotonic()
        (os.killpg if everybody else os.kill)(process.pid, getattr(signal, blow))
        process.wait()
        took = time.monotonic() - clock
        psutil.wait_procs(jobs)  # delivery to MLflow may take longer
        said = process.communicate()[0]
        written = [
            file
            for file in place.glob("results/runs/smoke/*/*/*/checkpoint.pt")
            if file.stat().st_mtime > struck
        ]
        yield next(
            (
                lost
                for lost, holds in {
                    f"{blow}: it went on to the end": process.returncode == 0,
                    f"{blow}: it took {took:.1f} s": took > LEAVES_WITHIN,
                    f"{blow}: no checkpoint was written: {said[-800:]}": not written,
                }.items()
                if holds
            ),
            "",
        )


def steps_told(place: Path) -> int:
    return sum(
        file.read_text().count('"step"') for file in place.glob("results/runs/smoke/*/*/*/events.jsonl")
    )


def followers_killed(place: Path, times: int, rng: Random) -> Iterator[str]:
    """Kill the delivery to MLflow, also while it creates the store; the next one delivers everything, once."""
    from torture.away import told, undelivered

    for number in range(times):
        database = place / f"mlflow-{number}.db"
        address = {"MLFLOW_TRACKING_URI": f"sqlite:///{database}"}
        told(place, runs=3, steps=200)
        process = start(place, sys.executable, "-m", "pipeline.track", **address)
        time.sleep(rng.uniform(1.5, 7))
        kill(process, alone=False)
        done(place, sys.executable, "-m", "pipeline.track", **address)
        yield undelivered(database, runs=3, steps=200)


FAULTS = {
    "interruption: kill -9 over a graph": Fault(killed, 20, few=2, graph=True),
    "interruption: Ctrl-C and SIGTERM, away within 10 s": Fault(stopped, 6),
    "interruption: kill -9 of who hands over to MLflow": Fault(followers_killed, 8),
}
