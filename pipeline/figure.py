"""figure: a paper's figures from our measurements."""

from pipeline.results.figures import figure
from pipeline.runner.cli import run_rendering

if __name__ == "__main__":
    run_rendering("figure", figure, name="figure3, or masci2011/figure1")
