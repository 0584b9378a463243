"""Where MLflow's own pages show a run."""

from pipeline.tracking.delivered import SQLITE, rows_of
from pipeline.tracking.store import uri

UI = "http://127.0.0.1:5000"
SERVE = f"mlflow ui --backend-store-uri {SQLITE}mlflow.db --host 127.0.0.1"
QUERY = """select tags.value, runs.experiment_id, runs.run_uuid from tags join runs using (run_uuid)
    where tags.key = 'identity' and runs.lifecycle_stage = 'active' order by runs.start_time"""


def addresses() -> dict[str, str]:
    """Map identities of runs to pages. MLflow's import takes seconds, so only a store in a file is read."""
    return {
        identity: f"{UI}/#/experiments/{experiment}/runs/{run}"
        for identity, experiment, run in rows_of(uri(), QUERY)
    }
