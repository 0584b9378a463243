"""Tables hold measured beside printed numbers, with the runs behind them."""

import csv
import json
from dataclasses import replace
from itertools import product

import pytest
from conftest import set_params

from pipeline import papers
from pipeline.config.reading import load
from pipeline.papers import Cell, Table
from pipeline.results.rendering import Rendering
from pipeline.results.tables import COLUMNS, line, table
from pipeline.summary import summary
from pipeline.system.files import write_json
from pipeline.work.graph import Graph

VALUES = {"psnr": 20.0, "map": 30.0, "error": 40.0}


TABLE6 = Rendering("table", "dong2016", "table6")


def fill(graph, rendering=TABLE6):
    """Results as `evaluate` writes them; values grow by 1 a seed."""
    for each in rendering.measurements(graph):
        metrics = {metric: value + each.training.seed for metric, value in VALUES.items()}
        each.metrics.parent.mkdir(parents=True, exist_ok=True)
        each.metrics.write_text(json.dumps({"metrics": metrics, "commit": "0123456789ab"}))


def lines(path="results/table6.csv"):
    with open(path, newline="") as file:  # noqa: PTH123 (csv wants the handle)
        return list(csv.DictReader(file))


def test_a_line_has_mean_spread_and_difference_by_value(workplace):
    params = load()
    scales = {**params.scales, "smoke": replace(params.scales["smoke"], repeats=3)}
    repeated = {
        stage: {name: replace(run, repeats=3) for name, run in params.runs(stage).items()}
        for stage in ("pretrain", "finetune")
    }
    graph = Graph(replace(params, scales=scales, **repeated))
    fill(graph)
    shown = table(graph, "table6")
    found = lines()
    assert tuple(found[0]) == COLUMNS
    assert len(found) == 6
    psnr, mean_ap = found[0], found[1]
    assert (psnr["paper"], psnr["mean"], psnr["sd"], psnr["n"], psnr["delta"]) == (
        "22.19",
        "21",
        "1",
        "3",
        "-1.19",
    )
    assert (mean_ap["mean"], mean_ap["sd"], mean_ap["n"], mean_ap["delta"]) == ("31", "1", "3", "-37.94")
    assert {each["scale"] for each in found} == {"smoke"}
    assert {each["dataset"] for each in found} == {"procedural"}
    assert {each["state"] for each in found} == {"measured"}
    assert {each["commit"] for each in found} == {"0123456789ab"}
    assert len(mean_ap["runs"].split()) == 3
    assert "68.94 \\| 31.00 ± 1.00 (n=3)" in shown
    assert "it reproduces nothing" in shown


def test_fine_tunings_of_one_pretraining_are_averaged_and_count_once(workplace):
    params = load()
    scales = {**params.scales, "smoke": replace(params.scales["smoke"], repeats=6)}
    repeated = {
        stage: {name: replace(run, repeats=repeats) for name, run in params.runs(stage).items()}
        for stage, repeats in (("pretrain", 2), ("finetune", 6))
    }
    graph = Graph(replace(params, scales=scales, **repeated))
    fill(graph)
    shown = table(graph, "table6")
    mean_ap = lines()[1]
    seeds = [[0, 2, 4], [1, 3, 5]]  # of the fine-tunings that start from each pre-training
    means = [30 + sum(own) / 3 for own in seeds]
    assert (mean_ap["n"], mean_ap["draws"]) == ("2", "6")
    assert float(mean_ap["mean"]) == sum(means) / 2
    assert float(mean_ap["sd"]) == pytest.approx(abs(means[0] - means[1]) / 2**0.5, abs=1e-3)
    assert "(n=2, 6 draws)" in shown


