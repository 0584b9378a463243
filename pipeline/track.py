"""track: everything that runs is seen in MLflow, live.

A run writes what happens to `events.jsonl` in its own folder, and never waits for MLflow. Beside all runs one
process follows these files and hands over what is new; what was not handed over, the next one finds there.
"""

import argparse
import fcntl
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pipeline.command import answered
from pipeline.delivered import EXPERIMENT, Delivered, State, file_of, is_file, stories, vouched
from pipeline.files import hold, holder, write_whole
from pipeline.graph import RESULTS, Measurement, Training

STORE = "sqlite:///mlflow.db"
FOLLOWED = "PIPELINE_FOLLOWED"  # set by a process that sees to what the runs below it tell
EVENTS = "events.jsonl"
LOOK_SECONDS = 2.0
DATABASES = ("postgresql", "mysql", "mssql")  # servers that MLflow takes; an address may name the driver, too
PATIENCE = 10.0  # with a store that takes nothing, once all is told
BATCH = 500  # metrics in one call; a store takes a thousand at most
REMEMBERED = 50  # stories that are delivered before the store vouches for them; a kill repeats these


class Events:
    """The story of one run: who it is, its metrics by step, how it ended."""

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab")
        self._wait()
        told, self.last = _told(path), -1
        if told and told[-1].get("end") != "FINISHED":  # it was interrupted: the same story goes on
            self.last = max((line["step"] for line in told if "step" in line), default=-1)
            self._file.truncate(sum(len(_written(line)) for line in told))
        else:
            self._file.truncate(0)
            self._tell({"begin": header, "time": _now()})

    def _wait(self) -> None:
        """One process at a time works on a run: a kill of Snakemake alone leaves its jobs alive."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{self._file.name}: waiting for another process at the same run", file=sys.stderr)
            fcntl.flock(self._file, fcntl.LOCK_EX)

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Tell a step once, also where a run goes on from a checkpoint before it."""
        if step > self.last:
            self._tell({"step": step, "metrics": metrics, "time": _now()})

    def end(self, status: str, files: list[Path]) -> None:
        with self._file:
            self._tell({"end": status, "files": [str(file) for file in files], "time": _now()})

    def _tell(self, line: dict[str, Any]) -> None:
        self._file.write(_written(line))
        self._file.flush()


def _now() -> int:
    return int(time.time() * 1000)


def _written(line: dict[str, Any]) -> bytes:
    return json.dumps(line).encode() + b"\n"


def _told(path: Path) -> list[dict[str, Any]]:
    """The lines of a story, as far as they are what was written: a kill may leave half of the last one."""
    if not path.exists():
        return []
    told: list[dict[str, Any]] = []
    for text in path.read_bytes().splitlines(keepends=True):
        try:
            line = json.loads(text)
        except ValueError:
            break
        if not isinstance(line, dict) or _written(line) != text or ("begin" in line) != (not told):
            break
        told.append(line)
    return told


@contextmanager
def run(work: Training | Measurement, manifest: Any, *, commit: str, files: list[Path]) -> Iterator[Events]:
    """Tell the story of a training or a measurement; `files` are its artefacts once it is finished."""
    from pipeline.papers import places, used_by
    from pipeline.typed import plain

    training = work if isinstance(work, Training) else work.training
    label = work.label if isinstance(work, Training) else work.name
    header = {
        "stage": work.stage if isinstance(work, Training) else "evaluate",
        "identity": work.identity,
        "params": flat(plain(work.spec)),
        "tags": {
            "run": label,
            "seed": str(training.seed),
            "scale": training.scale,
            "key": work.key,
            "commit": commit,
            "dataset": work.shards.shown,
            "data_sha256": manifest.sha256,
            **used_by(label),
            **(places(label) if isinstance(work, Measurement) else {}),
        },
    }
    events = Events(work.folder / EVENTS, header)
    follower = follow()
    try:
        yield events
    except BaseException as error:
        with suppress(OSError):  # a full disk has been said already
            events.end("FAILED" if isinstance(error, Exception) else "KILLED", [])
        raise
    else:
        events.end("FINISHED", files)
    finally:
        if follower is not None and follower.stdin is not None:
            follower.stdin.close()


