"""Event logs of runs, and their delivery to MLflow."""
