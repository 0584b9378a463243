"""architecture: a paper's networks as they are built, layer by layer."""

from pipeline.results.architectures import architecture
from pipeline.runner.cli import run_rendering

if __name__ == "__main__":
    run_rendering("architecture", architecture, name="table1")
