"""Results that are kept are whole: each number follows from the runs that it names, and each run still parses."""

import csv
import json
import re
import shutil
import statistics
from pathlib import Path

import pytest
import torch

from pipeline import claims, papers, typed
from pipeline.graph import Graph
from pipeline.keep import keep
from pipeline.learn import load_parts
from pipeline.params import Run, load
from pipeline.reuse import reuse
from pipeline.table import measurements, table
from pipeline.train import load_tensors
from pipeline.typed import plain

REFERENCE = Path(__file__).parents[1] / "results" / "reference"
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
        assert there
        assert there <= set(facts.tables)
        for name in there:
            layout, found = facts.tables[name], lines(place / f"{name}.csv")
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
        assert seen

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
                assert list(load_tensors(file)["parts"]) == ["encoder"]


def test_all_that_is_kept_is_no_more_than_a_clone_can_bear():
    assert sum(file.stat().st_size for file in REFERENCE.rglob("*") if file.is_file()) < 20e6


def finished(graph, paper):
    """Results as the stages leave them, each number another."""
    every = set(claims.measurements(graph, paper))
    for name in papers.papers()[paper].tables:
        every |= set(measurements(graph, f"{paper}/{name}"))
    for number, each in enumerate(sorted(every, key=lambda one: one.identity)):
        each.metrics.parent.mkdir(parents=True, exist_ok=True)
        names = ("error", "accuracy", "psnr", "trivial", "localisation", "magnitude")
        metrics = dict.fromkeys(names, 5.0 + number)
        each.metrics.write_text(json.dumps({"metrics": metrics, "commit": "0123456789ab"}))
        for training in each.training.lineage:
            training.record.parent.mkdir(parents=True, exist_ok=True)
            record = {"identity": training.identity, "epoch_losses": [2.0, 1.0], "spec": plain(training.spec)}
            training.record.write_text(json.dumps(record))
            parts = {"encoder": {"weight": torch.tensor([float(training.seed)])}, "head": {}}
            torch.save({"identity": training.identity, "parts": parts}, training.weights)
    for name in papers.papers()[paper].tables:
        table(graph, f"{paper}/{name}")
    claims.claims(graph, paper)


def test_what_is_kept_is_all_of_one_paper_and_nothing_of_before(workplace):
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


def test_a_table_alone_is_kept_with_its_claims_beside_those_kept_before(workplace):
    graph = Graph(load(scale="reduced"))
    finished(graph, "masci2011")
    for name, tables in (("masci2011/table2", {"table2"}), ("masci2011/table1", {"table1", "table2"})):
        missing = set(measurements(graph, "masci2011/table1")) - set(measurements(graph, "masci2011/table2"))
        if name.endswith("2"):
            held = {each.metrics: each.metrics.read_text() for each in missing}
            for file in held:
                file.unlink()
        else:
            for file, text in held.items():
                file.write_text(text)
        keep(graph, name)
        place = workplace / "results" / "reference" / "reduced" / "masci2011"
        assert {file.stem for file in place.glob("*.csv")} == {*tables, "claims"}
        kept = {line["claim"] for line in lines(place / "claims.csv")}
        assert kept == set(claims.tried(graph, "masci2011"))
    assert kept == set(papers.papers()["masci2011"].claims)


def test_what_is_kept_is_put_back_and_nothing_of_it_is_made_again(workplace):
    graph = Graph(load(scale="reduced"))
    finished(graph, "masci2011")
    keep(graph, "masci2011/table2")
    wanted = measurements(graph, "masci2011/table2")
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


def test_what_is_not_whole_or_not_fresh_is_not_kept(workplace):
    graph = Graph(load(scale="reduced"))
    with pytest.raises(
        ValueError,
        match=r"masci2011/table1 is not what params.yaml asks for; "
        r"make it: snakemake --cores all results/masci2011/table1.csv --config scale=reduced",
    ):
        keep(graph, "masci2011")
    finished(graph, "masci2011")
    graph.training("pretrain", "mnist-cae-1", 2).record.unlink()
    with pytest.raises(ValueError, match=r"run\.json is missing"):
        keep(graph, "masci2011")
    assert not (workplace / "results" / "reference").exists()
