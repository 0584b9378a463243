"""Kept results are complete: every number follows from the runs that it names, and every record parses."""

import csv
import json
import re
import shutil
import statistics
from pathlib import Path

import pytest
import torch
from conftest import set_params

from pipeline import papers
from pipeline.config import typed
from pipeline.config.reading import load
from pipeline.config.runs import Run
from pipeline.config.typed import plain
from pipeline.keep import keep
from pipeline.results import claims
from pipeline.results.kept import reuse
from pipeline.results.page.parts import Shelf
from pipeline.results.rendering import Rendering
from pipeline.results.tables import table
from pipeline.training.checkpoint import load_tensors
from pipeline.training.weights import load_parts
from pipeline.work.graph import Graph

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
DATE = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
KEPT = sorted(place for place in REFERENCE.glob("*/*") if place.is_dir())


def lines(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def record(place, identity):
    """The kept file of a run that a line names."""
    _, *rest = identity.split("/")
    return json.loads((place / "runs").joinpath(*rest).with_suffix(".json").read_text())


def runs(place):
    for file in sorted((place / "runs").glob("[!e]*/*/*.json")):
        yield json.loads(file.read_text())


@pytest.mark.parametrize("place", KEPT, ids=lambda place: "/".join(place.parts[-2:]))
class TestKept:
    def test_every_table_is_there_and_follows_from_its_runs(self, place):
        facts, seen = papers.papers()[place.name], 0
        there = {file.stem for file in place.glob("*.csv")} - {"claims"}
        assert there <= set(facts.tables)
        for name in there:
            layout, found = facts.tables[name].at(place.parent.name), lines(place / f"{name}.csv")
            assert [(line["row"], line["column"]) for line in found] == [cell[:2] for cell in layout.cells()]
            assert (place / f"{name}.md").read_text().startswith("## ")
            for line, (_, _, cell) in zip(found, layout.cells(), strict=True):
                assert line["paper"] == (
                    "" if cell.paper is None else f"{cell.paper:.4f}".rstrip("0").rstrip(".")
                )
                if cell.of is None:
                    continue
                measured = [record(place, identity) for identity in line["runs"].split()]
                values = [each["metrics"][cell.metric] for each in measured]
                assert line["state"] in ("measured", "substitute")
                assert line["scale"] == place.parent.name
                assert line["n"] == line["draws"] == str(len(values))
                assert float(line["mean"]) == pytest.approx(statistics.fmean(values), abs=1e-4)
                spread = statistics.stdev(values) if len(values) > 1 else None
                assert (float(line["sd"]) if line["sd"] else None) == pytest.approx(spread, abs=1e-4)
                assert set(line["commit"].split()) == {each["commit"] for each in measured}
                split = "train" if cell.of.endswith(".validation") else "test"
                assert all(each["split"] == split and each["machine"]["device"] for each in measured)
                assert all(re.fullmatch(DATE, each["ended"]) for each in measured)
                seen += len(values)
        assert bool(seen) == bool(there)

    def test_every_verdict_follows_from_its_interval(self, place):
        wanted, found = papers.papers()[place.name].claims, lines(place / "claims.csv")
        assert {line["claim"] for line in found} <= set(wanted)
        for line in found:
            verdict = "undecidable"
            if int(line["n"]) > 1:
                assert (float(line["p"]) <= float(line["level"])) == (line["verdict"] != "undecided")
                low, high = float(line["low"]), float(line["high"])
                assert low <= float(line["difference"]) <= high
                verdict = "confirmed" if low > 0 else "refuted" if high < 0 else "undecided"
            assert line["verdict"] == verdict, line["claim"]
            for identity in line["runs"].split():
                record(place, identity)

    def test_every_line_follows_from_the_records_and_all_claims_of_today(self, place, workplace):
        """A claim that joins its paper's lowers the levels of all: keep the paper again, and read what has moved."""
        shutil.copytree(place, workplace / place.relative_to(REFERENCE.parents[1]), dirs_exist_ok=True)
        shutil.copy(REFERENCE.parents[1] / "params.yaml", workplace)  # with the repeats of its scale
        graph = Graph(load(scale=place.parent.name))
        reuse(graph)
        found = claims.lines(graph, place.name, partly=True)
        assert [dict.fromkeys(claims.COLUMNS, "") | line for line in found] == lines(place / "claims.csv")

    def test_every_run_says_how_and_where_and_its_params_still_parse(self, place):
        seen = set()
        for run in runs(place):
            assert typed.build(Run, run["spec"], run["run"]).epochs == len(run["epoch_losses"])
            assert run["scale"] == place.parent.name
            assert run["machine"]["torch"]
            assert re.fullmatch(DATE, run["ended"])
            assert len(run["commit"]) == 12, f"{run['identity']}: of edited code"
            assert run["dataset"] != "procedural"
            assert run["start"] is None or record(place, run["start"])
            seen.add(f"{run['stage']}.{run['run']}")
        names = {
            identity.split("/")[2].rpartition(".")[0]
            for file in place.glob("*.csv")
            for line in lines(file)
            for identity in line["runs"].split()
        }
        assert names <= seen

    def test_nothing_but_text_and_encoders_is_kept(self, place):
        files = [file for file in place.rglob("*") if file.is_file()]
        assert {file.suffix for file in files} <= {".csv", ".md", ".json", ".pt"}
        for file in files:
            if file.suffix == ".pt":
                content = load_tensors(file)
                assert list(content["parts"]) == ["encoder"]
                assert json.loads(content["data"])["splits"]["train"]["mean"]  # so that it is exported alone


def test_all_kept_files_are_less_than_20_megabytes():
    assert sum(file.stat().st_size for file in REFERENCE.rglob("*") if file.is_file()) < 20e6


def measurements(graph, table, *, paper="masci2011"):
    return Rendering("table", paper, table).measurements(graph)


def finished(graph, paper):
    """Results as the stages write them, all numbers different."""
    every = set(Rendering("claims", paper, claims.NAME).measurements(graph))
    for name in papers.papers()[paper].tables:
        every |= set(measurements(graph, name, paper=paper))
    for number, each in enumerate(sorted(every, key=lambda one: one.identity)):
        each.metrics.parent.mkdir(parents=True, exist_ok=True)
        names = ("error", "accuracy", "psnr", "trivial", "localisation", "magnitude")
        metrics = dict.fromkeys(names, 5.0 + number)
        told = {
            "commit": "0123456789ab", "dataset": each.shards.displayed_name, "data_sha256": "0" * 64, "seconds": 1.0,
            "epoch_losses": [2.0, 1.0], "start": None,
            "machine": {"device": "a CPU", "torch": "2", "python": "3", "system": "Linux"},
        }  # fmt: skip
        each.metrics.write_text(json.dumps(told | {"metrics": metrics}))
        for training in each.training.lineage:
            training.record.parent.mkdir(parents=True, exist_ok=True)
            record = {"identity": training.identity, "spec": plain(training.spec)}
            training.record.write_text(json.dumps(told | record))
            parts = {"encoder": {"weight": torch.tensor([float(training.seed)])}, "head": {}}
            torch.save({"identity": training.identity, "parts": parts}, training.weights)
    for name in papers.papers()[paper].tables:
        table(graph, f"{paper}/{name}")
    claims.claims(graph, paper)


def test_keeping_a_paper_replaces_what_was_kept_of_it(workplace):
    graph = Graph(load(scale="reduced"))
    finished(graph, "masci2011")
    place = workplace / "results" / "reference" / "reduced" / "masci2011"
    place.mkdir(parents=True)
    (place / "old.csv").write_text("")
    keep(graph, "masci2011")
    assert not (place / "old.csv").exists()
    for name in ("table1.csv", "table1.md", "table2.csv", "claims.csv"):
        assert (place / name).read_text() == (workplace / "results" / "masci2011" / name).read_text()
    three = graph.trainings("finetune", "mnist-cae-1k")
    kept = {
        json.loads(file.read_text())["identity"]
        for file in (place / "runs" / "finetune").glob("mnist-cae-1k/*")
    }
    assert kept == {each.identity for each in three}
    assert len(list((place / "runs" / "pretrain").glob("mnist-cae-*/*.json"))) == 9


def test_an_encoder_that_another_paper_keeps_is_not_kept_twice(workplace):
    graph = Graph(load(scale="reduced"))
    finished(graph, "masci2011")
    keep(graph, "masci2011")
    place = workplace / "results" / "reference" / "reduced" / "masci2011"
    assert len(list(place.rglob("mnist-cae-3/*.pt"))) == 3
    place.rename(place.with_name("zhao2016"))
    keep(graph, "masci2011")
    assert list(place.rglob("*.pt")) == []
    assert len(list(place.rglob("pretrain/mnist-cae-3/*.json"))) == 3
    shutil.rmtree(workplace / "results" / "runs")
    reuse(graph)
    assert all(each.weights.exists() for each in graph.trainings("pretrain", "mnist-cae-3"))


def test_a_table_alone_is_kept_with_its_claims_beside_those_kept_before(workplace):
    graph = Graph(load(scale="reduced"))
    finished(graph, "masci2011")
    place, made = workplace / "results" / "reference" / "reduced" / "masci2011", workplace / "results"
    of_table1, of_table2 = (set(measurements(graph, f"table{k}")) for k in (1, 2))
    held = {each.metrics: each.metrics.read_text() for each in of_table1 - of_table2}
    for file in held:
        file.unlink()

    def kept():
        assert {line["claim"] for line in lines(place / "claims.csv")} == set(
            claims.tried(graph, "masci2011")
        )
        return {file.relative_to(place).as_posix() for file in place.rglob("*") if file.is_file()}

    keep(graph, "masci2011/table2")
    before = kept()
    assert {"table2.csv", "table2.md"} <= before
    assert "table1.csv" not in before
    rows = (made / "masci2011" / "table1.csv").read_text()
    for folder in ("masci2011", "runs"):  # a fresh clone, where table 1 is made
        shutil.rmtree(made / folder)
    for file, text in held.items():
        file.parent.mkdir(parents=True)
        file.write_text(text)
    (made / "masci2011").mkdir()
    (made / "masci2011" / "table1.csv").write_text(rows)
    (made / "masci2011" / "table1.md").write_text("")
    keep(graph, "masci2011/table1")
    assert before | {"table1.csv", "table1.md"} <= kept()


def test_kept_results_are_restored_and_not_made_again(workplace):
    graph = Graph(load(scale="reduced"))
    finished(graph, "masci2011")
    keep(graph, "masci2011/table2")
    wanted = measurements(graph, "table2")
    found = {each.metrics: json.loads(each.metrics.read_text()) for each in wanted}
    shutil.rmtree(workplace / "results" / "runs")
    assert reuse(graph) > len(found)
    assert {each.metrics: json.loads(each.metrics.read_text()) for each in wanted} == found
    start = graph.training("finetune", "cifar10-cae-1k", 2).start
    assert load_parts(start) == {"encoder": {"weight": torch.tensor([2.0])}}
    assert reuse(graph) == 0
    start.record.write_text("mine")
    assert reuse(graph) == 0
    assert start.record.read_text() == "mine"


def test_reused_results_are_shown_as_kept(workplace):
    graph = Graph(load(scale="reduced"))
    finished(graph, "masci2011")
    for each in set(measurements(graph, "table1")) - set(measurements(graph, "table2")):
        each.metrics.unlink()  # claims are kept as far as they were tried
    keep(graph, "masci2011/table2")
    for made_here in ("runs", "masci2011"):
        shutil.rmtree(workplace / "results" / made_here)
    reuse(graph)
    parts = Shelf(graph.params).parts("masci2011", papers.papers()["masci2011"])
    assert {part.name for part in parts if part.state == "kept"} == {"Claims", "Table 2"}
    assert "outdated" not in {part.state for part in parts}


def test_finished_runs_are_kept_before_the_table_is_complete(workplace, capsys):
    graph = Graph(load(scale="reduced"))
    finished(graph, "masci2011")
    place = workplace / "results" / "reference" / "reduced" / "masci2011"
    lost = measurements(graph, "table2")[0]
    shutil.rmtree(lost.folder)
    shutil.rmtree(lost.training.folder)
    (workplace / "results" / "masci2011" / "table2.csv").unlink()
    keep(graph, "masci2011/table2")
    assert capsys.readouterr().out == (
        "masci2011/table2: 1 of 27 measurements are missing; the table is not kept yet; make it: "
        "snakemake --cores all results/masci2011/table2.csv --config scale=reduced\n"
    )
    assert not (place / "table2.csv").exists()
    assert len(list((place / "runs").glob("evaluate/*/*.json"))) >= len(measurements(graph, "table2")) - 1
    every = {one.identity for each in measurements(graph, "table2") for one in each.training.lineage}
    kept = {json.loads(file.read_text())["identity"] for file in (place / "runs").glob("[fp]*/*/*.json")}
    assert every - kept == {lost.training.identity}
    assert lost.training.start.identity in kept


def test_a_table_of_other_runs_is_not_kept(workplace, capsys):
    graph = Graph(load(scale="reduced"))
    keep(graph, "masci2011/table1")
    assert "measurements are missing; the table is not kept yet" in capsys.readouterr().out
    finished(graph, "masci2011")
    set_params(workplace, **{"finetune__mnist-cae-1k__batch": 8})
    keep(Graph(load(scale="reduced")), "masci2011/table1")
    assert "3 of 27 measurements are missing" in capsys.readouterr().out
    assert not list((workplace / "results" / "reference").rglob("table1.csv"))
