"""Estimate the cost of the jobs that a target still needs."""
