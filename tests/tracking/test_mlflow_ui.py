"""MLflow shows runs by the tables that show them, with their curves and their pictures; also from a server."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import command, free_port, lacking, reserved_port

from pipeline.system.files import read_json, sha256

QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


@contextmanager
def serving(folder: Path, *words: str):
    """MLflow's own server, as a user starts it; its address."""
    with reserved_port() as port, (folder / "server.log").open("w") as log:
        where = ("--host", "127.0.0.1", "--port", str(port), "--workers", "1")
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *words, *where],
            cwd=folder,
            env={**os.environ, **QUIET},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        address = f"http://127.0.0.1:{port}"
        try:
            wait_for(
                lambda: urllib.request.urlopen(f"{address}/health").status == 200, log=folder / "server.log"
            )
            yield address
        finally:
            os.killpg(server.pid, 15)
            server.wait()


def wait_for(ready, *, log: Path, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            if ready():
                return
        except OSError:
            pass
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.2)


@pytest.fixture
def told(made):
    """A project whose runs are delivered to MLflow's default store."""
    from pipeline.tracking.store import Store, connect

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{made}/mlflow.db")
        store = Store(connect())
        store.deliver()
        yield store


@pytest.mark.graph
def test_three_clicks_lead_from_an_experiment_to_the_run_behind_a_row(told, made, tab):
    with serving(made, "ui", "--backend-store-uri", f"sqlite:///{made}/mlflow.db") as address:
        tab.size(1500, 900)
        number = told.client.get_experiment_by_name("evaluate").experiment_id
        tab.goto(f"{address}/#/experiments/{number}/runs")
        tab.until("document.querySelector('[data-testid=saved-views-trigger]')", seconds=60)
        tab.click("document.querySelector('[data-testid=saved-views-trigger]')")
        tab.click(
            "[...document.querySelectorAll('[role=menu] *')].find(e => e.textContent == 'dong2016, Table 5')"
        )
        rows = "[...document.querySelectorAll('.ag-center-cols-container [row-index]')].map(e => e.innerText)"
        tab.until(f"{rows}.length == 2 && {rows}[0].includes('05 Ours: Accuracy')")
        assert "06 Without unlabelled images: Accuracy" in tab.js(rows)[1]
        heads = tab.js("[...document.querySelectorAll('[role=columnheader]')].map(e => e.innerText)")
        assert {"dong2016/table5", "accuracy", "scale"} <= set(heads)
        tab.js("document.querySelector('[row-index=\"0\"] a').click()")  # rows move while columns load
        tab.until("document.body.innerText.includes('finetune.stl10-ours.centre')", seconds=60)
        assert "/runs/" in tab.js("location.hash")


def test_a_run_has_its_curve_by_epoch_and_its_pictures(told, made):
    trainings = told.client.get_experiment_by_name("pretrain").experiment_id
    (run,) = told.client.search_runs([trainings])
    told_losses = told.client.get_metric_history(run.info.run_id, "epoch loss")
    (record,) = made.glob("results/runs/smoke/pretrain/stl10-small/*/run.json")
    losses = read_json(record, way_out="")["epoch_losses"]
    assert [(each.step, each.value) for each in told_losses] == list(enumerate(losses, 1))
    measured = told.client.get_experiment_by_name("evaluate").experiment_id
    (run,) = told.client.search_runs([measured], "tags.run = 'pretrain.stl10-small.restore'")
    kept = [each.path for each in told.client.list_artifacts(run.info.run_id)]
    assert sorted(kept) == ["arrays.npz", "metrics.json", "pictures.png"]

    import numpy as np
    from PIL import Image

    (arrays,) = made.glob("results/runs/smoke/evaluate/pretrain.stl10-small.restore/*/arrays.npz")
    with np.load(arrays) as found, Image.open(arrays.with_name("pictures.png")) as sheet:
        count, side = found["clean"].shape[:2]
        times = sheet.width // (count * side)
        assert sheet.size == (count * side * times, 3 * side * times)
        pixels = np.asarray(sheet)[::times, ::times]
        for row, name in enumerate(("clean", "corrupted", "restored")):
            last = pixels[row * side : (row + 1) * side, -side:]
            assert (last == found[name][-1].squeeze()).all(), name


def postgres_folder() -> Path | None:
    """Where Debian keeps the programs of the newest PostgreSQL."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


@contextmanager
def postgresql():
    """Start a PostgreSQL cluster on a free port; yield the database's address."""
    programs, port = postgres_folder(), free_port()
    home = Path(tempfile.mkdtemp(prefix="postgres-"))
    try:
        user = pwd.getpwnam("postgres").pw_name if os.getuid() == 0 else None  # it refuses to be run by root
        if user:
            shutil.chown(home, user)

        def run(*words: str) -> None:
            subprocess.run(words, user=user, cwd=home, check=True, stdout=subprocess.DEVNULL)

        data, settings = home / "data", f"-p {port} -k {home} -c listen_addresses=127.0.0.1 -c fsync=off"
        run(f"{programs}/initdb", "-D", str(data), "-U", "mlflow", "--auth=trust")
        run(f"{programs}/pg_ctl", "-D", str(data), "-l", str(home / "log"), "-o", settings, "-w", "start")
        try:
            run(f"{programs}/createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "mlflow", "runs")
            yield f"postgresql://mlflow:hunter2@127.0.0.1:{port}/runs"
        finally:
            run(f"{programs}/pg_ctl", "-D", str(data), "-m", "fast", "-w", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.mark.graph
@pytest.mark.skipif(postgres_folder() is None, reason="no PostgreSQL here (apt-get install postgresql)")
def test_a_server_on_postgresql_takes_runs_and_artefacts_and_gives_the_table_back(made, tmp_path):
    if find_spec("psycopg2") is None:
        lacking("no psycopg2 here, by which MLflow speaks to PostgreSQL (make test installs it)")
    shelf, shown = tmp_path / "shelf", (made / "results" / "table5.csv").read_bytes()
    with (
        postgresql() as database,
        serving(
            made, "server", "--backend-store-uri", database, "--artifacts-destination", str(shelf)
        ) as address,
    ):
        command("python", "-m", "pipeline.track", folder=made, MLFLOW_TRACKING_URI=address)
        command("python", "-m", "pipeline.track", folder=made, MLFLOW_TRACKING_URI=address)  # nothing twice
        kept = {sha256(file) for file in shelf.rglob("weights.pt")}
        assert kept == {sha256(file) for file in made.glob("results/runs/smoke/*/*/*/weights.pt")}
        assert len(kept) == len(list(shelf.rglob("weights.pt"))) == 3
        shutil.rmtree(made / "results")
        words = ("python", "-m", "pipeline.table", "table5", "--from", "mlflow")
        command(*words, folder=made, MLFLOW_TRACKING_URI=address)
        assert (made / "results" / "table5.csv").read_bytes() == shown
