"""Settings that a paper does not say are tried on training images that are kept apart, and on no others."""

import csv
import shutil

import pytest
from conftest import both, set_params

from pipeline.graph import Graph
from pipeline.params import load
from pipeline.search import Trial, search, varied
from pipeline.shard import shard

RUN = "finetune.cifar10-gaussian"
RATES = ["1.0e-2", "1.0e-9"]


@pytest.fixture
def lines(workplace):
    """What is in the file of the trials."""

    def read():
        with (workplace / "results" / "search" / f"{RUN}.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    return read


@pytest.fixture
def trained_on(workplace):
    """Shards of drawn pictures without their test split: nothing here can look at it."""
    set_params(workplace, scales__smoke__images=192, scales__smoke__epochs=both(15))
    shards = Graph(load()).shards("cifar10")
    shard(shards)
    folder = shards.folder
    for each in folder.glob("test-*"):
        each.unlink()
    return folder


def test_each_value_is_trained_and_scored_on_the_images_kept_apart(trained_on, lines):
    said = search(load(), RUN, "optimiser.adam.lr", RATES, seeds=2, holdout=64)
    found = lines()
    assert [(line["value"], line["seed"], line["holdout"]) for line in found] == [
        (rate, seed, "64") for rate in RATES for seed in "01"
    ]
    assert {line["metric"] for line in found} == {"accuracy"}
    assert len({line["key"] for line in found}) == 2  # one for each rate; seeds share it
    learnt, not_learnt = (
        sum(float(line["score"]) for line in found if line["value"] == rate) / 2 for rate in RATES
    )
    assert learnt > not_learnt + 5
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in said.splitlines()]
    assert rows[0] == ["optimiser.adam.lr", "accuracy, seed 0", "accuracy, seed 1", "mean"]
    assert [(row[0], row[3]) for row in rows[2:]] == [
        (RATES[0], f"{learnt:.2f}"),
        (RATES[1], f"{not_learnt:.2f}"),
    ]


def test_what_was_tried_is_found_again_and_the_run_itself_stays(trained_on, lines, workplace):
    search(load(), RUN, "batch", ["8"], seeds=1, holdout=8)
    (weights,) = workplace.glob("results/runs/smoke/finetune/cifar10-gaussian/*/weights.pt")
    when = weights.stat().st_mtime_ns
    search(load(), RUN, "batch", ["8", "4"], seeds=1, holdout=8)
    assert weights.stat().st_mtime_ns == when
    assert [line["value"] for line in lines()] == ["8", "4"]
    assert not Graph(load()).training("finetune", "cifar10-gaussian", 0).folder.exists()


@pytest.mark.parametrize(
    ("run", "setting", "value", "said"),
    [
        ("finetune.cifar10-gausian", "batch", "8", "did you mean 'cifar10-gaussian'"),
        ("cifar10-gaussian", "batch", "8", "is not STAGE.RUN"),
        (RUN, "optimiser.adam.rate", "1.0e-3", "has the unknown key 'rate'"),
        (RUN, "optimiser.adam.lr", "1e-3", "(YAML reads 1e-4 as text: write 1.0e-4)"),
        (RUN, "batch.size", "8", "batch is 64, and has no parts"),
        (RUN, "batch", "[", "is no value of YAML"),
        (RUN, "data.set", "stl11", "did you mean 'stl10'"),
    ],
)
def test_a_slip_is_named_before_anything_is_trained(run, setting, value, said, workplace):
    with pytest.raises(ValueError, match="finetune|STAGE") as refused:
        search(load(), run, setting, ["4", value] if setting == "batch" else [value], seeds=1, holdout=8)
    assert said in str(refused.value)
    assert not (workplace / "results" / "runs").exists()


def test_nothing_but_the_setting_and_what_it_is_measured_on_changes(workplace):
    shutil.rmtree(workplace / "results")
    params = load()
    other = varied(params, Trial("finetune", "cifar10-gaussian", "init", "he", 0, 16))
    before, after = params.finetune["cifar10-gaussian"], other.finetune["cifar10-gaussian"]
    assert (after.init, after.data.holdout, after.evaluate) == ("he", 16, ("validation",))
    for each in ("network", "objective", "optimiser", "schedule", "epochs", "batch", "augment", "repeats"):
        assert getattr(after, each) == getattr(before, each)
    assert other.pretrain == params.pretrain
    assert params.finetune["cifar10-gaussian"].init == "gaussian"