def flat(value: Any, prefix: str = "") -> dict[str, str]:
    """A nested specification as MLflow's parameters: data.set, optimiser.adam.lr, …"""
    if isinstance(value, dict):
        parts: dict[str, str] = {}
        for name, each in value.items():
            parts |= flat(each, f"{prefix}.{name}" if prefix else name)
        return parts
    return {prefix: value if isinstance(value, str) else json.dumps(value)}


def follow() -> subprocess.Popen | None:
    """Hand over what happens until this process has ended; where one above it does so already, nothing.

    The follower knows the end, whatever it was, by the end of its standard input.
    """
    if FOLLOWED in os.environ:
        return None
    words = [sys.executable, "-m", "pipeline.track", "--follow"]
    return subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True)


def waits() -> bool:
    """Whether a story is not delivered, as far as that is known without MLflow."""
    store = masked(uri())
    memory = Delivered(store)
    if is_file(store):
        memory.trust(vouched(store, memory.tag))
    else:
        memory.believe()
    return any(_pending(memory.known))


def _pending(known: dict[str, State]) -> Iterator[tuple[str, State]]:
    return ((story, state) for story, state in stories(EVENTS) if known.get(story) != state)


def finish(followers: list[subprocess.Popen | None], *, within: float | None = None) -> None:
    """Let them hand over the rest, and wait for it; after so many seconds they go on alone."""
    told = [follower for follower in followers if follower is not None]
    until = time.monotonic() + (within or 0)
    for follower in told:
        assert follower.stdin is not None
        follower.stdin.close()
    for follower in told:
        with suppress(subprocess.TimeoutExpired):
            follower.wait(None if within is None else max(0.0, until - time.monotonic()))


