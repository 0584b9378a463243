"""claims: what a paper says that its tables show, tried on our runs."""

from pipeline.results.claims import claims
from pipeline.runner.cli import run_rendering

if __name__ == "__main__":
    run_rendering("claims", claims, name="of the paper: dong2016, …")
