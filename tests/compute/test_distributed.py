"""Several processes give a training the result of one process, and resume after one of them was lost."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import both, command, set_params

from pipeline.compute.device import untaken
from pipeline.compute.distributed import part
from pipeline.config.reading import load
from pipeline.data.batches import Batch, Batches, Mixed
from pipeline.data.images import Images
from pipeline.data.manifest import open_manifest
from pipeline.data.writer import shard
from pipeline.objectives.inputs import corrupted
from pipeline.training.run import beginning, train
from pipeline.training.weights import load_parts
from pipeline.work.graph import Graph

FULL = "imagenet-full"
SHARED = (
    "-m",
    "torch.distributed.run",
    "--standalone",
    "--nproc-per-node",
    "2",
    "-m",
    "pipeline.pretrain",
    FULL,
)


@pytest.mark.parametrize("ranks", [1, 2, 3, 7])
def test_the_parts_of_a_batch_are_the_batch(ranks):
    for count in (7, 16, 64):
        mine = [np.arange(count)[part(count, rank=rank, ranks=ranks)] for rank in range(ranks)]
        assert np.concatenate(mine).tolist() == list(range(count))
        assert max(map(len, mine)) - min(map(len, mine)) <= 1


def test_a_batch_with_fewer_images_than_processes_is_refused():
    with pytest.raises(ValueError, match="a batch of 2 is too small for 3 processes"):
        part(2, rank=0, ranks=3)


@pytest.fixture
def ready(workplace):
    """Shards for a short pre-training in fp32, whose every step leaves a checkpoint."""
    set_params(
        workplace, engine__checkpoint_seconds=0, engine__precision="fp32", scales__smoke__epochs=both(8)
    )
    shard(Graph(load()).shards("imagenet"))
    return Graph(load()).training("pretrain", FULL, 0)


def test_the_images_of_a_process_are_cropped_and_corrupted_as_in_one_process(ready, monkeypatch):
    images = Images(open_manifest(ready.shards.manifest, "train"), stream_above_gb=8)
    batches = Batches(images, np.arange(48), ready.spec.augment, batch=15, seed=0)

    def seen(batch: Batch) -> torch.Tensor:
        return corrupted(batch, ready.spec, torch.Generator().manual_seed(1))

    mixed = Mixed(batches, Batches(images, np.arange(48), ready.spec.augment, batch=9, seed=1))
    whole = batches.at(1, torch.device("cpu"))
    for ranks in (2, 4):
        parts, halves = [], []
        for rank in range(ranks):
            monkeypatch.setattr(
                "pipeline.compute.distributed.part",
                lambda count, rank=rank, ranks=ranks: part(count, rank=rank, ranks=ranks),
            )
            parts.append(batches.at(1, torch.device("cpu")))
            halves.append(mixed.at(1, torch.device("cpu")))
        assert torch.equal(torch.cat([each.index for each in parts]), whole.index)
        assert torch.equal(torch.cat([each.centred for each in parts]), whole.centred)
        assert torch.equal(torch.cat([seen(each) for each in parts]), seen(whole))
        assert torch.cat([each.places for each in halves]).sort().values.tolist() == list(range(24))
        assert {each.whole for each in halves} == {24}


def test_two_processes_resume_after_a_kill_and_end_where_one_process_does(workplace, ready):
    train(Graph(load()), "pretrain", FULL, 0)
    alone, record = load_parts(ready), json.loads(ready.record.read_text())
    ready.weights.unlink()
    checkpoint = ready.folder / "checkpoint.pt"

    run = subprocess.Popen([sys.executable, *SHARED], cwd=workplace, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 120
    while not checkpoint.exists():
        assert run.poll() is None, run.stderr.read()
        assert time.monotonic() < until
        time.sleep(0.002)
    os.kill(second_of(run.pid), signal.SIGKILL)
    said = run.communicate(timeout=60)[1]
    assert run.returncode == 1
    assert not ready.weights.exists()
    assert f"pretrain {FULL}: process 0 of 2 lost the others" in said
    assert "the same command resumes from the last checkpoint" in said

    said = command(sys.executable, *SHARED, folder=workplace).stderr
    assert "resumes at step" in said
    assert not checkpoint.exists()
    shared = json.loads(ready.record.read_text())
    assert shared["steps"] == record["steps"]
    # Equal up to rounding, which Adam's division of small gradients by their size amplifies.
    assert shared["epoch_losses"][0] == pytest.approx(record["epoch_losses"][0], rel=1e-5)
    assert shared["epoch_losses"] == pytest.approx(record["epoch_losses"], rel=1e-3)
    begun = beginning(ready, open_manifest(ready.shards.manifest, "train"))
    began = {name: part.state_dict() for name, part in begun.named_children()}
    assert distance(load_parts(ready), alone) < 0.01 * distance(alone, began)


def distance(one: dict, other: dict) -> float:
    """The largest difference between weights and statistics of two networks."""
    apart = [
        float((tensor - other[part][name]).square().sum())
        for part, tensors in one.items()
        for name, tensor in tensors.items()
        if tensor.is_floating_point()
    ]
    return sum(apart) ** 0.5


def second_of(agent: int) -> int:
    """The process of rank 1, a child of torchrun."""
    for child in Path(f"/proc/{agent}/task/{agent}/children").read_text().split():
        if "RANK=1" in Path(f"/proc/{child}/environ").read_text().split("\0"):
            return int(child)
    raise AssertionError("no process has rank 1")


def test_a_training_takes_a_free_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("pipeline.compute.device._held", [])
    names = ["GPU-one", "GPU-two", "GPU-three"]
    assert [untaken(names[:2]), untaken(names[1:]), untaken(names)] == [0, 0, 2]
    assert untaken(names) in range(3)  # all are taken: any
    assert untaken(["GPU-two", "GPU-four"]) == 1
