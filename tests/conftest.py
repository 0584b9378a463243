"""A separate workplace for every test: a copy of what git would clone, with small params."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from pipeline.config.documents import read_yaml
from pipeline.config.inheritance import resolved
from pipeline.config.runs import STAGES

ROOT = Path(__file__).parents[1]
PARTS = ("pipeline", "profiles", "Snakefile", "dvc.yaml", "params.yaml", ".dvcignore")

os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest, so that no process is left alone with one at the end."""
    items.sort(key=lambda item: item.get_closest_marker("graph") is None)


def both(epochs: int) -> dict[str, int]:
    """The same cap for both stages."""
    return {"pretrain": epochs, "finetune": epochs}


TINY = {"images": 48, "test_images": 40, "epochs": both(2), "batch": 16, "width": 4, "side": 19}


def params_of(folder: Path) -> dict:
    """params.yaml with `like` resolved, runs sharing no objects."""
    path = folder / "params.yaml"
    return json.loads(_resolved(path, path.read_text()))


@cache
def _resolved(path: Path, text: str) -> str:
    return json.dumps(resolved(read_yaml(path)))


def set_params(folder: Path, **changes) -> None:
    """Edit params.yaml by dotted names, as a user would by hand; an edit of one run changes no other."""
    import yaml

    path = folder / "params.yaml"
    of_runs = any(name.split("__")[0] in STAGES for name in changes)
    document = params_of(folder) if of_runs else read_yaml(path)  # with `like`, a quarter of the text to read
    for name, value in changes.items():
        *parents, last = name.split("__")
        place = document
        for parent in parents:
            place = place[parent]
        place[last] = value
    path.write_text(yaml.dump(document, Dumper=yaml.CSafeDumper, sort_keys=False))


def laid_out(folder: Path) -> Path:
    """Copy the project, at a tiny smoke scale, to a folder."""
    folder.mkdir()
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / part)
    tiny = {f"scales__smoke__{name}": value for name, value in TINY.items()}
    set_params(folder, **tiny, scales__reduced__repeats_of={})  # three of every run are enough to test with
    (folder / "results").mkdir()
    return folder


@contextmanager
def working_in(folder: Path) -> Iterator[Path]:
    """Enter the folder, without delivery to MLflow."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        monkeypatch.setenv("PIPELINE_FOLLOWED", "by nobody")
        yield folder


@pytest.fixture
def workplace(tmp_path):
    """A copy of the project, as current folder."""
    with working_in(laid_out(tmp_path / "project")) as folder:
        yield folder


@pytest.fixture(scope="session")
def once_made(tmp_path_factory):
    """A project where a table and a figure were made by real runs."""
    from pipeline.config.reading import load
    from pipeline.data.writer import shard
    from pipeline.evaluate import evaluate
    from pipeline.results.figures import figure
    from pipeline.results.tables import table
    from pipeline.training.run import train
    from pipeline.work.graph import Graph

    with working_in(laid_out(tmp_path_factory.mktemp("made") / "project")) as folder:
        graph = Graph(load())
        shard(graph.shards("stl10"))
        train(graph, "pretrain", "stl10-small", 0)
        for name in ("stl10-gaussian", "stl10-ours"):
            train(graph, "finetune", name, 0)
            evaluate(graph, f"finetune.{name}.centre", 0)
        evaluate(graph, "pretrain.stl10-small.restore", 0)
        table(graph, "table5")
        figure(graph, "figure10")
    return folder


@pytest.fixture
def made(once_made, tmp_path):
    """A copy of `made` for this test, as current folder."""
    shutil.copytree(once_made, tmp_path / "project")
    with working_in(tmp_path / "project") as folder:
        yield folder


@pytest.fixture(scope="session")
def browser_tab(tmp_path_factory):
    import browser

    if browser.found() is None:
        lacking("no Chromium here (apt-get install chromium)")
    with browser.opened(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def tab(browser_tab):
    """A real browser with a new profile."""
    import browser

    browser_tab.errors.clear()
    browser_tab.requests.clear()
    browser_tab.size(*browser.DESKTOP)
    browser_tab.media()
    return browser_tab


def keep_only(folder: Path, table: str) -> None:
    """Keep one table of the main paper, so that a whole graph takes seconds."""
    import yaml

    papers = folder / "pipeline" / "papers"
    paper = yaml.safe_load((papers / "dong2016.yaml").read_text())
    kept = {
        **paper,
        "tables": {table: paper["tables"][table]},
        "figures": {},
        "claims": {},
        "architectures": {},
    }
    for file in papers.glob("*.yaml"):
        file.unlink()
    (papers / "dong2016.yaml").write_text(yaml.safe_dump(kept, sort_keys=False))
    stages = yaml.safe_load((folder / "dvc.yaml").read_text())
    del stages["plots"]
    render = stages["stages"]["render"]
    kept = {f"results/{table}.csv", f"results/{table}.md", "results/report.html", "results/curves"}
    for kind in ("outs", "plots"):
        render[kind] = [out for out in render[kind] if kept & set(out)]
    (folder / "dvc.yaml").write_text(yaml.safe_dump(stages, sort_keys=False))


def keep_runs(folder: Path) -> None:
    """Keep only the runs of the remaining tables, since every job reads all of params.yaml."""
    import yaml

    tables = yaml.safe_load((folder / "pipeline" / "papers" / "dong2016.yaml").read_text())["tables"]
    used = set(re.findall(r"(?:pretrain|finetune)\.[\w-]+", str(tables)))
    document = params_of(folder)
    for name in list(used):
        stage, run = name.split(".")
        while run := document[stage][run].get("start"):
            stage = "pretrain"
            used.add(f"{stage}.{run}")
    for stage in ("pretrain", "finetune"):
        document[stage] = {run: spec for run, spec in document[stage].items() if f"{stage}.{run}" in used}
    (folder / "params.yaml").write_text(
        yaml.dump({**document, "templates": {}}, Dumper=yaml.CSafeDumper, sort_keys=False)
    )


@pytest.fixture
def tracked(workplace, monkeypatch):
    """The same, with an MLflow store."""
    monkeypatch.delenv("PIPELINE_FOLLOWED")
    return workplace


def command(*words: str, folder: Path, check: bool = True, **environment: str) -> subprocess.CompletedProcess:
    """Run a command of the project as a user does."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        words,
        cwd=folder,
        env={**os.environ, "PATH": path, **environment},
        text=True,
        capture_output=True,
        check=False,
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def lacking(tool: str) -> None:
    """Skip a test for want of a tool; in CI, which installs it, fail."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(tool)


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


@contextmanager
def reserved_port() -> Iterator[int]:
    """A free port, reserved for a server that sets SO_REUSEADDR, as uvicorn does.

    A port that is only known to have been free may become the near end of any connection on this machine,
    and keeps a server off it, also for the minute after that connection was closed.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]
