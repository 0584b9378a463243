"""Train a run: loop, checkpoints, optimisers, record."""
