"""lease: trainings on a machine lent for minutes, without network, git, MLflow, Snakemake and DVC.

`pack` here, `work` there, `merge` here: docs/paper-scale.md.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from pipeline import papers
from pipeline.config.typed import nearest
from pipeline.runner.cli import begun, exit_code_of
from pipeline.runner.lease import BACK, LIST, SHRUNK, work
from pipeline.system.files import RESULTS, write_whole
from pipeline.system.parcel import pack, unpack
from pipeline.tracking.events import EVENTS
from pipeline.tracking.provenance import COMMIT, commit
from pipeline.work.graph import Graph
from pipeline.work.identity import Measurement, Shards, Training, made, words_of

MIB = 1 << 20
SEND = "send"  # name of the parcel of project, data and list
FOLDER = RESULTS / "lease"
THERE = "cat send.* | tar -x && sha256sum --check --quiet SHA256SUMS && python -m pipeline.lease work"
PROGRESS = ("checkpoint.pt", EVENTS)  # of a training that is not finished
RECORDS = ("run.json", "metrics.json")  # of work that is finished


def pack_lease(
    graph: Graph, targets: Sequence[str], *, together: int, part: int, beside: Sequence[Path]
) -> None:
    """Pack the project, the list of jobs that are left, and the data and weights that they read."""
    jobs = jobs_left(graph, targets, together=together)
    if not jobs:
        raise ValueError(f"{' '.join(targets)}: all trainings and measurements are made")
    lines = "".join(f"{words_of(job)}\n" for job in jobs)
    works = [each for job in jobs for each in job]
    code = [file for folder in (Path("pipeline"), *beside) for file in _files(folder)]
    read = {file for each in works for file in (*each.inputs, *(each.folder / name for name in PROGRESS))}
    files: dict[str, Path | bytes] = {
        str(COMMIT): commit().encode(),
        str(LIST): lines.encode(),
        **{str(file): file for file in (Path("params.yaml"), *code)},
    }
    for shards, split in dict.fromkeys(pair for each in works for pair in splits_of(each)):
        files |= _shrunk(shards, split)
    files |= {str(file): file for file in sorted(read) if file.exists()}
    parts = pack(files, FOLDER, SEND, part=part)
    size = sum(file.stat().st_size for file in parts) / MIB
    print(lines, end="")
    print(f"{len(jobs)} jobs, {size:.1f} MiB: {' '.join(map(str, parts))}")
    print(f"there: {THERE}")


def jobs_left(graph: Graph, targets: Sequence[str], *, together: int) -> list[list[Training | Measurement]]:
    """What is left for the measurements of targets: seed by seed, or `together` seeds of a run as one job.

    Within a round of seeds, targets come in their order, and a measurement right after its training.
    """
    if together < 1:
        raise ValueError(
            f"--together {together}: give how many seeds of a run train in one process, 1 or more"
        )
    jobs: dict[str, list[Training | Measurement]] = {}

    def add(works: Sequence[Training | Measurement]) -> None:
        listed = {each.identity for job in jobs.values() for each in job}
        left = [each for each in works if not made(each) and each.identity not in listed]
        before = [each.start if isinstance(each, Training) else each.training for each in left]
        for name in dict.fromkeys(each.label for each in before if each):
            add(list({each.identity: each for each in before if each and each.label == name}.values()))
        alone = [[each] for each in left]  # as measurements are made
        for job in [left] if left and isinstance(left[0], Training) else alone:
            jobs[words_of(job)] = job

    rounds: dict[tuple[int, str], list[Measurement]] = {}
    for each in (each for target in targets for each in measurements_of(graph, target)):
        rounds.setdefault((each.training.seed // together, each.name), []).append(each)
    for _, measurements in sorted(rounds.items(), key=lambda item: item[0][0]):
        add(measurements)
    return list(jobs.values())


def measurements_of(graph: Graph, target: str) -> list[Measurement]:
    """The measurements that a rendered file, a paper or `all` shows."""
    from pipeline.results.rendering import renderings

    known = renderings()
    if target in (*papers.papers(), "all"):
        shown = [each for each in known.values() if target in (each.paper, "all")]
    elif (name := target.rpartition(".")[0] or target) in known:
        shown = [known[name]]
    else:
        raise ValueError(f"nothing renders {target!r}; {nearest(target, [*known, *papers.papers()])}")
    return [measurement for each in shown for measurement in each.measurements(graph)]


def splits_of(work: Training | Measurement) -> Iterator[tuple[Shards, str]]:
    """The splits whose images a piece of work reads."""
    training = work if isinstance(work, Training) else work.training
    yield training.shards, training.spec.data.split
    if isinstance(work, Measurement) and work.spec.split != "validation":
        yield work.shards, work.spec.split
    if isinstance(work, Training) and training.spec.data.unlabelled:
        yield training.shards, training.spec.data.unlabelled


def _shrunk(shards: Shards, split: str) -> dict[str, Path | bytes]:
    """The shards of a split, smaller where they hold raw images of one size."""
    from pipeline.data.compact import compacted
    from pipeline.data.manifest import open_manifest
    from pipeline.data.reader import read_verified

    manifest = open_manifest(shards.manifest, split)
    files: dict[str, Path | bytes] = {}
    for number, listed in enumerate(manifest.record["shards"]):
        path = shards.folder / listed["name"]
        smaller = compacted(read_verified(manifest, [number])[0])
        files |= {f"{path.with_suffix(SHRUNK)}/{name}": content for name, content in smaller.items()}
        if not smaller:
            files[str(path)] = path
    return files


def _files(place: Path) -> list[Path]:
    if not place.is_dir():
        return [place]
    return sorted(file for file in place.rglob("*") if file.is_file() and "__pycache__" not in file.parts)


def merge(folder: Path) -> None:
    """Put what came back into results/, beside what is there; work that is finished here stays as it is."""
    finished: dict[Path, bool] = {}
    written: list[Path] = []
    for name, content in unpack(folder, BACK):
        path = Path(name)
        if path.parts[:2] not in ((RESULTS.name, "runs"), (RESULTS.name, "logs")):
            raise ValueError(f"{folder} brings {name}, which is no result; name a folder that `work` wrote")
        place = path.parent
        finished.setdefault(place, any((place / record).exists() for record in RECORDS))
        if not (path.exists() and finished[place]):
            write_whole(path, partial(Path.write_bytes, data=content))
            written.append(path)
    for place in finished:
        if (place / "run.json").exists():
            (place / "checkpoint.pt").unlink(missing_ok=True)
    made_there = sum(path.name in RECORDS for path in written)
    resume = sum(path.name == "checkpoint.pt" and path.exists() for path in written)
    print(f"{made_there} trainings and measurements are made, {resume} resume from a checkpoint")
    print("`python -m pipeline.track` delivers their events to MLflow")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.lease", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack", help="here: project, data and list of jobs, as parts to send")
    packing.add_argument("target", nargs="+", help="results/table2.csv, dong2016, all; the first goes first")
    packing.add_argument("--scale", default=None, help="instead of the one that params.yaml names")
    packing.add_argument("--together", type=int, default=1, metavar="N", help="seeds of a run in one process")
    packing.add_argument("--part", type=float, default=60, metavar="MIB", help="size of a part at most")
    packing.add_argument("--beside", type=Path, nargs="*", default=[], help="to send as well")
    working = commands.add_parser("work", help="there: do the jobs, pack what they wrote")
    working.add_argument("--minutes", type=float, default=25, help="after which jobs write their checkpoints")
    working.add_argument("--back", type=Path, default=Path("back"), help="folder for the parts to send back")
    working.add_argument("--part", type=float, default=16, metavar="MIB", help="size of a part at most")
    working.add_argument("--most", type=float, default=64, metavar="MIB", help="size of all parts at most")
    merging = commands.add_parser("merge", help="here: put what came back into results/")
    merging.add_argument("folder", type=Path, help="of the parts that came back")
    given = parser.parse_args()

    def act() -> None:
        if given.command == "merge":
            return merge(given.folder)
        params = begun(getattr(given, "scale", None))
        part = int(given.part * MIB)
        if given.command == "work":
            return work(given.minutes, given.back, part=part, most=int(given.most * MIB))
        papers.check(params)
        return pack_lease(
            Graph(params), given.target, together=given.together, part=part, beside=given.beside
        )

    sys.exit(exit_code_of(f"lease {given.command}", act))


if __name__ == "__main__":
    main()
