"""python -m pipeline: the stages, the papers, and what can be asked for."""

import runpy
import sys

from pipeline.config.typed import nearest
from pipeline.runner.cli import exit_code_of

STAGES = {
    "fetch": "a data set's official files, verified",
    "shard": "a data set as deterministic tars",
    "pictures": "a data set's images as files, a folder a class",
    "pretrain": "features from images without labels",
    "finetune": "a task from labels, beginning with a pre-training's weights",
    "balance": "the loss weights of decoding pathways that training images balance",
    "search": "a setting that a paper does not say, tried on images kept from training",
    "evaluate": "what a trained run is worth; alone opens test splits",
    "table": "the paper's numbers and ours, side by side",
    "figure": "the paper's figures from our measurements",
    "claims": "what the paper says that they show: confirmed, refuted, undecided",
    "show": "each value of a run, its line of params.yaml, and what a scale makes of it",
    "schema": "what params.yaml may say, as a JSON Schema for editors",
    "plan": "what a target still takes: hours here and on GPUs, disk, downloads, missing data",
    "report": "all that was made so far as one page, and how the rest is made",
    "release": "all that an archive with a DOI holds, as one file with checksums",
    "keep": "a table with its claims, records and encoders in results/reference/",
    "compare": "whether your own rerun lies in the band of the kept runs",
    "reuse": "what is kept is put where the graph looks for it, and not made again",
    "clean": "what no run of params.yaml names any more",
    "export": "a trained encoder alone, for code that is not of this project",
    "track": "MLflow gets what was not handed over yet",
}


def overview() -> None:
    from pipeline import papers
    from pipeline.config.reading import load
    from pipeline.results.claims import NAME

    params = load()
    papers.check(params)
    print("Stages, each `python -m pipeline.<stage> --help`:")
    for name, does in STAGES.items():
        print(f"  {name:9} {does}")
    print(f"\nTargets, each `snakemake --cores all <target>`, at scale {params.scale}:")
    print("  all, or a phase: fetch, shard, pretrain, finetune, evaluate, render")
    for name, facts in papers.papers().items():
        print(f"  {name}: {facts.title}, {facts.by} {facts.year}")
        for key, layout in facts.tables.items():
            print(f"    {papers.target(name, key)}.csv  {layout.title}")
        for key, figure in facts.figures.items():
            print(f"    {papers.target(name, key)}.png  {figure.title}")
        if facts.claims:
            number = f"{len(facts.claims)} claim{'s' * (len(facts.claims) > 1)}"
            print(f"    {papers.target(name, NAME)}.csv  {number}")


def main() -> None:
    """`python -m pipeline show …` is `python -m pipeline.show …`; without a word, the overview."""
    word = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if word in ("-h", "--help"):
        overview()
    elif word in STAGES:
        sys.argv[:2] = [f"pipeline.{word}"]
        runpy.run_module(f"pipeline.{word}", run_name="__main__", alter_sys=True)
    else:
        raise ValueError(f"no command {word!r}; {nearest(word, STAGES)}")


if __name__ == "__main__":
    sys.exit(exit_code_of("pipeline", main))
