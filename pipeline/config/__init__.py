"""params.yaml as typed, checked runs."""
