"""plan: what a target still costs: work, time here and on GPUs, disk, downloads, and missing data."""

import argparse
import json
import logging
import os
import signal
import sys
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from snakemake.logging import LogEvent

from pipeline import papers
from pipeline.config.params import Engine, Params
from pipeline.config.runs import STAGES
from pipeline.datasets import SOURCES
from pipeline.planning.cost import BEGINNING, Job, cost, longest, raw
from pipeline.results import claims
from pipeline.results.rendering import renderings
from pipeline.results.tables import grid
from pipeline.runner.cli import begun, exit_code_of
from pipeline.system.files import RESULTS, read_json
from pipeline.system.progress import lasting
from pipeline.work.graph import Graph

# Dense bf16 TFLOP/s from data sheets. An H200 measured 790, of which networks like these reach some 30 %:
# a quarter of the sheet's rate. Seconds of the shortest kernel, by estimate: REPLAYED in a recorded step,
# LAUNCHED by the host one by one, as a measurement's are.
GPUS = {"H200": 989, "H100": 989, "A100": 312, "RTX 4090": 165, "L4": 121}
PART, REPLAYED, LAUNCHED = 0.25, 2.5e-6, 1e-5


def jobs(targets: list[str], scale: str) -> list[Job]:
    """The jobs of Snakemake's dry run: it alone knows which files depend on which, and what is made."""
    from snakemake.api import SnakemakeApi
    from snakemake.logging import logger
    from snakemake.settings.enums import RerunTrigger
    from snakemake.settings.types import (
        ConfigSettings,
        DAGSettings,
        ExecutionSettings,
        OutputSettings,
        ResourceSettings,
    )

    planned, on_sigterm = Planned(), signal.getsignal(signal.SIGTERM)
    # as profiles/default says to snakemake
    settings = DAGSettings(targets=set(targets), rerun_triggers={RerunTrigger.MTIME})
    execution = ExecutionSettings(ignore_incomplete=True, lock=False)
    with SnakemakeApi(OutputSettings(dryrun=True)) as snakemake:
        workflow = snakemake.workflow(
            resource_settings=ResourceSettings(cores=1),
            config_settings=ConfigSettings(config={"scale": scale}),
        )
        logger.handlers = [planned]
        disabled = logging.root.manager.disable
        logging.disable(logging.NOTSET)  # a connection to MLflow in this process switches all records off
        try:
            workflow.dag(settings).execute_workflow("dryrun", execution_settings=execution)
        except Exception as error:
            reason = str(error).strip().splitlines()[-1][:400]
            raise ValueError(f"snakemake cannot plan {' '.join(targets)}: {reason}") from None
        finally:
            logging.disable(disabled)
            signal.signal(signal.SIGTERM, on_sigterm)  # Snakemake's would stop its scheduler alone
    return planned.jobs


class Planned(logging.Handler):
    """Collect jobs from Snakemake's log records instead of printing them."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: list[Job] = []
        self.renderings = renderings()

    def emit(self, record: Any) -> None:
        if getattr(record, "event", None) == LogEvent.JOB_INFO and record.shellcmd:  # a target has no command
            of = record.wildcards
            rendering = self.renderings.get(f"results/{of.get('rendering')}")
            name = rendering.name if rendering else of.get("name", "")
            self.jobs.append(Job(record.rule_name.split("_")[0], name, int(of.get("seed", 0))))


def data_needed(graph: Graph, left: Iterable[Job]) -> list[dict[str, Any]]:
    """List files that are neither in data/raw nor in the mirror, with their URL if there is one."""
    from pipeline.datasets import imagenet
    from pipeline.datasets.archives import find, official

    mirror = graph.params.mirror_folder
    sets = raw(graph)
    files = []
    for shards in (sets[job.name] for job in left if job.stage == "fetch"):
        source = SOURCES[shards.dataset.source]
        names = imagenet.wanted(shards.raw) if shards.dataset.source == "imagenet" else list(source.files)
        for name in names:
            if find(name, shards.raw, mirror) or find(name.removesuffix(".gz"), shards.raw, mirror):
                continue
            url = next(iter(official()[name].urls), None)
            files.append({"dataset": shards.raw.name, "file": name, "bytes": source.files[name], "from": url})
    return files


def recorded_memory(scale: str) -> dict[str, int]:
    """The greatest peak, on the host and on a GPU, of the trainings of this scale that were made here."""
    peaks: dict[str, int] = {}
    for file in (RESULTS / "runs" / scale).glob("*/*/*/run.json"):
        record = read_json(file, way_out="")
        for place, peak in record.get("peak_memory", {}).items():
            peaks[place] = max(peak, peaks.get(place, 0))
    return peaks


def undecidable(graph: Graph, left: Iterable[Job]) -> dict[str, list[str]]:
    """Map papers to the claims on these jobs that the scale's repeats cannot decide."""
    measured = {job.name for job in left if job.stage == "evaluate"}
    by_paper = {
        paper: [
            name
            for name, claim in facts.claims.items()
            if measured & set(claim.labels()) and not claims.decidable(graph, claim)
        ]
        for paper, facts in papers.papers().items()
    }
    return {paper: names for paper, names in by_paper.items() if names}


