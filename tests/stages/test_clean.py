"""clean removes only what this project made and can make again, and no other file in the same folders."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import command

from pipeline.config.reading import load
from pipeline.work.graph import Graph

OLD = "0123456789"  # the key of a run that params.yaml no longer names

USERS = (
    "data/pictures/my-cats/train/cat/1.png",
    f"data/pictures/trip-{OLD}/manifest.json",
    "data/raw/imagenet/ILSVRC2012_img_train.tar",
    f"data/raw/mine-{OLD}/manifest.json",
    f"data/elsewhere/mine-{OLD}/train-00000.tar",
    "data/smoke/notes.txt",
    f"data/smoke/mine-{OLD}x/train-00000.tar",
    f"results/runs/smoke/pretrain/imagenet-full/0-{OLD}/notes.txt",
    f"results/runs/smoke/pretrain/imagenet-full/0-{OLD}/mine/weights.pt",
    f"results/runs/mine/pretrain/imagenet-full/0-{OLD}/weights.pt",
    f"results/logs/smoke/pretrain/imagenet-full/{OLD}.log",
    "results/reference/table6.csv",
)
LEFT = (
    f"data/smoke/stl10-{OLD}/manifest.json",
    f"data/smoke/stl10-{OLD}/train-00000.tar",
    f"data/smoke/stl10-{OLD}/.train-00001.tar.4000000.partial",
    f"data/paper/gone-{OLD}/train-00000.tar.damaged",
    f"results/runs/smoke/pretrain/imagenet-full/0-{OLD}/weights.pt",
    f"results/runs/smoke/pretrain/imagenet-full/0-{OLD}/events.jsonl",
    f"results/runs/smoke/finetune/gone/11-{OLD}/checkpoint.pt",
    f"results/runs/smoke/evaluate/pretrain.imagenet-full.restore/0-{OLD}/metrics.json",
    f"results/logs/smoke/pretrain/imagenet-full/0-{OLD}.log",
    f"results/logs/smoke/shard/stl10-{OLD}.log",
)


@pytest.fixture
def littered(workplace):
    """A folder with pictures, raw archives, stray files, old runs and runs of params.yaml."""
    graph = Graph(load())
    training = graph.training("pretrain", "imagenet-full", 0)
    kept = (training.weights, training.shards.manifest, graph.shards("stl10").manifest)
    log = f"results/logs/smoke/pretrain/imagenet-full/0-{training.key}.log"
    for name in (*USERS, *LEFT, *map(str, kept), log):
        file = workplace / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(100_000))
    (workplace / "elsewhere" / "weights.pt").parent.mkdir()
    (workplace / "elsewhere" / "weights.pt").touch()
    (workplace / "results/runs/smoke/pretrain/imagenet-full" / f"1-{OLD}").symlink_to(workplace / "elsewhere")
    return workplace


def files(folder: Path) -> set[str]:
    parts = (folder / "data", folder / "results", folder / "elsewhere")
    return {
        str(each.relative_to(folder))
        for part in parts
        for each in part.rglob("*")
        if each.is_file() and not each.name.endswith(".lock")
    }


def clean(folder: Path, *words: str, check: bool = True):
    return command(sys.executable, "-m", "pipeline.clean", *words, folder=folder, check=check)


def test_clean_removes_old_shards_runs_and_logs_and_nothing_else(littered):
    before = files(littered)
    said = clean(littered, "--delete", "--yes").stdout
    assert before - files(littered) == set(LEFT)
    assert "1.0 MB" in said.splitlines()[-1]  # ten files of 100,000 bytes
    assert (littered / f"results/runs/smoke/pretrain/imagenet-full/0-{OLD}/notes.txt").exists()
    assert not (littered / "results/runs/smoke/finetune/gone").exists()
    assert not (littered / f"data/smoke/stl10-{OLD}").exists()
    assert "nothing" in clean(littered, "--delete").stdout


def test_clean_lists_and_removes_nothing_by_default(littered):
    before = files(littered)
    said = clean(littered).stdout
    assert files(littered) == before
    assert f"data/smoke/stl10-{OLD}" in said
    assert "my-cats" not in said
    assert "--delete" in said.splitlines()[-1]


def test_without_a_terminal_delete_needs_yes(littered):
    before = files(littered)
    done = clean(littered, "--delete", check=False)
    assert done.returncode == 1
    assert "--yes" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert files(littered) == before


@pytest.mark.parametrize(("answer", "taken"), [("n", set()), ("", set()), ("y", set(LEFT))])
def test_on_a_terminal_delete_asks(littered, answer, taken):
    before = files(littered)
    ours, its = pty.openpty()
    words = [sys.executable, "-m", "pipeline.clean", "--delete"]
    process = subprocess.Popen(words, cwd=littered, stdin=its, stdout=subprocess.PIPE, text=True)
    os.close(its)
    os.write(ours, f"{answer}\n".encode())
    said = process.communicate(timeout=60)[0]
    os.close(ours)
    assert "1.0 MB" in said
    assert process.returncode == 0
    assert before - files(littered) == taken


def test_clean_removes_nothing_while_a_graph_runs(littered):
    from pipeline.runner.session import alone

    before = files(littered)
    with alone():
        done = clean(littered, "--delete", "--yes", check=False)
    assert done.returncode == 1
    assert "another graph runs in this folder" in done.stderr
    assert files(littered) == before
