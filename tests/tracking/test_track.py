"""MLflow has every run once, whatever happened to the run or to the store."""

import json
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import command, free_port

from pipeline.config.reading import load
from pipeline.papers import places
from pipeline.system.locks import hold
from pipeline.tracking import events, system_metrics
from pipeline.tracking.delivered import Delivered, file_of
from pipeline.tracking.delivery import waits
from pipeline.tracking.descriptions import NOTE, PARENT, views
from pipeline.tracking.events import EVENTS, Events
from pipeline.tracking.store import STORE, Store, connect, masked, uri
from pipeline.work.graph import Graph

SECRET = "mysql://reader:hunter2@db.example.org/runs"


@pytest.fixture(scope="session")
def empty(tmp_path_factory):
    """The file of a new store, which takes MLflow a second."""
    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{file}")
        Store(connect())
    return file


@pytest.fixture
def store(empty, workplace, monkeypatch):
    """A new store with a new address, since MLflow keeps one open for every address."""
    shutil.copy(empty, workplace / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workplace}/mlflow.db")
    return Store(connect())


MANIFEST = SimpleNamespace(sha256="abc" * 21 + "d", split="train", count=48)


def tell(graph, *, metrics, end="FINISHED", seed=0, run="pretrain.imagenet-full"):
    """The event log of a training that may not have ended."""
    training = graph.training(*run.split("."), seed)
    header = {
        "stage": training.stage,
        "identity": training.identity,
        "parent": training.start.identity if training.start else None,
        "params": {"optimiser.adam.lr": "0.0001"},
        "tags": {
            "run": training.label,
            "scale": "smoke",
            "commit": "0123456789ab+",
            "dataset": "procedural",
            "data_sha256": MANIFEST.sha256,
        },
    }
    events = Events(training.folder / EVENTS, header)
    for step, value in metrics.items():
        events.log(step, {"loss": value})
    if end:
        events.end(end, [])
    return training


def stored(store):
    experiment = store.client.get_experiment_by_name("pretrain")
    return store.client.search_runs([experiment.experiment_id])


def history(store, run):
    return [(each.step, each.value) for each in store.client.get_metric_history(run.info.run_id, "loss")]


def test_a_finished_run_is_there_once_with_its_params_tags_and_curve(store):
    training = tell(Graph(load()), metrics={1: 0.5, 2: 0.25})
    for _ in range(3):
        store.read.clear()
        store.deliver()
    (run,) = stored(store)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "imagenet-full 0"
    assert run.data.tags["identity"] == training.identity
    assert run.data.params == {"optimiser.adam.lr": "0.0001"}
    assert run.data.tags["run"] == "pretrain.imagenet-full"
    assert history(store, run) == [(1, 0.5), (2, 0.25)]


def test_an_interrupted_run_resumes_the_same_mlflow_run_without_repeated_steps(store):
    graph = Graph(load())
    tell(graph, metrics={1: 0.5, 2: 0.4, 3: 0.3}, end=None)
    store.deliver()
    assert stored(store)[0].info.status == "RUNNING"
    tell(graph, metrics={2: 0.4, 3: 0.3, 4: 0.2})  # from a checkpoint at step 1
    store.deliver()
    (run,) = stored(store)
    assert run.info.status == "FINISHED"
    assert history(store, run) == [(1, 0.5), (2, 0.4), (3, 0.3), (4, 0.2)]


def test_a_run_that_is_made_again_replaces_the_old_one(store):
    graph = Graph(load())
    tell(graph, metrics={1: 0.5})
    store.deliver()
    tell(graph, metrics={1: 0.7})
    store.deliver()
    (run,) = stored(store)
    assert history(store, run) == [(1, 0.7)]


def test_a_run_says_its_source_its_data_and_its_place_in_the_paper_as_mlflow_expects(store):
    training = tell(Graph(load()), metrics={1: 0.5})
    store.deliver()
    (run,) = stored(store)
    tags = run.data.tags
    assert (tags["mlflow.source.git.commit"], tags["mlflow.source.git.dirty"]) == ("0123456789ab", "True")
    assert tags["mlflow.source.name"] == "smoke pretrain"
    assert tags["mlflow.user"] == (training.folder / EVENTS).owner()
    (data,) = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("procedural", MANIFEST.sha256[:8])
    assert [(each.key, each.value) for each in data.tags] == [("mlflow.data.context", "train")]
    assert f"snakemake --cores all {training.weights} --config scale=smoke" in tags[NOTE]
    shown = store.client.get_experiment_by_name("pretrain").tags
    assert "tags.scale = 'smoke'" in json.loads(shown["mlflow.sharedViewState.scale-smoke"])["state"]


