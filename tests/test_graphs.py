"""Real Snakemake and DVC runs: an edit remakes exactly what depends on it, and nothing stale is shown."""

import csv
import json
import re
import shutil
import sqlite3
import subprocess
import sys
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from conftest import command, free_port, keep_only, keep_runs, lacking, set_params

from pipeline.config.reading import load
from pipeline.results.rendering import Rendering
from pipeline.results.tables import table as render_table
from pipeline.tracking.follower import FOLLOWED
from pipeline.work.graph import Graph

pytestmark = pytest.mark.graph


def snakemake(folder: Path, *words: str, check: bool = True) -> str:
    done = command(
        "snakemake", "--cores", "2", *(words or ("results/table6.csv",)), folder=folder, check=check
    )
    return done.stdout + done.stderr


def git(folder: Path, *words: str) -> None:
    identity = ("-c", "user.name=tester", "-c", "user.email=tester@example.org")
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


def weights(folder: Path) -> dict[str, int]:
    """Every trained run on the disk, and its time of writing."""
    return {
        str(file.relative_to(folder)): file.stat().st_mtime_ns
        for file in (folder / "results").rglob("weights.pt")
    }


def made_again(before: dict[str, int], after: dict[str, int]) -> set[str]:
    """Stage and run of trainings that were made or made again in between."""
    return {"/".join(Path(name).parts[3:5]) for name, when in after.items() if before.get(name) != when}


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "results" / "table6.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def in_mlflow(folder: Path) -> list[tuple[str, str]]:
    """Every run's identity and status."""
    words = (
        "select value, status from runs join tags on tags.run_uuid = runs.run_uuid "
        "where key = 'identity' and lifecycle_stage = 'active'"
    )
    return sqlite3.connect(folder / "mlflow.db").execute(words).fetchall()


@pytest.fixture
def project(tracked):
    """A git repository with params and results that git leaves alone."""
    keep_only(tracked, "table6")
    keep_runs(tracked)
    shutil.copy(Path(__file__).parents[1] / ".gitignore", tracked / ".gitignore")
    for folder in ("data", "results"):
        (tracked / folder).mkdir(exist_ok=True)
        shutil.copy(Path(__file__).parents[1] / folder / ".gitignore", tracked / folder / ".gitignore")
    git(tracked, "init", "-q")
    git(tracked, "add", "-A")
    git(tracked, "commit", "-qm", "begin")
    return tracked


def set_lr(folder: Path, lr: float) -> None:
    """Edit one pre-training's learning rate."""
    set_params(folder, **{"pretrain__imagenet-full__optimiser__adam__lr": lr})


TOUCHED = {"pretrain/imagenet-full", "finetune/voc2007-imagenet-full"}


def test_snakemake_makes_the_table_and_an_edit_reruns_what_it_touches(project):
    said = snakemake(project).splitlines()
    started = [line for line in said if " of 15 done; " in line]
    assert len(started) == 15
    assert all(Path(project, line.rpartition("(")[2].rstrip(")")).exists() for line in started)
    assert "15 of 15 done" in said
    assert len([line for line in said if line.startswith("| No shortcut")]) == 1
    assert len(said) < 75
    first, shown = weights(project), (project / "results" / "table6.csv").read_bytes()
    assert len(first) == 6
    assert [line["state"] for line in table(project)] == ["measured"] * 6
    (project / "mlflow.db").unlink()  # as after a kill before any delivery
    assert "Nothing to be done" in snakemake(project)
    assert len(in_mlflow(project)) == 6 + 6

    set_lr(project, 3.0e-4)
    snakemake(project)
    second = weights(project)
    assert made_again(first, second) == TOUCHED
    changed = [
        line["row"]
        for line, old in zip(table(project), csv.DictReader(shown.decode().splitlines()), strict=True)
        if line != old
    ]
    assert set(changed) == {"Ours full shortcut"}

    set_lr(project, 1.0e-4)  # back: the old work is found again
    snakemake(project)
    assert weights(project) == second
    assert (project / "results" / "table6.csv").read_bytes() == shown

    # a store that has only MLflow's database gives the same table
    stored = in_mlflow(project)
    assert len(stored) == len(set(stored)) == 6 + 2 + 6 + 2
    assert {status for _, status in stored} == {"FINISHED"}
    shutil.rmtree(project / "results")
    command("python", "-m", "pipeline.table", "table6", "--from", "mlflow", folder=project)
    assert (project / "results" / "table6.csv").read_bytes() == shown


