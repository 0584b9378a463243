"""track: everything that runs is seen in MLflow, live.

A run writes what happens to `events.jsonl` in its own folder, and never waits for MLflow. Beside all runs one
process follows these files and hands over what is new; what was not handed over, the next one finds there.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.system.files import RESULTS, write_whole
from pipeline.tracking.delivered import EXPERIMENT, Delivered, State, stories
from pipeline.tracking.events import EVENTS, lines_of

STORE = "sqlite:///mlflow.db"
DATABASES = ("postgresql", "mysql", "mssql")  # servers that MLflow takes; an address may name the driver, too
BATCH = 500  # metrics in one call; a store takes a thousand at most
REMEMBERED = 50  # stories that are delivered before the store vouches for them; a kill repeats these


def pending(known: dict[str, State]) -> Iterator[tuple[str, State]]:
    return ((story, state) for story, state in stories(EVENTS) if known.get(story) != state)


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
        for story, state in pending(self.read):
            told = lines_of(RESULTS / "runs" / story / EVENTS)
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