@pytest.mark.parametrize("later", [False, True])
def test_a_run_links_to_the_one_it_starts_from_also_to_one_that_is_made_again(store, later):
    graph, run = Graph(load()), "finetune.cifar10-ours"
    parent = graph.training(*run.split("."), 0).start
    tell(graph, metrics={1: 0.5}, run=run)
    tell(graph, metrics={1: 0.5}, run=parent.label)  # its log sorts later by name
    store.deliver()
    if later:
        time.sleep(0.01)
        tell(graph, metrics={1: 0.7}, run=parent.label)
        store.deliver()
    (child,) = store.client.search_runs([store.client.get_experiment_by_name("finetune").experiment_id])
    (start,) = stored(store)
    assert child.data.tags[PARENT] == start.info.run_id
    assert history(store, start) == [(1, 0.7 if later else 0.5)]


def test_a_measurement_has_its_trainings_parameters_beside_its_protocols(workplace):
    measurement = Graph(load()).measurement("finetune.cifar10-ours.centre", 0)
    with events.tracked(measurement, MANIFEST, commit="0123", files=[]):
        pass
    begin = json.loads((measurement.folder / EVENTS).read_text().splitlines()[0])["begin"]
    assert begin["parent"] == measurement.training.identity
    assert begin["params"]["protocol.split"] == "test"
    assert begin["params"]["optimiser.adam.lr"] == str(measurement.training.spec.optimiser.options.lr)


def test_system_metrics_are_sampled_beside_the_run(store, monkeypatch):
    monkeypatch.setattr(system_metrics, "EVERY", 0.05)
    training = Graph(load()).training("pretrain", "imagenet-full", 0)
    with events.tracked(training, MANIFEST, commit="0123", files=[]) as log:
        log.log(1, {"loss": 0.5})
        time.sleep(1.0)
    store.deliver()
    (run,) = stored(store)
    assert run.data.metrics["system/process_memory_megabytes"] > 10
    assert 0 <= run.data.metrics["system/cpu_utilization_percentage"] <= 100
    assert history(store, run) == [(1, 0.5)]


def test_nvidia_smi_is_read_by_card_and_what_a_card_lacks_is_left_out():
    assert system_metrics.read_gpus("93, 40960, 310.52\n0, 12, [N/A]\n") == {
        "gpu_0_utilization_percentage": 93,
        "gpu_0_memory_usage_megabytes": 40960,
        "gpu_0_power_usage_watts": 310.52,
        "gpu_1_utilization_percentage": 0,
        "gpu_1_memory_usage_megabytes": 12,
    }


def test_a_store_that_is_moved_keeps_its_artefacts(tracked, tmp_path, monkeypatch):
    from mlflow import MlflowClient

    training = tell(Graph(load()), metrics={1: 0.5}, end=None)
    file = training.folder / "run.json"
    file.write_text("{}")
    Events(training.folder / EVENTS, {}).end("FINISHED", [file])
    command(sys.executable, "-m", "pipeline.track", folder=tracked)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for part in ("mlflow.db", "mlruns"):
        shutil.move(tracked / part, moved / part)
    monkeypatch.chdir(moved)
    # absolute, so new to this process: MLflow keeps a store by its address
    client = MlflowClient(f"sqlite:///{moved}/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("pretrain").experiment_id])
    assert [each.path for each in client.list_artifacts(run.info.run_id)] == ["run.json"]
    assert Path(client.download_artifacts(run.info.run_id, "run.json")).read_text() == "{}"


def curves(store):
    """Every curve in MLflow, by its run's name."""
    return sorted((run.info.run_name, history(store, run)) for run in stored(store))


@pytest.fixture
def delivered(store):
    """Three delivered event logs, and their curves in MLflow."""
    for seed in range(3):
        tell(Graph(load()), metrics={1: 0.5 + seed}, seed=seed)
    store.deliver()
    return curves(store)


def forget(store):
    """Delete all metrics of the store, so that those found later were delivered again."""
    with sqlite3.connect(uri().removeprefix("sqlite:///")) as database:
        database.execute("delete from metrics")


def test_delivered_runs_are_not_delivered_again(store, delivered):
    assert not waits()
    forget(store)
    Store(connect()).deliver()
    assert [curve for _, curve in curves(store)] == [[], [], []]
    tell(Graph(load()), metrics={1: 0.9}, seed=1)  # made again: this one alone is new
    assert waits()
    Store(connect()).deliver()
    assert [curve for _, curve in curves(store)] == [[], [(1, 0.9)], []]


def memory_lines(change):
    """Edit the record of deliveries line by line."""

    def damage(folder):
        path = Delivered(uri()).path
        path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))

    return damage


