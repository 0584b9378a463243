"""One graph at a time in a folder, and no polling by Snakemake that grows with the graph."""

import subprocess
import sys

from conftest import ROOT, command

from pipeline.runner.session import LOCK, alone, idle

SLOW_JOBS = """
from pipeline.runner.session import Session
session = Session(workflow, config, files=[])
onstart:
    session.begin()
onsuccess:
    session.end()
rule all:
    input: [f"{number}.txt" for number in range(12)]
rule wait:
    output: "{number}.txt"
    shell: "sleep 0.5; touch {output}"
"""


def test_snakemake_does_not_poll_more_often_the_more_jobs_have_finished(workplace):
    (workplace / "Snakefile").write_text(SLOW_JOBS)
    said = command("snakemake", "--cores", "1", "--verbose", folder=workplace).stderr
    assert said.count("Resources before job selection") <= 2 * 13  # when a job starts, and when it finishes


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