def test_a_cell_says_how_many_of_its_images_the_scale_leaves(workplace):
    params = load(scale="reduced")
    capped = replace(params.scales["reduced"], whole=0)
    graph = Graph(replace(params, scales={**params.scales, "reduced": capped}))
    whole = Graph(params)
    for each, said in ((graph, "10000 of 50000 images"), (whole, "")):
        before = said and f"pre-trained on {said}"
        fill(each, Rendering("table", "masci2011", "table2"))
        shown = table(each, "masci2011/table2")
        ours = {(line["row"], line["column"]): line for line in lines("results/masci2011/table2.csv")}
        found = {place: ours[place]["capped"] for place in product(("CAE", "CNN"), ("1k", "50k"))}
        assert found == {
            ("CAE", "1k"): before,
            ("CAE", "50k"): said,
            ("CNN", "1k"): "",
            ("CNN", "50k"): said,
        }
        assert ("10000 of 50000 images)" in shown) == bool(said)


def test_a_table_is_stale_once_it_does_not_name_the_wanted_runs(workplace):
    graph = Graph(load())
    assert TABLE6.stale(graph)
    fill(graph)
    table(graph, "table6")
    assert not TABLE6.stale(graph)
    text = (workplace / "params.yaml").read_text()
    (workplace / "params.yaml").write_text(text.replace("lr: 0.0001", "lr: 0.0002"))
    assert TABLE6.stale(Graph(load()))
    (workplace / "params.yaml").write_text(text)
    assert not TABLE6.stale(Graph(load()))
    (workplace / "results" / "table6.csv").write_text("row,column\nrubbish,more\n")
    assert TABLE6.stale(Graph(load()))


def test_the_summary_has_the_means_of_the_tables_that_are_there(workplace):
    graph = Graph(load())
    fill(graph)
    table(graph, "table6")
    summary(graph)
    (file,) = (workplace / "results" / "metrics").rglob("*.json")
    rows = json.loads(file.read_text())
    assert file.name == "table6.json"
    assert (rows["No shortcut, PSNR"], rows["No shortcut, mAP"], rows["cells"]) == (20, 30, 6)
    psnr, mean_precision = rows["PSNR"], rows["mAP"]  # of different units, so no mean over both
    assert (psnr["ours"], mean_precision["ours"]) == (20, 30)
    assert psnr["delta"] == pytest.approx(20 - (22.19 + 23.5 + 23.87) / 3, abs=1e-3)
    assert mean_precision["delta"] == pytest.approx(30 - (68.94 + 69.38 + 71.25) / 3, abs=1e-3)


def test_the_summary_has_the_mean_loss_of_each_epoch(workplace):
    graph = Graph(load())
    (training,) = graph.trainings("pretrain", "imagenet-full")
    write_json(training.record, {"epoch_losses": [3.0, 1.0]})
    summary(graph)
    (file,) = (workplace / "results" / "curves").glob("*")
    assert (file.name, file.read_text()) == ("pretrain.imagenet-full.csv", "epoch,loss\n1,3.0\n2,1.0\n")


def test_a_missing_result_says_what_makes_it(workplace):
    with pytest.raises(
        ValueError, match=r"metrics\.json is missing; make it: snakemake --cores all results/runs/"
    ):
        table(Graph(load()), "table6")


def test_cited_and_withdrawn_cells_stand_in_their_rows(workplace):
    graph = Graph(load())
    cited = line(graph, "He", "mAP", Cell(paper=66.71, state="cited"), None)
    assert (cited["paper"], cited["state"], cited.get("mean"), cited["scale"]) == ("66.71", "cited", None, "")


def test_a_substitute_is_named(workplace):
    set_params(
        workplace, scales__smoke__substitutes={"imagenet": "imagenet32"}, scales__smoke__procedural=False
    )
    graph = Graph(load())
    fill(graph)
    table(graph, "table6")
    assert (lines()[0]["state"], lines()[0]["dataset"]) == ("substitute", "imagenet32")
    assert (lines()[1]["state"], lines()[1]["dataset"]) == ("measured", "voc2007")


