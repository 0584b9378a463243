"""Results that are kept are whole: each number follows from the runs that it names, and each run still parses."""

import csv
import json
import re
import statistics
from pathlib import Path

import pytest

from pipeline import claims, papers, typed
from pipeline.graph import Graph
from pipeline.keep import keep
from pipeline.params import Run, load
from pipeline.table import measurements, table
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
        assert facts.tables
        for name, layout in facts.tables.items():
            found = lines(place / f"{name}.csv")
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
                assert (line["state"], line["scale"], int(line["n"])) == (
                    "measured", place.parent.name, len(values),
                )  # fmt: skip
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
        assert [line["claim"] for line in found] == list(wanted)
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
            for name in papers.papers()[place.name].tables
            for line in lines(place / f"{name}.csv")
            for identity in line["runs"].split()
        }
        assert names <= seen

    def test_nothing_but_text_is_kept(self, place):
        assert {file.suffix for file in place.rglob("*") if file.is_file()} == {".csv", ".md", ".json"}


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
    for name in ("table1.csv", "table1.md", "claims.csv"):
        assert (place / name).read_text() == (workplace / "results" / "masci2011" / name).read_text()
    three = graph.trainings("finetune", "mnist-cae-1k")
    kept = {
        json.loads(file.read_text())["identity"]
        for file in (place / "runs" / "finetune").glob("mnist-cae-1k/*")
    }
    assert kept == {each.identity for each in three}
    assert len(list((place / "runs" / "pretrain").glob("mnist-cae-*/*"))) == 9


def test_what_is_not_whole_or_not_fresh_is_not_kept(workplace):
    graph = Graph(load(scale="reduced"))
    with pytest.raises(
        ValueError,
        match="masci2011/table1 is not what params.yaml asks for; make it: snakemake --cores all masci2011 --config scale=reduced",
    ):
        keep(graph, "masci2011")
    finished(graph, "masci2011")
    graph.training("pretrain", "mnist-cae-1", 2).record.unlink()
    with pytest.raises(ValueError, match=r"run\.json is missing"):
        keep(graph, "masci2011")
    assert not (workplace / "results" / "reference").exists()