def test_dvc_reruns_what_an_edit_touches_and_shares_it(project, tmp_path, monkeypatch, s3):
    monkeypatch.setenv(FOLLOWED, "by nobody")  # DVC's phases need not wait for MLflow
    command("dvc", "init", "-q", folder=project)
    command("dvc", "remote", "add", "shelf", str(tmp_path / "shelf"), folder=project)
    command("dvc", "remote", "add", "cloud", "s3://results/five-papers", folder=project)
    command("dvc", "remote", "modify", "cloud", "endpointurl", s3, folder=project)
    shown = edited_and_pushed(project, remotes=("shelf", "cloud"))
    for remote, *engine in (
        ("shelf", "dvc", "repro"),
        ("cloud", "snakemake", "--cores", "2", "results/table6.csv"),
    ):
        clone = tmp_path / remote / "clone"
        git(tmp_path, "clone", "-q", str(project), str(clone))
        command("dvc", "pull", "-r", remote, folder=clone)
        pulled_and_edited(clone, engine, shown)


@pytest.fixture
def s3(tmp_path, monkeypatch):
    """A store of objects behind S3's protocol, on the loopback; its address."""
    (tmp_path / "buckets" / "results").mkdir(parents=True)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "reader")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    address, rclone = f"127.0.0.1:{free_port()}", Path(sys.executable).with_name("rclone")
    if not rclone.exists():
        lacking("no rclone here, which serves S3 (make test installs it)")
    words = [rclone, "serve", "s3", tmp_path / "buckets", "--addr", address, "--auth-key", "reader,hunter2"]
    server = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    try:
        yield f"http://{address}"
    finally:
        server.terminate()
        server.wait()


def edited_and_pushed(project: Path, remotes: Iterable[str]) -> bytes:
    """Repro, edit, edit back, push: the table at the end."""
    command("dvc", "repro", folder=project)
    first, begun = weights(project), (project / "results" / "table6.csv").read_bytes()
    assert len(first) == 6
    leftover = project / "pipeline" / "papers" / "__pycache__" / "another.pyc"  # another Python's: no paper
    leftover.parent.mkdir(exist_ok=True)
    leftover.touch()
    said = command("dvc", "repro", folder=project).stdout
    assert "Data and pipelines are up to date" in said
    assert weights(project) == first
    assert "table6" in command("dvc", "metrics", "show", folder=project).stdout
    assert len((project / "dvc.lock").read_text().splitlines()) < 100
    drawn = command("dvc", "plots", "show", "results/curves", folder=project).stdout.strip()
    page = Path(urlsplit(drawn).path).read_text()
    assert "curves/pretrain.imagenet-full.csv" in page

    set_lr(project, 3.0e-4)
    assert "lr" in command("dvc", "params", "diff", folder=project).stdout
    command("dvc", "repro", folder=project)
    second = weights(project)
    assert made_again(first, second) == TOUCHED
    set_lr(project, 1.0e-4)
    command("dvc", "repro", folder=project)
    assert weights(project) == second
    shown = (project / "results" / "table6.csv").read_bytes()
    assert shown == begun

    git(project, "add", "-A")
    git(project, "commit", "-qm", "results")
    for remote in remotes:
        command("dvc", "push", "-r", remote, folder=project)
    return shown


def pulled_and_edited(clone: Path, engine: list[str], shown: bytes) -> None:
    """Once pulled: edit, edit back; only what was edited is trained, and no number is stale."""
    pulled = weights(clone)
    assert len(pulled) == 8
    assert (clone / "results" / "table6.csv").read_bytes() == shown
    assert "up to date" in command("dvc", "status", folder=clone).stdout
    report = (clone / "results" / "report.html").read_bytes()
    command("python", "-m", "pipeline.report", folder=clone)
    assert len((clone / "results" / "report.html").read_bytes()) == len(report)
    set_lr(clone, 7.0e-4)
    command(*engine, folder=clone)
    if engine[0] == "dvc":
        changed = command("dvc", "metrics", "diff", folder=clone).stdout
        assert "Ours full shortcut, PSNR" in changed
        assert "No shortcut" not in changed
    edited = weights(clone)
    assert made_again(pulled, edited) == TOUCHED
    runs = " ".join(line["runs"] for line in table(clone)).split()
    records = [json.loads((clone / f"results/runs/{run}/metrics.json").read_text()) for run in runs]
    assert runs == [record["identity"] for record in records]
    set_lr(clone, 1.0e-4)
    command(*engine, folder=clone)
    assert weights(clone) == edited
    assert (clone / "results" / "table6.csv").read_bytes() == shown