def test_at_scale_reduced_table_6_shows_accuracies_on_cifar10_and_no_differences_from_the_paper(workplace):
    graph = Graph(replace(load(), scale="reduced"))
    for number, each in enumerate(measured := TABLE6.measurements(graph)):
        metrics = {"psnr": 20.0 + number, "accuracy": 60.0 + number}
        write_json(each.metrics, {"metrics": metrics, "commit": "0123456789ab"})
    shown = table(graph, "table6")
    assert {each.training.name for each in measured} == {
        f"dong2017-4000-{shortcuts}" for shortcuts in ("none", "input-output", "full")
    }
    found = lines()
    assert [each["paper"] for each in found] == ["22.19", "68.94", "23.5", "69.38", "23.87", "71.25"]
    assert [each["metric"] for each in found] == ["psnr", "accuracy"] * 3
    assert {(each["state"], each["dataset"], each["delta"]) for each in found} == {
        ("substitute", "cifar10", "")
    }
    assert "68.94 \\| 64.00 ± 1.00 (n=3, accuracy on cifar10" in shown
    assert "ours is the accuracy in place of mAP" in shown


@pytest.mark.parametrize(
    ("instead", "said"),
    [
        ({"redused": {}}, "did you mean 'reduced'"),
        ({"reduced": {"of": "finetune.dong2017-4000-ful.centre"}}, "did you mean 'dong2017-4000-full'"),
    ],
)
def test_a_substitute_for_no_scale_or_of_no_run_is_refused_at_the_door(monkeypatch, instead, said):
    def rows(cell):
        return {"a": {"b": cell}}

    own = Cell(of="finetune.voc2007-imagenet-full.crops10", metric="map")
    others = {
        scale: papers.layouts.Instead(note="", rows=rows(replace(own, **changes)))
        for scale, changes in instead.items()
    }
    layout = Table(title="", columns={"b": "%"}, rows=rows(own), instead=others)
    facts = papers.papers()["dong2016"]
    monkeypatch.setattr(
        papers.references, "papers", lambda: {"dong2016": replace(facts, tables={"table6": layout})}
    )
    with pytest.raises(ValueError, match=said):
        papers.check(load())


def test_a_substitute_for_other_rows_than_the_tables_is_refused():
    cell = Cell(of="a.b.c", metric="map")
    other = papers.layouts.Instead(note="", rows={"c": {"b": cell}})
    with pytest.raises(ValueError, match="instead.reduced has other rows or columns than the table"):
        Table(title="", columns={"b": "%"}, rows={"a": {"b": cell}}, instead={"reduced": other})


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ({}, "either 'of'"),
        ({"of": "a.b.c"}, "'of' and 'metric' go together"),
        ({"of": "a.b.c", "metric": "psnr", "state": "cited"}, "either 'of'"),
        ({"state": "substitute"}, "either 'of'"),
    ],
)
def test_a_cell_that_says_too_much_or_too_little_is_refused(cell, said):
    with pytest.raises(ValueError, match=said):
        Cell(**cell)


def test_a_cell_under_no_column_is_refused():
    with pytest.raises(ValueError, match="has the column 'PSRN'; did you mean 'PSNR'"):
        Table(title="", columns={"PSNR": "dB"}, rows={"a": {"PSRN": Cell(paper=1.0, state="cited")}})


@pytest.mark.parametrize(
    ("of", "said"),
    [
        ("finetune.voc2007-imagenet-ful.crops10", "did you mean 'voc2007-imagenet-full'"),
        ("finetune.voc2007-imagenet-full.crops1", "did you mean 'crops10'"),
        ("finetun.voc2007-imagenet-full.crops10", "expected STAGE.RUN.PROTOCOL"),
        ("voc2007", "expected STAGE.RUN.PROTOCOL"),
    ],
)
def test_a_table_that_names_no_run_is_refused_at_the_door(monkeypatch, of, said):
    layout = Table(title="", columns={"mAP": "%"}, rows={"a": {"mAP": Cell(of=of, metric="map")}})
    paper = papers.Paper(title="", authors="", year=2016, where="", tables={"table9": layout})
    monkeypatch.setattr("pipeline.papers.references.papers", lambda: {"dong2016": paper})
    with pytest.raises(ValueError, match=said):
        papers.check(load())


def test_a_misspelt_table_is_named():
    with pytest.raises(ValueError, match="no paper has 'table66' among its tables; did you mean 'table6'"):
        papers.find("tables", "table66")
    with pytest.raises(ValueError, match="no paper 'dong206'; did you mean 'dong2016'"):
        papers.find("tables", "dong206/table6")
