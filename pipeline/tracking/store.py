"""Show all runs in MLflow, live.

A run appends its events to `events.jsonl` in its folder and never waits for MLflow. One process, the
follower, reads these event logs and delivers new lines; the next follower delivers what is still pending.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.config.runs import STAGES
from pipeline.system.files import RESULTS, write_whole
from pipeline.tracking.delivered import EXPERIMENT, SQLITE, Delivered, State, event_logs, is_file
from pipeline.tracking.descriptions import (
    NOTE,
    PARENT,
    PICTURES,
    dataset_of,
    note_of,
    owner_of,
    tags_of,
    view_of_scale,
    views,
)
from pipeline.tracking.events import EVENTS, lines_of

STORE = "sqlite:///mlflow.db"
ARTIFACTS = "mlruns"  # of a store that is a file, beside it
DATABASES = ("postgresql", "mysql", "mssql")  # MLflow's servers; an address may add a driver: mysql+pymysql
BATCH = 900  # metrics per call; a store accepts at most 1,000 metrics, parameters and tags together
REMEMBERED = 50  # event logs per update of the store's digest; after a kill these are delivered again


def pending(known: dict[str, State]) -> Iterator[tuple[str, State]]:
    return ((log, state) for log, state in event_logs(EVENTS) if known.get(log) != state)


class Store:
    """MLflow, and how much of each event log it has."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.experiments: dict[str, str] = {}
        self.tags: dict[str, dict[str, str]] = {}  # of each experiment
        self.runs: dict[str, tuple[str, int]] = {}  # the MLflow run of an event log, and its start
        self.lines: dict[str, int] = {}  # the number of its lines that are delivered
        self.memory = Delivered(masked(uri()))
        experiment = client.get_experiment_by_name(EXPERIMENT)
        self.vouched = experiment.tags.get(self.memory.tag) if experiment else None
        self.memory.trust(self.vouched)
        self.read = dict(self.memory.known)  # the state of each event log when it was delivered
        self.ended: dict[str, State] = {}  # delivered and complete, not yet remembered
        self.growing: dict[str, State] = {}  # delivered, with more lines to come

    def deliver(self, *, last: bool = True) -> None:
        """Deliver the new lines of all event logs; one that the store refuses does not block the others.

        A log that still grows is remembered only at the last call.
        """
        from mlflow.exceptions import MlflowException

        refused = None
        for log, state in pending(self.read):
            lines = lines_of(RESULTS / "runs" / log / EVENTS)
            try:
                self._deliver(log, lines)
            except MlflowException as error:
                if error.error_code != "INVALID_PARAMETER_VALUE":
                    raise
                refused = error
                continue
            self.read[log] = self.growing[log] = state
            if lines and "end" in lines[-1]:
                self.ended[log] = self.growing.pop(log)
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

    def _deliver(self, log: str, lines: list[dict[str, Any]]) -> None:
        """Deliver new lines. A repeated metric is not stored twice, since its time comes from the file."""
        if not lines:
            return
        run_id = self._run(log, lines[0])
        if run_id is None:
            return
        params = {} if self.lines[log] else lines[0]["begin"]["params"]
        self._log(run_id, metrics=list(metrics_of(lines[self.lines[log] :])), params=params)
        self.lines[log] = len(lines)
        if "end" in lines[-1]:
            files = [Path(file) for file in lines[-1]["files"] if Path(file).exists()]
            for file in files:
                self.client.log_artifact(run_id, str(file))
            if PICTURES in [file.name for file in files]:
                note = note_of(lines[0]["begin"], experiments=self._stages(), pictures_of=run_id)
                self.client.set_tag(run_id, NOTE, note)
            self.client.set_terminated(run_id, lines[-1]["end"], lines[-1]["time"])

    def _log(self, run_id: str, *, metrics: list[Any], params: dict[str, str]) -> None:
        from mlflow.entities import Param

        shown = [Param(name, value[:6000]) for name, value in params.items()]
        for first in range(0, max(len(metrics), bool(shown)), BATCH):
            self.client.log_batch(run_id, metrics=metrics[first : first + BATCH], params=shown)
            shown = []

    def _run(self, log: str, begin: dict[str, Any]) -> str | None:
        """The MLflow run of an event log; MLflow runs of earlier logs of the same run are deleted."""
        from mlflow.entities import RunTag

        header, began = begin["begin"], begin["time"]
        if self.runs.get(log, ("", 0))[1] == began:
            return self.runs[log][0]
        experiment = self._experiment(header["stage"])
        self._tag(experiment, view_of_scale(header["tags"]["scale"]))
        run_id, replaced = "", []
        for old in self.client.search_runs([experiment], f"tags.identity = '{header['identity']}'"):
            if old.info.start_time == began:
                run_id = old.info.run_id
            elif old.info.start_time > began:
                return None
            else:
                self.client.delete_run(old.info.run_id)
                replaced.append(old.info.run_id)
        tags = tags_of(header) | {NOTE: note_of(header, experiments=self._stages())}
        if parent := self._parent(header.get("parent")):
            tags[PARENT] = parent
        if not run_id:
            user = {"mlflow.user": owner_of(RESULTS / "runs" / log / EVENTS)}
            run_id = self.client.create_run(experiment, start_time=began, tags=tags | user).info.run_id
        else:  # a kill may have interrupted its creation
            if self.client.get_run(run_id).info.status != "FINISHED":
                self.client.update_run(run_id, "RUNNING")
            self.client.log_batch(run_id, tags=[RunTag(*tag) for tag in tags.items()])
        self.client.log_inputs(run_id, [dataset_of(header)])
        self._adopt(replaced, run_id)
        self.runs[log], self.lines[log] = (run_id, began), 0
        return run_id

    def _parent(self, identity: str | None) -> str | None:
        """The MLflow run that this one starts from or measures, delivered first where its log is here."""
        if identity is None:
            return None
        if identity in self.runs:
            return self.runs[identity][0]
        if lines := lines_of(RESULTS / "runs" / identity / EVENTS):
            return self._run(identity, lines[0])
        experiment = self._experiment(identity.split("/")[1])
        found = self.client.search_runs([experiment], f"tags.identity = '{identity}'", max_results=1)
        return found[0].info.run_id if found else None

    def _adopt(self, replaced: list[str], run_id: str) -> None:
        """Link the children of replaced MLflow runs to the run that replaces them."""
        for old in replaced:
            for child in self.client.search_runs([*self._stages().values()], f"tags.`{PARENT}` = '{old}'"):
                self.client.set_tag(child.info.run_id, PARENT, run_id)

    def _stages(self) -> dict[str, str]:
        return {stage: self._experiment(stage) for stage in (*STAGES, EXPERIMENT)}

    def _experiment(self, name: str) -> str:
        if name not in self.experiments:
            experiment = self.client.get_experiment_by_name(name)
            number = experiment.experiment_id if experiment else self.client.create_experiment(name)
            self.tags[number] = dict(experiment.tags) if experiment else {}
            self._tag(number, {"mlflow.experimentKind": "custom_model_development"})
            if name == EXPERIMENT:
                self._tag(number, views())
            self.experiments[name] = number
        return self.experiments[name]

    def _tag(self, experiment: str, tags: dict[str, str]) -> None:
        for tag, value in tags.items():
            if self.tags[experiment].get(tag) != value:
                self.client.set_experiment_tag(experiment, tag, value)
                self.tags[experiment][tag] = value


