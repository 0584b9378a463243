"""One frame holds every measurement, one line per metric, with the values on disk."""

import json
from dataclasses import replace

import pytest

from pipeline.config.reading import load
from pipeline.results.frame import COLUMNS, by_pipeline, frame, measured
from pipeline.results.kept import KEPT, kept
from pipeline.work.graph import Graph

LABEL = "finetune.mnist-cae-1k.centre"


def record(*values):
    return json.dumps({"metrics": dict(zip(("error", "accuracy"), values, strict=True)), "commit": "0" * 12})


def written(file, *values):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(record(*values))


def test_the_frame_holds_the_values_on_the_disk_of_every_scale_and_what_is_kept(workplace):
    (smoke,) = Graph(load(scale="smoke")).measurements(LABEL)
    graph = Graph(load(scale="reduced"))
    here, both, elsewhere = graph.measurements(LABEL)
    written(smoke.metrics, 50.0, 50.0)
    written(here.metrics, 3.25, 96.75)
    written(both.metrics, 3.5, 96.5)
    place = KEPT / "reduced" / "masci2011"
    written(kept(place, both.identity), 99.0, 99.0)
    written(kept(place, elsewhere.identity), 3.75, 96.25)

    found = frame()
    assert tuple(found) == COLUMNS
    assert len(found) == 8
    errors = found[(found["metric"] == "error") & (found["scale"] == "reduced")]
    assert list(zip(errors["key"], errors["seed"], errors["pipeline"], errors["value"], strict=True)) == [
        (here.key, 0, 0, 3.25), (both.key, 1, 1, 3.5), (elsewhere.key, 2, 2, 3.75),
    ]  # fmt: skip
    (first,) = found[found["scale"] == "smoke"].head(1).to_dict("records")
    assert first == {
        "measurement": LABEL, "stage": "finetune", "run": "mnist-cae-1k", "protocol": "centre", "seed": 0,
        "pipeline": 0, "scale": "smoke", "dataset": "procedural", "key": smoke.key, "commit": "0" * 12,
        "metric": "error", "value": 50.0,
    }  # fmt: skip
    assert frame(graph).equals(found[found["scale"] == "reduced"].reset_index(drop=True))


def test_fine_tunings_of_one_pretraining_are_one_value(workplace):
    params = load(scale="paper")
    pretrain = {name: replace(run, repeats=2) for name, run in params.pretrain.items()}
    finetune = {**params.finetune, "mnist-cae-1k": replace(params.finetune["mnist-cae-1k"], repeats=5)}
    graph = Graph(replace(params, pretrain=pretrain, finetune=finetune))
    for each in graph.measurements(LABEL):
        written(each.metrics, float(each.training.seed), 0.0)
    assert by_pipeline(frame(graph), LABEL, "error").to_dict() == {0: (0 + 2 + 4) / 3, 1: (1 + 3) / 2}
    with pytest.raises(ValueError, match=f"{LABEL} measures no 'eror'; it has accuracy, error"):
        by_pipeline(frame(graph), LABEL, "eror")


def test_without_measurements_the_frame_is_empty(workplace):
    assert frame().empty
    assert tuple(frame()) == COLUMNS


def test_a_missing_measurement_says_what_makes_it(workplace):
    works = Graph(load()).measurements(LABEL)
    with pytest.raises(ValueError, match=r"metrics\.json is missing; make it: snakemake --cores all"):
        measured(works)