DAMAGES = {
    "lost": lambda folder: Delivered(uri()).path.unlink(),
    "empty": memory_lines(lambda lines: []),
    "half a line": memory_lines(lambda lines: [*lines[:-1], lines[-1][:-9]]),
    "a line more in its middle": memory_lines(lambda lines: [*lines[:2], lines[1], *lines[2:]]),
    "an edited line": memory_lines(
        lambda lines: [lines[0], lines[1].replace(b'"size": ', b'"size": 9'), *lines[2:]]
    ),
    "another beginning": memory_lines(lambda lines: [lines[0].replace(b'"id": "', b'"id": "0'), *lines[1:]]),
    "no text": memory_lines(lambda lines: [b"\xff\x00\n", *lines]),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_record_of_deliveries_that_the_store_does_not_confirm_is_ignored(store, delivered, damage):
    forget(store)
    DAMAGES[damage](store)
    assert waits()
    Store(connect()).deliver()
    assert curves(store) == delivered
    assert not waits()


def test_another_store_gets_every_run_and_the_first_is_remembered(store, delivered, monkeypatch):
    first = uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", first.replace("mlflow.db", "other.db"))
    assert waits()
    other = Store(connect())
    other.deliver()
    assert curves(other) == delivered
    monkeypatch.setenv("MLFLOW_TRACKING_URI", first)
    assert not waits()


def test_a_deleted_or_restored_store_gets_missing_runs(tracked):
    database, backup = tracked / "mlflow.db", tracked / "backup.db"
    count = "select count(*) from runs where status = 'FINISHED'"
    deliver = (sys.executable, "-m", "pipeline.track")
    for seed in range(3):
        tell(Graph(load()), metrics={1: 0.5}, seed=seed)
        command(*deliver, folder=tracked)
        if seed == 1:
            shutil.copy(database, backup)
    shutil.copy(backup, database)
    assert waits()
    command(*deliver, folder=tracked)
    assert sqlite3.connect(database).execute(count).fetchone() == (3,)
    database.unlink()
    assert waits()
    command(*deliver, folder=tracked)
    assert sqlite3.connect(database).execute(count).fetchone() == (3,)


def test_only_the_unconfirmed_run_is_delivered_again(store, delivered):
    training = tell(Graph(load()), metrics={1: 0.9}, seed=3)
    stat = (training.folder / EVENTS).stat()
    memory = Delivered(uri())
    memory.believe()
    memory.add({training.identity: (stat.st_size, stat.st_mtime_ns)})  # killed before it said so to the store
    forget(store)
    Store(connect()).deliver()
    assert [curve for _, curve in curves(store)] == [[], [], [], [(1, 0.9)]]


def test_with_everything_delivered_mlflow_is_not_even_imported(store, delivered):
    code = (
        "import sys, threading; from pipeline.tracking import delivery; e = threading.Event(); e.set(); "
        "delivery.deliver(until=e, patience=0); print(delivery.waits(), 'mlflow' in sys.modules)"
    )
    words = (sys.executable, "-c", code)
    assert command(*words, folder=Path.cwd()).stdout.split() == ["False", "False"]
    tell(Graph(load()), metrics={1: 0.9}, seed=3)
    assert command(*words, folder=Path.cwd()).stdout.split() == ["False", "True"]


def test_a_delivery_to_another_store_does_not_count_for_this_one(tracked):
    tell(Graph(load()), metrics={1: 0.5})
    with hold(file_of("sqlite:///other.db", "lock")):
        command(sys.executable, "-m", "pipeline.track", folder=tracked)
    with sqlite3.connect(tracked / "mlflow.db") as database:
        assert database.execute("select key, step, value from metrics").fetchall() == [("loss", 1, 0.5)]


def test_an_event_log_cut_within_a_line_is_delivered_up_to_that_line(store):
    graph = Graph(load())
    training = tell(graph, metrics={1: 0.5, 2: 0.4}, end=None)
    path = training.folder / EVENTS
    path.write_text(path.read_text()[:-7])
    store.deliver()
    assert history(store, stored(store)[0]) == [(1, 0.5)]
    tell(graph, metrics={2: 0.4})
    store.deliver()
    assert history(store, stored(store)[0]) == [(1, 0.5), (2, 0.4)]


def test_an_unreachable_store_is_reported_and_delivered_to_later(tracked):
    tell(Graph(load()), metrics={1: 0.5})
    away = "sqlite:////proc/nowhere/mlflow.db"
    done = command(
        sys.executable,
        "-c",
        "from pipeline.tracking import delivery; import threading; e = threading.Event(); e.set(); "
        "from pipeline.runner.cli import exit_code_of; import sys; "
        "sys.exit(exit_code_of('track', lambda: delivery.deliver(until=e, patience=0.5)))",
        folder=tracked,
        check=False,
        MLFLOW_TRACKING_URI=away,
    )
    assert done.returncode == 1
    assert "NOT DELIVERED" in done.stderr
    assert "`python -m pipeline.track` delivers them" in done.stderr
    command(sys.executable, "-m", "pipeline.track", folder=tracked)
    with sqlite3.connect(tracked / "mlflow.db") as database:
        assert database.execute("select key, step, value from metrics").fetchall() == [("loss", 1, 0.5)]


def test_passwords_in_addresses_are_masked():
    assert masked(f"cannot reach {SECRET}!") == "cannot reach mysql://reader:***@db.example.org/runs!"
    assert masked("http://u:p@ss@host:5000/x") == "http://u:***@host:5000/x"
    assert masked("https://t0ken@host/x?api_key=abc&n=1") == "https://***@host/x?api_key=***&n=1"
    assert masked("sqlite:///mlflow.db") == "sqlite:///mlflow.db"


def test_a_following_process_ends_with_the_one_that_it_follows(tracked):
    code = "from pipeline.tracking.follower import follow; import os; follow(); os._exit(9)"
    done = command(sys.executable, "-c", code, folder=tracked, check=False)  # returns when both have ended
    assert done.returncode == 9
    lock = hold(file_of(STORE, "lock"))
    assert lock is not None
    lock.close()


def test_a_runs_tags_name_the_tables_that_show_it(workplace):
    graph = Graph(load())
    training = graph.training("finetune", "voc2007-imagenet-full", 0)
    with events.tracked(training, MANIFEST, commit="0123", files=[]):
        pass
    begin = json.loads((training.folder / EVENTS).read_text().splitlines()[0])["begin"]
    assert begin["tags"]["paper"] == "dong2016"
    assert "dong2016/table6" in begin["tags"]["tables"]
    assert begin["tags"]["commit"] == "0123"
    assert begin["params"]["optimiser.adam.lr"] == "0.0001"


def test_a_measurement_names_its_place_in_each_table_and_each_table_has_a_view_of_such_places():
    assert places("pretrain.imagenet-input-output.restore") == {
        "dong2016/restorations": "01 Network-2: Input to output",
        "dong2016/table6": "02 Input output shortcut: PSNR",
    }
    assert places("finetune.voc2007-gaussian.crops10")["dong2016/table8"] == (
        "01 No pre-training: Animal, Vehicle, Mean all"
    )
    view = json.loads(views()["mlflow.sharedViewState.dong2016-table6"])
    state = json.loads(view["state"])
    assert view["name"] == "dong2016, Table 6"
    assert state["orderByKey"] == "tags.`dong2016/table6`"
    assert {"metrics.`psnr`", "metrics.`map`", "tags.`dong2016/table6`"} <= set(state["selectedColumns"])


def test_an_unreachable_database_is_detected_at_once(workplace, monkeypatch):
    from sqlalchemy.exc import OperationalError

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"postgresql://reader:hunter2@127.0.0.1:{free_port()}/runs")
    began = time.monotonic()
    with pytest.raises(OperationalError):
        connect()
    assert time.monotonic() - began < 20


def test_two_processes_take_turns_at_a_run_also_after_a_kill(workplace):
    path = workplace / "results" / EVENTS
    code = (
        "import sys; from pathlib import Path; from pipeline.tracking.events import Events; "
        f"events = Events(Path({str(path)!r}), {{}}); print('begun', flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", code]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(words, stdin=subprocess.PIPE, **pipes) as first:
        assert first.stdout.readline() == "begun\n"
        with subprocess.Popen(words, stdin=subprocess.DEVNULL, **pipes) as second:
            assert second.stderr.readline() == f"{path}: waiting for another process of the same run\n"
            first.kill()
            assert second.stdout.readline() == "begun\n"
