"""A list of jobs in order, until time is up: on a machine without network, git, MLflow, Snakemake and DVC."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

from pipeline.config.reading import load
from pipeline.config.runs import STAGES
from pipeline.data.compact import restored
from pipeline.runner import worker
from pipeline.system.files import DATA, RESULTS, sha256, write_text, write_whole
from pipeline.system.parcel import fitting, pack
from pipeline.system.progress import lasting
from pipeline.tracking.follower import FOLLOWED
from pipeline.work.graph import Graph
from pipeline.work.identity import Measurement, Training, log_of, made, words_of

LIST = Path("lease.txt")  # what `python -m pipeline` is given: pretrain cifar10-pixel --seed 0 --scale paper
LINE = re.compile(r"(pretrain|finetune|evaluate) (\S+) --seed ((?:\d+ )+)--scale (\S+)\s*")
BACK = "back"  # name of the parcel of results
SMALL = ("run.json", "metrics.json", "events.jsonl")  # go back each time, and first
LARGE = ("arrays.npz", "pictures.png", "checkpoint.pt", "weights.pt")  # go back once, in this order
RETURNED = RESULTS / "lease" / "returned.txt"  # checksums of large files that went back
LEAVE_SECONDS = 45.0  # for checkpoints, once time is up
SHRUNK = ".compact"  # ending of the folder that holds a shrunk shard


def work(minutes: float, back: Path, *, part: int, most: int) -> None:
    """Do the list's jobs that are left; pack what they wrote into parts of `part` bytes, `most` in all."""
    until = time.monotonic() + 60 * minutes
    lines = list(filter(str.strip, LIST.read_text().splitlines()))
    works = works_of(lines)
    _restore_shards()
    os.environ[FOLLOWED] = "by `python -m pipeline.track`, once the events are back"
    beside = worker.start()
    try:
        for line in lines:
            if time.monotonic() < until:
                _do(line, [each for each in works[line] if not made(each)], until)
    except KeyboardInterrupt:
        print("stopped", flush=True)
    finally:
        beside.communicate()
        done = sum(all(map(made, some)) for some in works.values())
        print(f"{done} of {len(lines)} jobs are made", flush=True)
        _pack([each for some in works.values() for each in some], back, part=part, most=most)


def works_of(lines: list[str]) -> dict[str, list[Training | Measurement]]:
    """The pieces of work of each line, one a seed."""
    works: dict[str, list[Training | Measurement]] = {}
    graphs: dict[str, Graph] = {}
    for line in lines:
        words = LINE.fullmatch(line)
        if words is None:
            raise ValueError(f"{LIST} has {line!r}; a line is STAGE RUN --seed 0 1 --scale SCALE")
        stage, name, seeds, scale = words.groups()
        graph = graphs[scale] = graphs.get(scale) or Graph(load(scale=scale))
        works[line] = [
            graph.training(stage, name, int(seed)) if stage in STAGES else graph.measurement(name, int(seed))
            for seed in seeds.split()
        ]
    return works


def _do(line: str, works: list[Training | Measurement], until: float) -> None:
    """Do this work of a line as Snakemake would; stop it in time for its checkpoint."""
    missing = [file for each in works for file in each.inputs if not file.exists()]
    if missing:
        print(f"{line}: left out, {missing[0]} is missing", flush=True)
    if missing or not works:
        return
    log, began = log_of(works[0]), time.monotonic()
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        words = [sys.executable, "-m", "pipeline.runner.worker", *words_of(works).split()]
        job = subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT)
        try:
            with suppress(subprocess.TimeoutExpired):
                job.wait(max(0.0, until - time.monotonic()))
        finally:  # Ctrl-C, too
            job.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                job.wait(LEAVE_SECONDS)
            job.kill()
            code = job.wait()
    said = log.read_text(errors="replace").splitlines()[-1:]
    how = "made" if code == 0 else f"ended with {code}: {' '.join(said)}"
    print(f"{line}: {how}, after {lasting(time.monotonic() - began)}", flush=True)


def _restore_shards() -> None:
    for folder in sorted(DATA.glob(f"*/*/*{SHRUNK}")):
        files = {file.name: file.read_bytes() for file in folder.iterdir()}
        write_whole(folder.with_suffix(".tar"), partial(Path.write_bytes, data=restored(files)))
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()


def _pack(works: list[Training | Measurement], back: Path, *, part: int, most: int) -> None:
    works = sorted(works, key=lambda each: "/pretrain/" not in each.identity)  # others start from them
    small = [each.folder / name for name in SMALL for each in works] + [log_of(each) for each in works]
    large = [file for name in LARGE for each in works if (file := each.folder / name).exists()]
    sums = {file: sha256(file) for file in large}
    returned = set(RETURNED.read_text().split()) if RETURNED.exists() else set()
    files = [file for file in small if file.exists()]
    files += [file for file in large if sums[file] not in returned]
    chosen = fitting({str(file): file for file in files}, most)
    parts = pack(chosen, back, BACK, part=part)
    write_text(RETURNED, "\n".join(returned | {sums[file] for file in chosen.values() if file in sums}))
    for file in files:
        if str(file) not in chosen:
            print(f"{file} is left behind: there is no room in --most; call again to pack it", flush=True)
    print(f"{len(chosen)} files are packed: {' '.join(map(str, parts))}", flush=True)
