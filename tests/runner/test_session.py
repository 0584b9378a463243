"""One graph at a time in a folder, and no polling by Snakemake that grows with the graph."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, command, keep_only, set_params

from pipeline.config.reading import load
from pipeline.runner.session import LOCK, alone, idle
from pipeline.work.graph import Graph

SLOW_JOBS = """
from pipeline.config.reading import load
from pipeline.runner.session import Session
session = Session(workflow, config, files=["results/slow.csv"])
onstart:
    session.begin()
onsuccess:
    session.end()
onerror:
    session.end(within=6)
rule all:
    input: [f"{number}.txt" for number in range(12)]
rule wait:
    output: "{number}.txt"
    shell: "sleep 0.5; touch {output}"
session.check_targets()
"""


def test_snakemake_does_not_poll_more_often_the_more_jobs_have_finished(workplace):
    (workplace / "Snakefile").write_text(SLOW_JOBS)
    said = command("snakemake", "--cores", "1", "--verbose", folder=workplace).stderr
    assert said.count("Resources before job selection") <= 2 * 13  # when a job starts, and when it finishes


@pytest.mark.parametrize(("blow", "everyone"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_a_graph_that_is_stopped_ends_with_one_line(workplace, blow, everyone):
    slow = SLOW_JOBS.replace("sleep 0.5", "sleep 20").replace(
        '"{number}.txt"\n', '"{number}.txt"\n    log: "{number}.log"\n'
    )
    (workplace / "Snakefile").write_text(slow)
    graph = subprocess.Popen(
        ["snakemake", "--cores", "2"],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    with graph:
        begun = 0
        while begun < 2:  # jobs, a line for each
            begun += "done; wait" in graph.stderr.readline()
        time.sleep(2)  # both have begun
        (os.killpg if everyone else os.kill)(graph.pid, blow)
        said = graph.communicate(timeout=60)[1]
    assert graph.returncode == 1
    lines = [line for line in said.splitlines() if line != "Terminated"]  # which bash says of `sleep`
    assert lines == ["stopped, 0 of 13 done; the same command goes on from what is written"]


def test_seeds_of_a_run_are_one_job_if_asked_for_and_only_those_that_are_left(workplace):
    keep_only(workplace, "table5")
    set_params(workplace, scales__smoke__repeats=3)
    runs = Graph(load()).trainings("finetune", "stl10-gaussian")
    weights = [str(each.weights) for each in runs]

    def jobs(together, *words):
        options = ("--resources", "gpu=1", "--config", f"together={together}")
        said = command("snakemake", "--cores", "1", *weights, *words, *options, folder=workplace).stdout
        return set(re.findall(r"^((?:pre|fine)\S+) +(\d)$", said, re.MULTILINE))

    assert jobs(1, "-n") == {("finetune_run", "3")}
    assert jobs(2, "-n") == {("finetune_stl10-gaussian_0", "1"), ("finetune_run", "1")}
    command("snakemake", "--cores", "1", weights[1], folder=workplace)
    assert jobs(3, "-n") == {("finetune_stl10-gaussian_0", "1")}
    jobs(3)
    said = (workplace / "results" / "logs" / f"{runs[0].identity}.log").read_text()
    assert all(Path(file).exists() for file in weights), said
    assert jobs(3, "-n") == set()
    assert command("snakemake", "-n", "--config", "together=0", folder=workplace, check=False).returncode == 1


@pytest.mark.parametrize(
    ("target", "answer"),
    [
        ("dong2015", "nothing makes dong2015; did you mean dong2017 or dong2016? `python -m pipeline` lists"),
        ("results/table6", "nothing makes results/table6; did you mean results/table6.csv? `python"),
        ("table6", "nothing makes table6; did you mean results/table6.csv? `python"),
        ("xyz", "nothing makes xyz; `python -m pipeline` lists what can be made"),
    ],
)
def test_a_misspelt_target_is_one_line_with_the_nearest(workplace, target, answer):
    said = command("snakemake", "-n", target, folder=workplace, check=False)
    assert said.returncode == 1
    (line,) = [line for line in said.stderr.splitlines() if not line.startswith("Using workflow")]
    assert line.startswith(answer)


def test_archives_that_nobody_can_download_are_named_before_the_work_begins(workplace):
    words = ("--cores", "1", "results/table6.csv", "--config", "scale=paper")
    said = command("snakemake", *words, folder=workplace, check=False)
    assert said.returncode == 1
    assert said.stderr.splitlines()[-1].startswith("ImageNet has to be requested at image-net.org: ILSVRC")
    assert not list(workplace.glob("results/logs/**/*.log"))


def test_a_second_graph_and_a_folder_that_cannot_be_written_are_one_line(workplace):
    lock = alone()
    second = command("snakemake", "--cores", "1", "results/table6.csv", folder=workplace, check=False)
    lock.close()
    assert second.returncode == 1
    assert "another graph runs in this folder: process" in second.stderr.splitlines()[-1]
    assert "Building DAG" not in second.stderr
    shutil.rmtree("results")
    Path("results").touch()
    said = command("snakemake", "--cores", "1", "results/table6.csv", folder=workplace, check=False)
    assert said.stderr.splitlines()[-1].startswith("results/ cannot be written: File exists (results)")
    assert "Traceback" not in said.stderr


def test_a_killed_graph_leaves_its_folder_free(workplace):
    code = "import os; from pipeline.runner import session; lock = session.alone(); print(1, flush=True); input()"
    words = [sys.executable, "-c", code]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as graph:
        graph.stdout.readline()
        assert not idle()
        second = command(sys.executable, "-c", code, folder=workplace, check=False)
        assert second.returncode == 1
        assert f"another graph runs in this folder: process {graph.pid} since" in second.stderr
        graph.kill()
        graph.wait()
        lock = alone()
        assert f"process {graph.pid} " not in LOCK.read_text()
        del lock
    assert idle()


def test_a_graph_starts_without_the_libraries_of_its_jobs():
    """Importing torch, pandas, MLflow and matplotlib takes seconds, and each `snakemake` would pay for them."""
    code = (
        "import sys; import pipeline.runner.session, pipeline.results.targets; "
        "print(*{'torch', 'pandas', 'mlflow', 'matplotlib', 'scipy', 'webdataset'} & set(sys.modules))"
    )
    assert command(sys.executable, "-c", code, folder=ROOT).stdout == "\n"