def metrics_of(lines: list[dict[str, Any]]) -> Iterator[Any]:
    """Losses by step or epoch; what the machine did, by the second."""
    from mlflow.entities import Metric

    for line in lines:
        step = line.get("metrics", {}).get("epoch", line.get("step"))
        for name, value in line.get("metrics", {}).items():
            if name != "epoch":  # the step of the line's other metrics
                yield Metric(name, value, line["time"], step)
        for name, value in line.get("system", {}).items():
            yield Metric(f"system/{name}", value, line["time"], line["second"])


def uri() -> str:
    return os.environ.get("MLFLOW_TRACKING_URI") or STORE


def masked(text: str) -> str:
    """Replace passwords and tokens in addresses by ***."""
    text = re.sub(r"://([^/:\s]*):\S*@", r"://\1:***@", text)
    text = re.sub(r"://[^/:\s]*@", "://***@", text)
    return re.sub(
        r"(?i)([?&][^=&\s]*(?:password|passwd|pwd|token|secret|key)[^=&\s]*=)[^&\s]*", r"\1***", text
    )


def connect() -> Any:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # the URL contains the password
    # `deliver` retries an unreachable server; MLflow's own retries take minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    import logging

    logging.disable(logging.ERROR)  # MLflow logs the creation of tables, and the store's address
    from mlflow import MlflowClient

    store = Path(uri().removeprefix(SQLITE))
    if is_file(uri()) and not store.exists():  # a half-made database would stay unusable
        write_whole(store, lambda beside: MlflowClient(f"{SQLITE}{beside}").search_experiments())
    if uri().partition(":")[0].partition("+")[0] in DATABASES:  # MLflow retries an unreachable one for 100 s
        from sqlalchemy import create_engine

        create_engine(uri()).connect().close()
    client = MlflowClient(uri())
    if is_file(uri()):
        # Relative, so that the store can be moved; MLflow itself would write absolute artefact locations.
        client._tracking_client.store.artifact_root_uri = ARTIFACTS
    return client
