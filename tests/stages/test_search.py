"""search compares settings on held-out training images only."""

import csv
import shutil

import pytest
import yaml
from conftest import both, set_params

from pipeline.config.reading import load
from pipeline.data.writer import shard
from pipeline.search import Trial, search, tune, varied
from pipeline.work.graph import Graph

RUN = "finetune.cifar10-gaussian"
RATES = ["1.0e-2", "1.0e-9"]


@pytest.fixture
def lines(workplace):
    """The lines of the search's CSV."""

    def read():
        with (workplace / "results" / "search" / f"{RUN}.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    return read


@pytest.fixture
def trained_on(workplace):
    """Shards of drawn pictures without the test split, so that no test can use it."""
    set_params(workplace, scales__smoke__images=192, scales__smoke__epochs=both(15))
    shards = Graph(load()).shards("cifar10")
    shard(shards)
    folder = shards.folder
    for each in folder.glob("test-*"):
        each.unlink()
    return folder


def test_every_value_is_trained_and_scored_on_held_out_images(trained_on, lines):
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


def test_earlier_trials_are_reused_and_the_run_itself_is_unchanged(trained_on, lines, workplace):
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
        (RUN, "batch.size", "8", "batch is 64, not a mapping"),
        (RUN, "batch", "[", "is no value of YAML"),
        (RUN, "data.set", "stl11", "did you mean 'stl10'"),
    ],
)
def test_a_slip_is_named_before_anything_is_trained(run, setting, value, said, workplace):
    with pytest.raises(ValueError, match="finetune|STAGE") as refused:
        search(load(), run, setting, ["4", value] if setting == "batch" else [value], seeds=1, holdout=8)
    assert said in str(refused.value)
    assert not (workplace / "results" / "runs").exists()


def test_a_trial_changes_only_the_setting_and_the_images_it_is_scored_on(workplace):
    shutil.rmtree(workplace / "results")
    params = load()
    other = varied(params, Trial("finetune", "cifar10-gaussian", "init", "he", 0, 16))
    before, after = params.finetune["cifar10-gaussian"], other.finetune["cifar10-gaussian"]
    assert (after.init, after.data.holdout, after.evaluate) == ("he", 16, ("validation",))
    for each in ("network", "objective", "optimiser", "schedule", "epochs", "batch", "augment", "repeats"):
        assert getattr(after, each) == getattr(before, each)
    assert other.pretrain == params.pretrain
    assert params.finetune["cifar10-gaussian"].init == "gaussian"


def test_a_runs_settings_are_searched_in_turn_at_the_best_earlier_values(trained_on, lines, workplace):
    grid = {"optimiser.adam.lr": [1.0e-9, 1.0e-2], "epochs": [2, 3]}
    set_params(workplace, **{"finetune__cifar10-gaussian__search": grid})
    said = tune(load(), RUN, seeds=1, holdout=64)
    found = lines()
    assert [(line["setting"], line["value"]) for line in found] == [
        ("optimiser.adam.lr", "1.0e-09"), ("optimiser.adam.lr", "0.01"), ("epochs", "2"), ("epochs", "3"),
    ]  # fmt: skip
    set_params(workplace, **{"finetune__cifar10-gaussian__optimiser": {"adam": {"lr": 1.0e-2}}})
    after = Graph(varied(load(), Trial("finetune", "cifar10-gaussian", "epochs", "2", 0, 64)))
    assert found[2]["key"] == after.training("finetune", "cifar10-gaussian", 0).key
    best = max(found[2:], key=lambda line: float(line["score"]))["value"]
    assert said.splitlines()[-2:] == ["optimiser.adam.lr: 0.01", f"epochs: {best}"]


def test_every_fold_is_searched_separately(workplace):
    lr = "optimiser.adam.lr"
    set_params(
        workplace, scales__smoke__repeats=2, **{"finetune__stl10-gaussian__search": {lr: [1.0e-2, 1.0e-9]}}
    )
    shard(Graph(load()).shards("stl10"))
    said = tune(load(), "finetune.stl10-gaussian", seeds=None, holdout=16)
    with (workplace / "results/search/finetune.stl10-gaussian.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [line["seed"] for line in found] == ["0", "1", "0", "1"]
    best = [
        max((line for line in found if line["seed"] == seed), key=lambda line: float(line["score"]))["value"]
        for seed in "01"
    ]
    assert said.splitlines()[-2:] == ["tuned:", f"  {lr}: [{', '.join(best)}]"]


def test_a_tuned_setting_has_a_value_for_each_seed_and_moves_no_other_key(workplace):
    run, lr = "finetune__stl10-gaussian", "optimiser.adam.lr"
    before = [Graph(load()).training("finetune", "stl10-gaussian", seed) for seed in (0, 1)]
    set_params(workplace, **{f"{run}__tuned": {lr: [1.0e-4, 5.0e-3]}, f"{run}__search": {lr: [1.0e-3]}})
    graph = Graph(load())
    after = [graph.training("finetune", "stl10-gaussian", seed) for seed in (0, 1)]
    assert [each.spec.optimiser.options.lr for each in after] == [1.0e-4, 5.0e-3]
    assert after[0] == before[0]  # its value was 1.0e-4 before
    assert after[1].key != before[1].key
    with pytest.raises(ValueError, match=r"tuned.optimiser.adam.lr has 2 values, none for seed 2"):
        graph.training("finetune", "stl10-gaussian", 2)


def test_a_run_that_names_no_settings_is_refused_with_the_way_out(workplace):
    with pytest.raises(
        ValueError, match="has no 'search' in params.yaml; give it a setting and values to try"
    ):
        tune(load(), RUN, seeds=1, holdout=8)


def test_every_value_that_params_yaml_would_try_can_be_trained():
    params, seen = load(), set()
    for stage in ("pretrain", "finetune"):
        for name, run in params.runs(stage).items():
            for setting, values in run.search.items():
                for value in values:
                    varied(params, Trial(stage, name, setting, yaml.safe_dump(value).splitlines()[0], 0, 16))
                    seen.add((name, setting))
    assert seen


def test_the_pretraining_of_a_trial_does_not_see_held_out_images(workplace):
    params = load()

    def kept(run, *starts):
        other = varied(params, Trial("finetune", run, "batch", "8", 0, 16))
        return [other.finetune[run].data.holdout, *(other.pretrain[each].data.holdout for each in starts)]

    assert kept("cifar10-ours", "cifar10-pixel") == [16, 16]
    assert kept("mnist-cae-1k", "mnist-cae-3", "mnist-cae-2", "mnist-cae-1") == [16] * 4
    assert kept("cifar10-imagenet32", "imagenet32-pixel") == [16, 0]  # other images
