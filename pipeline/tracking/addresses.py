"""Where MLflow's own pages show a run."""

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from pipeline.tracking.delivered import SQLITE, is_file
from pipeline.tracking.store import uri

UI = "http://127.0.0.1:5000"
SERVE = f"mlflow ui --backend-store-uri {SQLITE}mlflow.db --host 127.0.0.1"
QUERY = """select tags.value, runs.experiment_id, runs.run_uuid from tags join runs using (run_uuid)
    where tags.key = 'identity' and runs.lifecycle_stage = 'active' order by runs.start_time"""


def addresses() -> dict[str, str]:
    """Map identities of runs to pages. MLflow's import takes seconds, so only a store in a file is read."""
    store = uri()
    file = store.removeprefix(SQLITE)
    if not is_file(store) or not Path(file).exists():
        return {}
    try:
        with closing(sqlite3.connect(f"file:{quote(file)}?mode=ro", uri=True)) as database:
            rows = database.execute(QUERY).fetchall()
    except sqlite3.Error:  # locked, or of another schema
        return {}
    return {identity: f"{UI}/#/experiments/{experiment}/runs/{run}" for identity, experiment, run in rows}
