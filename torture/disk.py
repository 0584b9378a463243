"""Disk: work that cannot fit does not start; a disk that fills during a run keeps the last good checkpoint."""

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random

from conftest import both, set_params

from pipeline.config.reading import load
from pipeline.data.writer import shard
from pipeline.training.checkpoint import load_tensors
from pipeline.training.run import train
from pipeline.training.weights import load_parts
from pipeline.work.graph import Graph
from torture import Fault, refused
from torture.away import fill, may_mount, small_disk
from torture.damage import FULL, _equal, made, short_params
from torture.interruption import done


def full_before(place: Path, times: int, rng: Random) -> Iterator[str]:
    """Start a training or sharding on a disk that is too small: the error says what is needed and free."""
    short_params(place)
    shards = made("imagenet", images=16)
    for number in range(times):
        with small_disk(place / ("results" if number % 2 else "data/smoke"), 1) as disk:
            fill(disk / "rest", but=rng.randrange(0, 30_000))
            act = partial(train, Graph(load()), "pretrain", FULL, 0) if number % 2 else partial(shard, shards)
            yield refused(act, "MB are free there")


def full_in_mid_run(place: Path, times: int, rng: Random) -> Iterator[str]:
    """Fill the disk during a training; once there is room, the same run ends with the right result."""
    short_params(place)
    made("imagenet", images=16)
    epochs = {"scales__smoke__epochs": both(30), f"pretrain__{FULL}__epochs": 30}
    set_params(place, engine__checkpoint_seconds=-1, **epochs)
    graph = Graph(load())
    training = graph.training("pretrain", FULL, 0)
    train(graph, "pretrain", FULL, 0)
    whole = load_parts(training)
    for _ in range(times):
        with small_disk(place / "results", 8) as disk:
            after = rng.randrange(2, 25)
            said = done(
                place, sys.executable, "-c", FILLING, str(after), check=False, PIPELINE_FOLLOWED="by nobody"
            )
            checkpoint, lost = training.folder / "checkpoint.pt", ""
            if "No space left on device" not in said and "is the disk full?" not in said:
                lost = f"a full disk is not said: {said[-500:]}"
            elif "Traceback" in said:
                lost = f"a traceback: {said[-500:]}"
            elif not checkpoint.exists() or load_tensors(checkpoint)["step"] < 1:
                lost = "the last checkpoint is gone"
            elif list(training.folder.glob(".*.partial")):
                lost = "a partial file is left"
            (disk / "rest").unlink(missing_ok=True)
            train(Graph(load()), "pretrain", FULL, 0)
            yield lost or ("" if _equal(load_parts(training), whole) else "it ends with other weights")


FILLING = """
import runpy, shutil, sys
from pathlib import Path
from pipeline.training import loop
after, save, rest = int(sys.argv[1]), loop.save_checkpoint, Path("results/rest")
def filling(path, *others):
    global after
    after -= 1
    if not after:
        rest.write_bytes(bytes(shutil.disk_usage("results").free - 1000))
    save(path, *others)
loop.save_checkpoint = filling
sys.argv = ["pretrain", "imagenet-full"]
runpy.run_module("pipeline.pretrain", run_name="__main__")
"""  # a training during which the disk fills at a certain checkpoint


FAULTS = {}
if may_mount():
    FAULTS = {
        "disk: too small before a run": Fault(full_before, 20, few=4),
        "disk: full in mid-run": Fault(full_in_mid_run, 8, few=1),
    }