def plan(params: Params, targets: list[str], cores: int) -> dict[str, Any]:
    """Return the plan as JSON values."""
    graph, left = Graph(params), jobs(targets, params.scale)
    from pipeline.compute.device import device_at_hand
    from pipeline.planning.rehearsal import Rehearsal
    from pipeline.tracking.provenance import machine

    cost(graph, left, Rehearsal(params.engine))
    before = BEGINNING if left else 0.0
    total = sum(job.seconds for job in left)
    data = data_needed(graph, left)
    kernel = kernel_seconds(params.engine)
    return {
        "targets": targets,
        "scale": params.scale,
        "machine": machine(device_at_hand())["device"],
        "cores": cores,
        "jobs": [asdict(job) for job in left],
        "flops": sum(job.flops for job in left),
        "launches": sum(job.launches for job in left),
        "seconds": before + total,
        "wall_seconds": before + max(total / cores, longest(left)),
        "kernel_seconds": kernel,
        "gpu_seconds": {name: sum(on(job, rate, kernel) for job in left) for name, rate in GPUS.items()},
        "other_seconds": sum(job.seconds for job in left if not job.flops),
        "disk": sum(job.disk for job in left),
        "peak_memory": recorded_memory(params.scale),
        "download": sum(file["bytes"] for file in data if file["from"]),
        "data": data,
        "missing": [file for file in data if not file["from"]],
        "undecidable": undecidable(graph, left),
    }


def size(amount: float) -> str:
    for unit, length in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if amount >= length:
            return f"{amount / length:.3g} {unit}"
    return f"{amount / 1e3:.0f} kB" if amount else ""


def work(flops: float) -> str:
    for unit, length in (("E", 1e18), ("P", 1e15), ("T", 1e12), ("G", 1e9)):
        if flops >= length:
            return f"{flops / length:.3g} {unit}FLOP"
    return ""


def kernel_seconds(engine: Engine) -> dict[str, float]:
    """Seconds of the shortest kernel."""
    return {"training": LAUNCHED if engine.capture == "never" else REPLAYED, "measurement": LAUNCHED}


def on(job: Job, rate: float, kernel: dict[str, float]) -> float:
    """Seconds of a job on a GPU of so many TFLOP/s: by its kernels or by its FLOPs."""
    shortest = kernel["training" if job.stage in STAGES else "measurement"]
    return max(job.launches * shortest, job.flops / (PART * rate * 1e12)) if job.flops else 0.0


def text(planned: dict[str, Any]) -> str:
    """Format a plan as a table, followed by time, disk and data to get."""
    groups: dict[tuple[str, str], list[Job]] = {}
    for job in planned["jobs"]:
        groups.setdefault((job["stage"], job["name"]), []).append(Job(**job))
    rows = [
        [
            f"{stage} {name}",
            str(len(members)),
            f"{sum(job.images for job in members):,}" if any(job.images for job in members) else "",
            work(sum(job.flops for job in members)),
            lasting(sum(job.seconds for job in members)),
            size(sum(job.disk for job in members)),
        ]
        for (stage, name), members in groups.items()
    ]
    if not rows:
        return f"{' '.join(planned['targets'])} at scale {planned['scale']}: nothing is left to do.\n"
    lines = [grid(["left to do", "jobs", "images", "work", "one core here", "disk"], rows)]
    lines += [
        f"Here ({planned['machine']}): {lasting(planned['seconds'])} of work, "
        f"{lasting(planned['wall_seconds'])} with --cores {planned['cores']}.",
        "On one GPU, by arithmetic and not measured, from a quarter of its data sheet's rate or "
        f"{1e6 * planned['kernel_seconds']['training']:g} µs for each kernel of a training and "
        f"{1e6 * planned['kernel_seconds']['measurement']:g} µs of a measurement "
        f"({planned['launches']:,} in all), whichever takes longer: "
        + ", ".join(f"{name} {lasting(seconds)}" for name, seconds in planned["gpu_seconds"].items())
        + f"; beside it {lasting(planned['other_seconds'])} of what no GPU shortens.",
        f"Disk: {size(planned['disk']) or 'none'}. To download: {size(planned['download']) or 'nothing'}.",
    ]
    if peaks := planned["peak_memory"]:
        said = ", ".join(f"{size(peak)} of {place} memory" for place, peak in peaks.items())
        lines.append(f"Trainings made here at this scale took at most {said}.")
    for paper, names in planned["undecidable"].items():
        every = len(names) == len(papers.papers()[paper].claims)
        lines.append(
            f"UNDECIDABLE, {paper}: {'all claims' if every else ', '.join(names)}: one seed a run at scale "
            f"{planned['scale']} decides nothing; raise 'repeats' in params.yaml"
        )
    for file in planned["data"]:
        if file["from"]:
            lines.append(f"{file['dataset']}: {file['file']}, {size(file['bytes'])}, from {file['from']}")
        else:
            lines.append(
                f"MISSING, {file['dataset']}: {file['file']}, {size(file['bytes'])}: get it, and put it into "
                f"the folder that params.yaml names under 'mirror:', or into data/raw/{file['dataset']}"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.plan", description=__doc__)
    parser.add_argument("target", nargs="+", help="as for snakemake: results/table6.csv, dong2016, all, …")
    parser.add_argument("--scale", default=None, help="instead of the one that params.yaml names")
    parser.add_argument("--cores", type=int, default=os.cpu_count())
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()

    def act() -> None:
        params = begun(arguments.scale)
        papers.check(params)
        result = plan(params, arguments.target, arguments.cores)
        print(
            json.dumps(result, indent=1) if arguments.json else text(result),
            end="\n" if arguments.json else "",
        )

    sys.exit(exit_code_of("plan", act))


if __name__ == "__main__":
    main()
