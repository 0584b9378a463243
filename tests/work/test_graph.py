"""Keys cover everything that a result depends on, and nothing else."""

import dataclasses

import pytest

from pipeline.config.reading import load
from pipeline.work.graph import Graph, blocks_for

FULL = "imagenet-full"
FINE = "voc2007-imagenet-full"


@pytest.fixture
def params():
    return load()


def changed(params, stage, name, **values):
    runs = dict(params.runs(stage))
    runs[name] = dataclasses.replace(runs[name], **values)
    return dataclasses.replace(params, **{stage: runs})


def keys(params):
    graph = Graph(params)
    return {
        "other": graph.training("pretrain", "imagenet-none", 0).key,
        "pretrain": graph.training("pretrain", FULL, 0).key,
        "finetune": graph.training("finetune", FINE, 0).key,
        "evaluate": graph.measurement(f"finetune.{FINE}.crops10", 0).key,
        "data": graph.shards("imagenet").key,
    }


def moved(before, after):
    return {name for name in before if before[name] != after[name]}


def test_a_changed_value_moves_its_run_and_its_descendants_alone(params):
    assert moved(keys(params), keys(changed(params, "pretrain", FULL, init="he"))) == {
        "pretrain",
        "finetune",
        "evaluate",
    }
    assert moved(keys(params), keys(changed(params, "finetune", FINE, init="he"))) == {"finetune", "evaluate"}
    fewer = dataclasses.replace(params.scales["smoke"], images=100)
    smaller = dataclasses.replace(params, scales={**params.scales, "smoke": fewer})
    assert moved(keys(params), keys(smaller)) == {"other", "pretrain", "finetune", "evaluate", "data"}


def test_a_value_changed_back_finds_the_old_key(params):
    there = changed(params, "pretrain", FULL, init="he")
    assert keys(changed(there, "pretrain", FULL, init="gaussian")) == keys(params)


def test_settings_that_change_no_result_are_in_no_key(params):
    engine = dataclasses.replace(params.engine, threads=2, log_seconds=1.0, checkpoint_seconds=5.0)
    assert keys(dataclasses.replace(params, engine=engine, mirror="/somewhere")) == keys(params)
    assert keys(changed(params, "pretrain", FULL, repeats=5)) == keys(params)
    protocols = {**params.evaluate, "crops10": dataclasses.replace(params.evaluate["crops10"], crops=3)}
    assert moved(keys(params), keys(dataclasses.replace(params, evaluate=protocols))) == {"evaluate"}


def test_a_value_above_the_scales_cap_is_the_same_run_there(params):
    longer = changed(params, "pretrain", "imagenet-none", batch=128)
    assert keys(longer) == keys(params)
    assert keys(dataclasses.replace(longer, scale="paper")) != keys(
        dataclasses.replace(params, scale="paper")
    )


def test_a_scale_caps_how_much_is_done(params):
    graph = Graph(params)
    spec, cap = graph.training("finetune", FINE, 0).spec, params.scales["smoke"]
    assert spec.epochs == cap.epochs["finetune"]
    assert spec.batch == cap.batch
    assert spec.network.options.n == cap.width
    assert (
        spec.objective.options.hidden == (4096 * cap.width // 64,) * 2
    )  # as much narrower as the first layer is
    assert spec.augment.crop == 23  # 225 of 256, at 26
    assert spec.schedule.options.at == (10.0, 15.0)  # half and three quarters of the way


def test_the_paper_scale_changes_nothing(params):
    paper = dataclasses.replace(params, scale="paper")
    for stage in ("pretrain", "finetune"):
        for name, run in params.runs(stage).items():
            spec = Graph(paper).training(stage, name, 0).spec
            counted = spec.corruption  # a number of blocks that a run leaves to the data set is filled in
            assert dataclasses.replace(run, corruption=counted, search={}, tuned={}) == spec
            assert counted == run.corruption or counted.name == "small_blocks"


def test_small_blocks_are_counted_by_the_unlabelled_set_itself(params):
    """ImageNet has 35 also where a scale takes 512 of its images; VOC's own 5,011 images have 21."""
    assert Graph(params).training("pretrain", FULL, 0).spec.corruption.options.count == 35
    own = changed(
        params, "pretrain", FULL, data=dataclasses.replace(params.pretrain[FULL].data, set="voc2007")
    )
    assert Graph(own).training("pretrain", FULL, 0).spec.corruption.options.count == 21
    assert [blocks_for(images) for images in (1, 99_999, 100_000, 1_281_167)] == [21, 21, 35, 35]


def test_a_repeat_begins_with_the_pretraining_of_its_seed_where_there_is_one(params):
    for repeats, start in ((3, 2), (1, 0)):
        own = dataclasses.replace(changed(params, "pretrain", FULL, repeats=repeats), scale="paper")
        assert Graph(own).training("finetune", FINE, 2).start.seed == start


def test_a_data_set_with_a_cap_of_its_own_takes_that_in_place_of_its_scales(params):
    scale = dataclasses.replace(params.scales["paper"], repeats=3, repeats_of={"mnist": 7})
    graph = Graph(dataclasses.replace(params, scale="paper", scales={**params.scales, "paper": scale}))
    lengths = [
        len(graph.trainings(*run.split("."))) for run in ("finetune.mnist-cnn-1k", "finetune.cifar10-cnn-1k")
    ]
    assert lengths == [7, 3]


def test_a_path_leads_back_to_its_work(params):
    graph = Graph(params)
    training, measured = graph.training("finetune", FINE, 0), graph.measurement(f"finetune.{FINE}.crops10", 0)
    assert graph.of_path(training.weights) == training
    assert graph.of_path(measured.metrics) == measured
    assert graph.of_path(graph.shards("voc2007").manifest) == graph.shards("voc2007")


def test_a_path_of_other_values_is_refused(params):
    old = Graph(params).training("pretrain", FULL, 0).weights
    with pytest.raises(ValueError, match="not what params.yaml asks for"):
        Graph(changed(params, "pretrain", FULL, init="he")).of_path(old)


@pytest.mark.parametrize(
    ("stage", "name", "said"),
    [
        ("pretrain", "imagenet-ful", "did you mean 'imagenet-full'"),
        ("pretain", FULL, "did you mean 'pretrain'"),
    ],
)
def test_a_misspelt_run_is_named(params, stage, name, said):
    with pytest.raises(ValueError, match=said):
        Graph(params).training(stage, name, 0)