def test_impossible_graphs_are_refused_before_anything_runs(workplace):
    text = (workplace / "params.yaml").read_text()
    (workplace / "params.yaml").write_text(text.replace("start: imagenet-full", "start: imagenet-ful"))
    said = snakemake(workplace, check=False)
    assert "start names 'imagenet-ful'; did you mean 'imagenet-full'?" in said
    (workplace / "params.yaml").write_text(text)
    said = snakemake(workplace, "results/table6.csv", "--config", "scale=papr", check=False)
    assert "there is no scale 'papr'; did you mean 'paper'?" in said
    said = snakemake(workplace, "results/table6.csv", "--config", "scal=paper", check=False)
    assert "--config takes scale=… and together=…, and no 'scal'" in said
    for slip, meant in (("tabel6.csv", "table6.csv"), ("zhao2016/tabel1.md", "zhao2016/table1.md")):
        said = snakemake(workplace, f"results/{slip}", check=False)
        assert f"nothing makes results/{slip}; did you mean results/{meant}" in said


def test_the_paper_scale_is_planned_without_any_data(workplace):
    said = snakemake(workplace, "-n", "results/table6.csv", "--config", "scale=paper")
    assert re.search(r"fetch_raw\s+2\b", said)
    assert re.search(r"shard_set\s+2\b", said)
    assert re.search(r"pretrain_run\s+9\b", said)  # three arms, three pipelines
    assert not (workplace / "data").exists()


def test_incomplete_marks_of_a_killed_graph_hide_no_missing_file(workplace):
    keep_only(workplace, "table6")
    graph = Graph(load())
    pretrained = graph.training("pretrain", "imagenet-full", 0)
    sets = (graph.shards("imagenet").manifest, graph.shards("voc2007").manifest)
    marks = workplace / ".snakemake" / "incomplete"
    marks.mkdir(parents=True)
    for file in (*sets, pretrained.weights, pretrained.record):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        (marks / urlsafe_b64encode(str(file).encode()).decode()).touch()
    said = snakemake(workplace, "-n", "results/table6.csv")
    assert re.search(r"^table\s+1\b", said, re.MULTILINE)
    assert re.search(r"^pretrain_run\s+2\b", said, re.MULTILINE)  # not the one that is there
    assert not re.search(r"^shard_set\b", said, re.MULTILINE)


def test_a_stale_table_is_rendered_again_and_a_dry_run_says_so_and_writes_nothing(workplace):
    keep_only(workplace, "table6")
    path, shown = workplace / "results" / "table6.csv", {}
    for lr in (3.0e-4, 1.0e-4):
        set_lr(workplace, lr)
        graph = Graph(load())
        for each in Rendering("table", "dong2016", "table6").measurements(graph):
            for file in (each.shards.manifest, each.training.shards.manifest, *trained(each), each.metrics):
                file.parent.mkdir(parents=True, exist_ok=True)
                metrics = {"psnr": int(each.key[:4], 16) / 1000, "map": 2.0}
                file.write_text(json.dumps({"metrics": metrics, "commit": "0123456789ab"}))
        render_table(graph, "table6")
        shown[lr] = path.read_text()
    set_lr(workplace, 3.0e-4)
    before = {file: file.stat().st_mtime_ns for file in workplace.glob("results/**/*")}
    assert re.search(r"^table\s+1\b", snakemake(workplace, "-n", "results/table6.csv"), re.MULTILINE)
    assert {file: file.stat().st_mtime_ns for file in workplace.glob("results/**/*")} == before
    snakemake(workplace)
    assert path.read_text() == shown[3.0e-4]
    path.write_text(shown[1.0e-4])  # as after a checkout: newer than everything it depends on
    snakemake(workplace)
    assert path.read_text() == shown[3.0e-4]
    assert "Nothing to be done" in snakemake(workplace, "-n", "results/table6.csv")


def trained(measurement):
    return [file for each in measurement.training.lineage for file in (each.weights, each.record)]


def test_missing_imagenet_is_reported_in_one_line(workplace):
    done = command(
        "python", "-m", "pipeline.fetch", "imagenet", "--scale", "paper", folder=workplace, check=False
    )
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "ILSVRC2012_img_train.tar" in done.stderr


def test_dvc_shares_every_file_that_shows_runs_and_plots_every_figure(workplace):
    import yaml

    from pipeline.results.rendering import renderings

    document = yaml.safe_load((workplace / "dvc.yaml").read_text())
    render = document["stages"]["render"]
    outs, plots = ([next(iter(out)) for out in render[kind]] for kind in ("outs", "plots"))
    shared = {*outs, *plots}
    files = [file for each in renderings().values() for file in each.files]
    assert [str(file) for file in files if not shared & {str(file), str(file.parent)}] == []
    plotted = [*plots, *document["plots"]]
    assert sorted(plotted) == sorted(
        ["results/curves", *(str(file) for file in files if file.suffix == ".png")]
    )
