"""params.yaml as typed, checked records."""
