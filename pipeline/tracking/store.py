"""Show all runs in MLflow, live.

A run appends its events to `events.jsonl` in its folder and never waits for MLflow. One process, the
follower, reads these event logs and delivers new lines; the next follower delivers what is still pending.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.system.files import RESULTS, write_whole
from pipeline.tracking.delivered import EXPERIMENT, Delivered, State, event_logs
from pipeline.tracking.events import EVENTS, lines_of

STORE = "sqlite:///mlflow.db"
DATABASES = ("postgresql", "mysql", "mssql")  # MLflow's servers; an address may add a driver: mysql+pymysql
BATCH = 500  # metrics per call; a store accepts at most 1,000
REMEMBERED = 50  # event logs per update of the store's digest; after a kill these are delivered again


def pending(known: dict[str, State]) -> Iterator[tuple[str, State]]:
    return ((log, state) for log, state in event_logs(EVENTS) if known.get(log) != state)


class Store:
    """MLflow, and how much of each event log it has."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.experiments: dict[str, str] = {}
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
        from mlflow.entities import Metric

        if not lines:
            return
        run_id = self._run(log, lines[0])
        if run_id is None:
            return
        metrics = [
            Metric(name, value, line["time"], line["metrics"].get("epoch", line["step"]))
            for line in lines[self.lines.get(log, 0) :]
            if "metrics" in line
            for name, value in line["metrics"].items()
            if name != "epoch"  # the step of the line's other metrics
        ]
        for first in range(0, len(metrics), BATCH):
            self.client.log_batch(run_id, metrics=metrics[first : first + BATCH])
        self.lines[log] = len(lines)
        if "end" in lines[-1]:
            for file in lines[-1]["files"]:
                if Path(file).exists():
                    self.client.log_artifact(run_id, file)
            self.client.set_terminated(run_id, lines[-1]["end"], lines[-1]["time"])

    def _run(self, log: str, begin: dict[str, Any]) -> str | None:
        """The MLflow run of an event log; MLflow runs of earlier logs of the same run are deleted."""
        header, began = begin["begin"], begin["time"]
        if self.runs.get(log, ("", 0))[1] == began:
            return self.runs[log][0]
        experiment = self._experiment(header["stage"])
        run_id = ""
        for old in self.client.search_runs([experiment], f"tags.identity = '{header['identity']}'"):
            if old.info.start_time == began:
                run_id = old.info.run_id
            elif old.info.start_time > began:
                return None
            else:
                self.client.delete_run(old.info.run_id)
        if not run_id:
            run_id = self._begin(experiment, header, began)
        elif self.client.get_run(run_id).info.status != "FINISHED":
            self.client.update_run(run_id, "RUNNING")
            self._log_params(run_id, header)
        self.runs[log], self.lines[log] = (run_id, began), 0
        return run_id

    def _begin(self, experiment: str, header: dict[str, Any], began: int) -> str:
        name = header["identity"].split("/", 2)[2]
        tags = {**header["tags"], "identity": header["identity"], "mlflow.runName": name}
        run_id = self.client.create_run(experiment, start_time=began, tags=tags).info.run_id
        self._log_params(run_id, header)
        return run_id

    def _log_params(self, run_id: str, header: dict[str, Any]) -> None:
        """Log parameters, also of an existing MLflow run: a kill may have interrupted its creation."""
        from mlflow.entities import Param

        params = [Param(name, value[:6000]) for name, value in header["params"].items()]
        self.client.log_batch(run_id, params=params)

    def _experiment(self, name: str) -> str:
        if name not in self.experiments:
            experiment = self.client.get_experiment_by_name(name)
            number = experiment.experiment_id if experiment else self.client.create_experiment(name)
            tags = {"mlflow.experimentKind": "custom_model_development"}  # chooses the UI's layout
            if name == "evaluate":
                tags |= views()
            for tag, value in tags.items():
                if not experiment or experiment.tags.get(tag) != value:
                    self.client.set_experiment_tag(number, tag, value)
            self.experiments[name] = number
        return self.experiments[name]


def views() -> dict[str, str]:
    """A saved view (menu "Views" of the UI) of each table, with the table's runs in the order of its rows."""
    from pipeline.papers import numbered, papers

    tags = {}
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
            tags[f"mlflow.sharedViewState.{paper}-{table}"] = json.dumps(view)
    return tags


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

    store = Path(uri().removeprefix("sqlite:///"))
    if uri().startswith("sqlite:///") and not store.exists():  # a half-made database would stay unusable
        write_whole(store, lambda beside: MlflowClient(f"sqlite:///{beside}").search_experiments())
    if uri().partition(":")[0].partition("+")[0] in DATABASES:  # MLflow retries an unreachable one for 100 s
        from sqlalchemy import create_engine

        create_engine(uri()).connect().close()
    return MlflowClient(uri())
