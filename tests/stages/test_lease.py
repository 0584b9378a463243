"""Trainings on a machine without network, git and engines, from a tar of the project alone; results merged here."""

import importlib.metadata
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import command, keep_only, set_params

from pipeline.config.reading import load
from pipeline.data.writer import shard
from pipeline.lease import MIB, jobs_left, measurements_of, merge, pack_lease
from pipeline.results.tables import table
from pipeline.runner.lease import BACK, works_of
from pipeline.system.files import write_text
from pipeline.system.parcel import pack, unpack
from pipeline.training.run import train
from pipeline.work.graph import Graph
from pipeline.work.identity import Measurement, Training, words_of

THERE = ("torch", "numpy", "pillow", "psutil", "pyyaml")  # with what these need: all that the machine has
INSTALLED = {re.sub("[-_.]+", "-", each.name).lower() for each in importlib.metadata.distributions()}
TABLE = "results/table5.csv"


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory):
    """A Python with THERE and no other package: links into an environment of its own."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    left, linked = [*THERE], set()
    while left:
        name = left.pop()
        linked.add(name)
        package = importlib.metadata.distribution(name)
        for top in {file.parts[0] for file in package.files or () if file.parts[0] != ".."}:
            if not (site / top).exists():
                (site / top).symlink_to(package.locate_file(top))
        needs = {re.split(r"[^\w.-]", each)[0] for each in package.requires or () if "extra ==" not in each}
        left += needs & INSTALLED - linked
    return folder / "bin" / "python"


@pytest.fixture
def home(workplace):
    """A project with one table to make, and its shards."""
    keep_only(workplace, "table5")
    graph = Graph(load())
    shard(graph.shards("stl10"))
    return workplace


@pytest.fixture
def machine(tmp_path, bare_python):
    """A folder with nothing in it, and commands that find Python, tar, and neither git nor engines."""
    folder, tools = tmp_path / "there", tmp_path / "tools"
    for each in (folder, tools):
        each.mkdir()
    for tool in ("cat", "tar", "sha256sum"):
        (tools / tool).symlink_to(shutil.which(tool))

    def run(words: str) -> tuple[int, str]:
        environment = {"PATH": f"{bare_python.parent}:{tools}", "OMP_NUM_THREADS": "1", "HOME": str(folder)}
        shell = ["/bin/sh", "-c", words]
        done = subprocess.run(shell, cwd=folder, env=environment, check=False, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    run.folder = folder
    return run


def shown(graph: Graph) -> list[Measurement]:
    return measurements_of(graph, TABLE)


def sent(home: Path, machine) -> None:
    """Pack, carry the parts over and unpack them there."""
    pack_lease(Graph(load()), [TABLE], together=1, part=MIB, beside=[])
    for part in (home / "results" / "lease").glob("send.*"):
        (machine.folder / part.name).write_bytes(part.read_bytes())
    assert machine("cat send.* | tar -x && sha256sum --check --quiet SHA256SUMS") == (0, "")


def test_what_a_bare_machine_makes_is_made_for_snakemake_and_equal_to_the_bit(home, machine, capsys):
    graph = Graph(load())
    train(graph, "pretrain", "stl10-small", 0)
    alone = graph.training("pretrain", "stl10-small", 0)
    weights = alone.weights.read_bytes()
    shutil.rmtree(alone.folder)
    sent(home, machine)
    engines = ("mlflow", "snakemake", "dvc", "webdataset", "simplejpeg")
    assert (
        machine(" || ".join(f"python -c 'import {each}'" for each in engines))[1].count("No module named")
        == 5
    )
    assert machine("git")[0] == 127
    lines = (machine.folder / "lease.txt").read_text().splitlines()
    code, said = machine("python -m pipeline.lease work --minutes 5")
    assert (code, f"{len(lines)} of {len(lines)} jobs are made" in said) == (0, True), said
    capsys.readouterr()
    merge(machine.folder / "back")
    assert f"{len(lines)} trainings and measurements are made, 0 resume" in capsys.readouterr().out
    assert alone.weights.read_bytes() == weights
    said = command(
        "snakemake", "-n", TABLE, *(str(each.metrics) for each in shown(graph)), folder=home
    ).stdout
    assert set(re.findall(r"^(\w+) +(\d+)$", said, re.MULTILINE)) == {("table", "1"), ("total", "1")}
    table(graph, "table5")
    assert "measured" in Path(TABLE).read_text()


def test_a_training_that_is_stopped_resumes_in_another_lease_as_if_unbroken(home, machine, capsys):
    set_params(home, scales__smoke__epochs={"pretrain": 200, "finetune": 2})
    graph = Graph(load())
    training = graph.training("pretrain", "stl10-small", 0)
    sent(home, machine)
    words = [sys.executable, "-m", "pipeline.lease", "work"]
    working = subprocess.Popen(words, cwd=machine.folder, stdout=subprocess.PIPE, text=True)
    events = machine.folder / training.folder / "events.jsonl"
    while not (events.exists() and '"step"' in events.read_text()):
        assert working.poll() is None
        time.sleep(0.05)
    working.send_signal(signal.SIGTERM)
    said = working.communicate()[0]
    assert "stopped\n0 of 5 jobs are made" in said
    merge(machine.folder / "back")
    assert "0 trainings and measurements are made, 1 resume" in capsys.readouterr().out

    shutil.rmtree(machine.folder)
    machine.folder.mkdir()
    sent(home, machine)
    command(*words, folder=machine.folder)
    assert "resumes at step" in (machine.folder / "results/logs" / f"{training.identity}.log").read_text()
    merge(machine.folder / "back")
    assert not (training.folder / "checkpoint.pt").exists()
    weights = training.weights.read_bytes()
    shutil.rmtree(training.folder)
    train(graph, "pretrain", "stl10-small", 0)
    assert training.weights.read_bytes() == weights


def test_without_time_nothing_begins_and_what_has_no_room_goes_back_in_another_call(home, machine):
    sent(home, machine)
    words = [sys.executable, "-m", "pipeline.lease", "work", "--minutes", "0"]
    assert "0 of 5 jobs are made" in command(*words, folder=machine.folder).stdout
    training = Graph(load()).training("pretrain", "stl10-small", 0)
    files = {
        name: machine.folder / training.folder / name for name in ("run.json", "pictures.png", "weights.pt")
    }
    for number, file in enumerate(files.values()):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes([number]) * (100 if file.suffix == ".json" else 150_000))
    brought = []
    for _ in range(3):
        command(*words, "--most", "0.2", folder=machine.folder)
        brought.append([Path(name).name for name, _ in unpack(machine.folder / "back", BACK)])
    assert brought == [["run.json", "pictures.png"], ["run.json", "weights.pt"], ["run.json"]]


def test_jobs_are_in_order_of_value_and_after_what_they_start_from(workplace):
    set_params(workplace, scales__smoke__repeats=3)
    graph = Graph(load())
    one = [words_of(job).split(" --")[0:2] for job in jobs_left(graph, [TABLE], together=1)]
    assert [seeds for _, seeds in one] == sorted(seeds for _, seeds in one)
    assert one[:3] == [
        ["pretrain stl10-small", "seed 0"],
        ["finetune stl10-ours", "seed 0"],
        ["evaluate finetune.stl10-ours.centre", "seed 0"],
    ]
    jobs = jobs_left(graph, [TABLE, "results/table6.csv"], together=2)
    for at, job in enumerate(jobs):
        before = {each.identity for earlier in jobs[:at] for each in earlier}
        for each in job:
            start = each.start if isinstance(each, Training) else each.training
            assert start is None or start.identity in before
    lines = [words_of(job) for job in jobs]
    assert lines[0] == "pretrain stl10-small --seed 0 1 --scale smoke"
    assert "finetune stl10-ours --seed 0 1 --scale smoke" in lines


def test_work_that_is_finished_here_stays_as_it_is(workplace, tmp_path):
    record, log = (Path("results/runs/smoke/pretrain/a/0-0") / name for name in ("run.json", "events.jsonl"))
    for file in (record, log):
        write_text(file, "here")
    there = {str(file): b"there" for file in (record, log, record.with_name("weights.pt"))}
    pack(there | {str(record.with_name("checkpoint.pt")): b"late"}, tmp_path / "back", BACK, part=MIB)
    merge(tmp_path / "back")
    assert record.read_text() == log.read_text() == "here"
    assert record.with_name("weights.pt").read_text() == "there"
    assert not record.with_name("checkpoint.pt").exists()


def test_what_cannot_be_packed_or_merged_is_one_line_with_the_way_out(home, tmp_path):
    graph = Graph(load())
    with pytest.raises(
        ValueError, match=r"nothing renders 'results/tabel5.csv'; did you mean 'results/table5'"
    ):
        measurements_of(graph, "results/tabel5.csv")
    graph.shards("stl10").manifest.unlink()
    with pytest.raises(
        ValueError, match=r"manifest.json is missing; make it: python -m pipeline.shard stl10"
    ):
        pack_lease(graph, [TABLE], together=1, part=MIB, beside=[])
    with pytest.raises(
        ValueError, match=r"lease.txt has 'pretrain x'; a line is STAGE RUN --seed 0 1 --scale"
    ):
        works_of(["pretrain x"])
    (job,) = works_of(["finetune stl10-ours --seed 0 1 --scale smoke"]).values()
    assert job == [graph.training("finetune", "stl10-ours", seed) for seed in (0, 1)]
    pack({"pipeline/evaluate.py": b""}, tmp_path / "back", BACK, part=MIB)
    with pytest.raises(ValueError, match=r"pipeline/evaluate.py, which is no result"):
        merge(tmp_path / "back")
