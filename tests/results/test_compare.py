"""A user's rerun is judged by the spread of the kept runs."""

import json
import shutil

import numpy as np
import pytest

from pipeline.compare import compare
from pipeline.config.reading import load
from pipeline.results.kept import KEPT, kept
from pipeline.results.statistics import band
from pipeline.work.graph import Graph

LABEL = "finetune.dong2017-4000-full.centre"
KEPT_VALUES = (69.0, 70.0, 71.0)  # band: 70 ± 4.303 * sqrt(4 / 3)


def test_one_more_value_of_the_same_kind_lies_in_the_band_95_times_in_100():
    rng = np.random.default_rng(0)
    inside = 0
    for *values, one_more in rng.normal(70, 1, (4000, 4)):
        low, high = band(values)
        inside += low <= one_more <= high
    assert inside / 4000 == pytest.approx(0.95, abs=0.01)


@pytest.fixture
def graph(workplace):
    """Three kept runs, and one of the user's with another value."""
    graph = Graph(load(scale="reduced"))
    for each, value in zip(graph.measurements(LABEL), KEPT_VALUES, strict=True):
        file = kept(KEPT / "reduced" / "dong2017", each.identity)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"metrics": {"accuracy": value, "error": 100 - value}}))
    return graph


def made(graph, value):
    (one, *_) = graph.measurements(LABEL)
    one.metrics.parent.mkdir(parents=True, exist_ok=True)
    found = {"metrics": {"accuracy": value, "error": 100 - value}, "commit": "0123456789ab"}
    one.metrics.write_text(json.dumps(found))


def rows(text):
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()[2:]]


def test_a_rerun_in_the_band_is_said_to_be(graph, capsys):
    made(graph, 66.0)
    compare(graph, "dong2017/table2")
    assert rows(capsys.readouterr().out) == [
        [LABEL, "0", "accuracy", "66.00", "70.00 ± 1.00 (n=3)", "65.03 to 74.97", "inside"]
    ]


def test_a_run_that_two_papers_keep_counts_once(graph, capsys):
    shutil.copytree(KEPT / "reduced" / "dong2017", KEPT / "reduced" / "dong2016")
    test_a_rerun_in_the_band_is_said_to_be(graph, capsys)


def test_a_rerun_out_of_the_band_says_how_far_and_ends_with_1(graph, capsys):
    made(graph, 76.0)
    with pytest.raises(SystemExit) as ended:
        compare(graph, LABEL)
    assert ended.value.code == 1
    assert [row[2:4] + row[-1:] for row in rows(capsys.readouterr().out)] == [
        ["accuracy", "76.00", "outside by 1.03"],
        ["error", "24.00", "outside by 1.03"],
    ]


def test_a_comparison_without_kept_runs_says_what_to_do(graph):
    with pytest.raises(ValueError, match="has nothing to compare at scale reduced: it takes a measurement"):
        compare(graph, LABEL)