class Store:
    """MLflow, and how much of each story it has."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.experiments: dict[str, str] = {}
        self.runs: dict[str, tuple[str, int]] = {}  # the MLflow run that tells a story, and when it began
        self.lines: dict[str, int] = {}  # how many of its lines are told
        self.memory = Delivered(masked(uri()))
        found = client.get_experiment_by_name(EXPERIMENT)
        self.vouched = found.tags.get(self.memory.tag) if found else None
        self.memory.trust(self.vouched)
        self.read = dict(self.memory.known)  # the state of each story as it was handed over
        self.ended: dict[str, State] = {}  # handed over, and not remembered yet
        self.growing: dict[str, State] = {}  # so are these, and more of them is to come

    def hand_over(self, *, last: bool = True) -> None:
        """All that is new in all stories; one that the store refuses holds no other up.

        A story that still grows is remembered at the last look alone.
        """
        from mlflow.exceptions import MlflowException

        refused = None
        for story, state in _pending(self.read):
            told = _told(RESULTS / "runs" / story / EVENTS)
            try:
                self._tell(story, told)
            except MlflowException as error:
                if error.error_code != "INVALID_PARAMETER_VALUE":
                    raise
                refused = error
                continue
            self.read[story] = self.growing[story] = state
            if told and "end" in told[-1]:
                self.ended[story] = self.growing.pop(story)
            if len(self.ended) >= REMEMBERED:
                self._remember()
        if last:
            self.ended, self.growing = self.ended | self.growing, {}
        self._remember()
        if refused is not None:
            raise refused

    def _remember(self) -> None:
        if self.ended or not self.memory.trusted:
            self.memory.add(self.ended)
            self.ended = {}
        if self.vouched != self.memory.digest:
            experiment = self._experiment(EXPERIMENT)
            self.client.set_experiment_tag(experiment, self.memory.tag, self.memory.digest)
            self.vouched, self.memory.trusted = self.memory.digest, True

    def _tell(self, story: str, told: list[dict[str, Any]]) -> None:
        """A metric that the store has is not doubled: its time is a part of it, and the file has the time."""
        from mlflow.entities import Metric

        if not told:
            return
        run_id = self._run(story, told[0])
        if run_id is None:
            return
        metrics = [
            Metric(name, value, line["time"], line["metrics"].get("epoch", line["step"]))
            for line in told[self.lines.get(story, 0) :]
            if "metrics" in line
            for name, value in line["metrics"].items()
            if name != "epoch"  # what the others of that line are counted by
        ]
        for first in range(0, len(metrics), BATCH):
            self.client.log_batch(run_id, metrics=metrics[first : first + BATCH])
        self.lines[story] = len(told)
        if "end" in told[-1]:
            for file in told[-1]["files"]:
                if Path(file).exists():
                    self.client.log_artifact(run_id, file)
            self.client.set_terminated(run_id, told[-1]["end"], told[-1]["time"])

    def _run(self, story: str, begin: dict[str, Any]) -> str | None:
        """The MLflow run of a story; one that tells an earlier story of the same run gives way to it."""
        header, began = begin["begin"], begin["time"]
        if self.runs.get(story, ("", 0))[1] == began:
            return self.runs[story][0]
        experiment = self._experiment(header["stage"])
        found = ""
        for old in self.client.search_runs([experiment], f"tags.identity = '{header['identity']}'"):
            if old.info.start_time == began:
                found = old.info.run_id
            elif old.info.start_time > began:
                return None
            else:
                self.client.delete_run(old.info.run_id)
        if not found:
            found = self._begin(experiment, header, began)
        elif self.client.get_run(found).info.status != "FINISHED":
            self.client.update_run(found, "RUNNING")
            self._log_params(found, header)
        self.runs[story], self.lines[story] = (found, began), 0
        return found

    def _begin(self, experiment: str, header: dict[str, Any], began: int) -> str:
        name = header["identity"].split("/", 2)[2]
        tags = {**header["tags"], "identity": header["identity"], "mlflow.runName": name}
        run_id = self.client.create_run(experiment, start_time=began, tags=tags).info.run_id
        self._log_params(run_id, header)
        return run_id

    def _log_params(self, run_id: str, header: dict[str, Any]) -> None:
        """Also of a run that is there already: its beginning may have been cut off."""
        from mlflow.entities import Param

        params = [Param(name, value[:6000]) for name, value in header["params"].items()]
        self.client.log_batch(run_id, params=params)

    def _experiment(self, name: str) -> str:
        if name not in self.experiments:
            found = self.client.get_experiment_by_name(name)
            number = found.experiment_id if found else self.client.create_experiment(name)
            wanted = {"mlflow.experimentKind": "custom_model_development"}  # how the UI opens it
            if name == "evaluate":
                wanted |= views()
            for tag, value in wanted.items():
                if not found or found.tags.get(tag) != value:
                    self.client.set_experiment_tag(number, tag, value)
            self.experiments[name] = number
        return self.experiments[name]


def views() -> dict[str, str]:
    """For each table a view of the UI, as its menu "Views" keeps them: its runs in the order of its rows."""
    from pipeline.papers import numbered, papers

    found = {}
    for paper, facts in papers().items():
        for table, layout in facts.tables.items():
            place = f"tags.`{paper}/{table}`"
            metrics = dict.fromkeys(
                f"metrics.`{cell.metric}`" for _, _, cell in layout.cells() if cell.metric
            )
            state = {
                "searchFilter": f"{place} LIKE '%'",
                "orderByKey": place,
                "orderByAsc": True,
                "startTime": "ALL",
                "lifecycleFilter": "Active",
                "datasetsFilter": [],
                "modelVersionFilter": "All Runs",
                "selectedColumns": [place, *metrics, "tags.`scale`"],
            }
            view = {"name": f"{paper}, {numbered(table)}", "createdAt": 0, "state": json.dumps(state)}
            found[f"mlflow.sharedViewState.{paper}-{table}"] = json.dumps(view)
    return found


def uri() -> str:
    return os.environ.get("MLFLOW_TRACKING_URI") or STORE


def masked(text: str) -> str:
    """Addresses in it without the passwords and tokens that they may carry."""
    text = re.sub(r"://([^/:\s]*):\S*@", r"://\1:***@", text)
    text = re.sub(r"://[^/:\s]*@", "://***@", text)
    return re.sub(
        r"(?i)([?&][^=&\s]*(?:password|passwd|pwd|token|secret|key)[^=&\s]*=)[^&\s]*", r"\1***", text
    )


def connect() -> Any:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # with the password in it
    # A server that is away is asked again by `deliver`; MLflow's own patience is of minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    import logging

    logging.disable(logging.ERROR)  # the store's own account of how it makes its tables, and of its address
    from mlflow import MlflowClient

    store = Path(uri().removeprefix("sqlite:///"))
    if uri().startswith("sqlite:///") and not store.exists():  # tables half-made would never be of use
        write_whole(store, lambda beside: MlflowClient(f"sqlite:///{beside}").search_experiments())
    if uri().partition(":")[0].partition("+")[0] in DATABASES:  # MLflow tries one that is away for 100 s
        from sqlalchemy import create_engine

        create_engine(uri()).connect().close()
    return MlflowClient(uri())


def deliver(*, until: threading.Event, patience: float) -> None:
    """Hand over until the end and all that is left then; `patience` is for a store that takes nothing."""
    memory, looked = Delivered(masked(uri())), file_of(masked(uri()), "looked")
    memory.trust(vouched(memory.store, memory.tag))
    store, fault, ended = None, "", 0.0
    while True:
        last = until.is_set()
        ended = ended or (time.monotonic() if last else 0.0)
        try:
            looking = time.time()
            if store is None and (not memory.trusted or any(_pending(memory.known))):
                store = Store(connect())
            if store is not None:
                store.hand_over(last=last)
            looked.touch()
            os.utime(looked, (looking, looking))
            fault = ""
            if last:
                return
        except Exception as error:  # whatever trouble the store is in, the runs go on
            if not fault:
                print(f"MLflow at {masked(uri())} takes nothing: {_reason(error)}", file=sys.stderr)
            fault = _reason(error)
            if last and time.monotonic() - ended > patience:
                raise _undelivered(fault) from None
        until.wait(LOOK_SECONDS)
        if last:
            time.sleep(0.2)


def _undelivered(fault: str) -> ValueError:
    return ValueError(
        f"NOT DELIVERED to MLflow at {masked(uri())}: {fault}; what the runs told waits in their folders "
        f"({EVENTS}), and `python -m pipeline.track` delivers it"
    )


def _reason(error: Exception) -> str:
    return masked(" ".join(str(error).split()))[:200] or type(error).__name__


def deliver_in_turn(*, until: threading.Event, patience: float) -> None:
    """As `deliver`; while another process hands over, it may do so for this one too, up to the end."""
    lock_file, looked = (file_of(masked(uri()), kind) for kind in ("lock", "looked"))
    ended = 0.0
    while True:
        if lock := hold(lock_file):
            with lock:
                return deliver(until=until, patience=patience)
        if until.is_set():
            ended = ended or time.time()
            if looked.exists() and looked.stat().st_mtime > ended:
                return None
            if time.time() - ended > patience + LOOK_SECONDS:
                raise _undelivered(f"{holder(lock_file)} hands over, and does not come to it")
            time.sleep(0.2)
        until.wait(LOOK_SECONDS)


def _await_end(until: threading.Event) -> None:
    sys.stdin.read()
    until.set()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.track", description=__doc__.split("\n")[0])
    parser.add_argument("--follow", action="store_true", help="until standard input ends")
    given = parser.parse_args()
    until = threading.Event()
    if given.follow:
        threading.Thread(target=_await_end, args=(until,), daemon=True).start()
    else:
        until.set()

    sys.exit(answered("track", lambda: deliver_in_turn(until=until, patience=PATIENCE)))


if __name__ == "__main__":
    main()
