"""python -m pipeline: list the stages, papers and targets, or run a stage."""

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
    "loss_weights": "loss weights of decoding pathways, balanced on training images",
    "search": "values of a setting that a paper does not give, compared on held-out training images",
    "evaluate": "metrics of a trained run; the only stage that opens test splits",
    "table": "the paper's numbers and ours, side by side",
    "figure": "the paper's figures from our measurements",
    "claims": "the paper's conclusions: confirmed, refuted, undecided",
    "show": "each value of a run, its line of params.yaml, and what a scale makes of it",
    "schema": "what params.yaml may say, as a JSON Schema for editors",
    "plan": "what a target still costs: hours here and on GPUs, disk, downloads, missing data",
    "lease": "trainings on a machine lent for minutes, without network, git and engines",
    "report": "all results as one page, with the commands that make what is missing",
    "release": "all that an archive with a DOI holds, as one file with checksums",
    "keep": "a table with its claims, records and encoders, copied to results/reference/",
    "compare": "whether your rerun lies in the band of the kept runs",
    "reuse": "kept records and encoders, copied to where the graph looks for them",
    "clean": "list or remove shards, runs and logs that no run of params.yaml names",
    "export": "a trained encoder for code outside this project",
    "log_model": "a trained encoder as MLflow's logged model of its run",
    "track": "deliver events that MLflow lacks",
}

START = {
    "snakemake --cores all results/table6.csv": "make one table, on drawn pictures: a minute",
    "python -m pipeline show pretrain.imagenet-full": "a run's values, and where params.yaml has them",
    "python -m pipeline plan dong2017 --scale reduced": "what real images take: hours, disk, downloads",
    "python -m pipeline report": "all that is made or kept, as one page",
}


def overview() -> None:
    from pipeline import papers
    from pipeline.config.reading import load
    from pipeline.results.claims import NAME
    from pipeline.results.rendering import renderings

    params = load()
    papers.check(params)
    files = [each.files[0] for each in renderings().values()]
    made = sum(file.exists() for file in files)
    print(f"Five papers, {len(files)} tables, figures and lists of claims; {made} made, in results/.\n")
    print("Start here:")
    for word, does in START.items():
        print(f"  {word:49} {does}")
    print("\nStages, each `python -m pipeline.<stage> --help`:")
    for name, does in STAGES.items():
        print(f"  {name:12} {does}")
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
