"""MLflow away: store locked, disk full, server down. Runs continue, and their events are delivered later."""

import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from conftest import reserved_port

from torture import Fault

TRACK = (sys.executable, "-m", "pipeline.track")
TELL = """
import sys, time
from types import SimpleNamespace
from pipeline.tracking import events
from pipeline.tracking import store
from pipeline.work.graph import Graph
from pipeline.config.reading import load
seed, steps, pause = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
training = Graph(load()).training("pretrain", "imagenet-full", seed)
with events.tracked(training, SimpleNamespace(sha256="0", split="train", count=1), commit="0", files=[]) as events:
    for step in range(1, steps + 1):
        events.log(step, {"loss": 1 / step})
        time.sleep(pause)
"""  # a run that logs steps without training


def teller(place: Path, seed: int, steps: int, pause: float = 0.0, **more: str) -> subprocess.Popen:
    from torture.interruption import start

    return start(place, sys.executable, "-c", TELL, str(seed), str(steps), str(pause), **more)


def told(place: Path, *, runs: int, steps: int) -> None:
    """Write runs' events that are not delivered yet."""
    shutil.rmtree(place / "results", ignore_errors=True)
    telling = [teller(place, seed, steps, PIPELINE_FOLLOWED="by nobody") for seed in range(runs)]
    for process in telling:
        assert not process.wait(), process.communicate()[0]


def undelivered(database: Path, *, runs: int, steps: int) -> str:
    """Describe what MLflow lacks or has twice; "" if nothing."""
    with sqlite3.connect(database) as store:
        kept = store.execute(
            """select r.name, r.status, count(m.step), count(distinct m.step), max(m.step),
            (select count(*) from params p where p.run_uuid = r.run_uuid)
            from runs r left join metrics m on m.run_uuid = r.run_uuid
            where r.lifecycle_stage = 'active' group by r.run_uuid"""
        ).fetchall()
    whole = [("FINISHED", steps, steps, steps)] * runs
    if [run[1:5] for run in kept] != whole or not all(run[5] for run in kept):
        return f"{kept} in MLflow instead of {runs} runs of {steps} steps"
    return ""


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Lock the store, as another program would."""
    holder = sqlite3.connect(database, isolation_level=None)
    holder.execute("begin exclusive")
    try:
        yield
    finally:
        holder.rollback()
        holder.close()


def store_locked(place: Path, times: int, rng: Random) -> Iterator[str]:
    """Lock for a while, which loses nothing, or past the patience, which must be reported."""
    from torture.interruption import done

    database, steps = place / "mlflow.db", 300
    for number in range(times):
        shutil.rmtree(place / "results", ignore_errors=True)
        database.unlink(missing_ok=True)
        done(place, *TRACK)  # makes the store
        for_good = number % 2 == 1
        with locked(database):
            release = threading.Event()
            began = time.monotonic()
            run = teller(place, 0, steps, 0.01)
            run.wait()
            took = time.monotonic() - began
            said = run.communicate()[0] if for_good else ""
            release.set()
        said = said or run.communicate()[0]
        if for_good and "NOT DELIVERED" not in said:
            yield f"nothing was said of it: {said}"
            continue
        if for_good:
            done(place, *TRACK)
        yield (f"the run was held up for {took:.0f} s" if took > 60 else "") or undelivered(
            database, runs=1, steps=steps
        )


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """Mount a small disk; needs the right to mount, which containers and CI machines usually have."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(file: Path, *, but: int = 0) -> None:
    """Fill a disk except for so many bytes."""
    file.write_bytes(bytes(max(0, shutil.disk_usage(file.parent).free - but)))


def may_mount() -> bool:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        words = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]
        if not shutil.which("mount") or subprocess.run(words, check=False, capture_output=True).returncode:
            return False
        subprocess.run(["umount", folder], check=True)
    return True


def store_full(place: Path, times: int, rng: Random) -> Iterator[str]:
    """Fill the store's disk; runs are on another."""
    from torture.interruption import done

    for _ in range(times):
        shutil.rmtree(place / "results", ignore_errors=True)
        with small_disk(place / "store", 4) as disk:
            database = disk / "mlflow.db"
            address = {"MLFLOW_TRACKING_URI": f"sqlite:///{database}"}
            done(place, *TRACK, **address)
            rest = disk / "rest"
            fill(rest)
            run = teller(place, 0, 1000, **address)
            said = run.communicate()[0]
            rest.unlink(missing_ok=True)
            if run.returncode or "NOT DELIVERED" not in said:
                yield f"the run ended with {run.returncode}, and this was said: {said}"
                continue
            done(place, *TRACK, **address)
            yield undelivered(database, runs=1, steps=1000)


def server_down(place: Path, times: int, rng: Random) -> Iterator[str]:
    """End a run while its server is down; start the server; everything is delivered."""
    with reserved_port() as port:
        for _ in range(times):
            yield _without_server(place, port)


def _without_server(place: Path, port: int) -> str:
    from torture.interruption import kill, start

    database = place / "server.db"
    address = {"MLFLOW_TRACKING_URI": f"http://reader:hunter2@127.0.0.1:{port}"}
    words = ("--host", "127.0.0.1", "--port", str(port), "--workers", "1")
    places = (f"sqlite:///{database}", "--artifacts-destination", str(place / "kept"))
    database.unlink(missing_ok=True)
    shutil.rmtree(place / "results", ignore_errors=True)
    run = teller(place, 0, 200, **address)
    said = run.communicate()[0]
    if run.returncode or "NOT DELIVERED" not in said or "hunter2" in said:
        return f"the run ended with {run.returncode}, and this was said: {said}"
    server = start(place, sys.executable, "-m", "mlflow", "server", *words, "--backend-store-uri", *places)
    try:
        for _ in range(10):
            track = start(place, *TRACK, **address)
            said = track.communicate()[0]
            if not track.returncode or server.poll() is not None:
                break
            time.sleep(1)
    finally:
        alive = server.poll() is None
        kill(server, alone=False)
    if not alive:
        return f"the server ended: {server.communicate()[0][-600:]}"
    if track.returncode or "hunter2" in said:
        return f"`pipeline.track` ended with {track.returncode}, and this was said: {said}"
    return undelivered(database, runs=1, steps=200)


FAULTS = {
    "MLflow away: its store locked": Fault(store_locked, 4, few=1),
    "MLflow away: its server down": Fault(server_down, 2),
}
if may_mount():
    FAULTS["MLflow away: its disk full"] = Fault(store_full, 3, few=1)
