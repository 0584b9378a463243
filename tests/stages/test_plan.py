"""plan lists Snakemake's jobs, with the FLOPs of the built networks and the data that they need."""

import dataclasses
import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import keep_only, set_params
from torch.nn.functional import conv2d

from pipeline import papers, plan
from pipeline.config.reading import load
from pipeline.datasets import SOURCES
from pipeline.datasets.archives import official
from pipeline.models.dong import AutoEncoder, Classifier, Encoder, network_2
from pipeline.models.layer_costs import count
from pipeline.planning import cost
from pipeline.planning.cost import Job, longest
from pipeline.planning.rehearsal import Rehearsal, kernels
from pipeline.system.files import write_json
from pipeline.work.graph import Graph

PLANNED = {
    "targets": ["all"],
    "scale": "paper",
    "jobs": [dataclasses.asdict(Job("fetch", "imagenet", 0))],
    "machine": "",
    "cores": 1,
    "seconds": 1,
    "wall_seconds": 1,
    "launches": 0,
    "kernel_seconds": {"training": 2.5e-6, "measurement": 1e-5},
    "gpu_seconds": {},
    "other_seconds": 1,
    "disk": 0,
    "download": 0,
    "data": [],
    "undecidable": {},
    "peak_memory": {},
}


def test_a_plan_says_how_much_memory_trainings_took_here(workplace):
    for run, peaks in (
        ("one", {"host": 2 * 10**9}),
        ("two", {"host": 10**9, "gpu": 3 * 10**9}),
        ("old", None),
    ):
        record = workplace / "results" / "runs" / "paper" / "pretrain" / run / "0-0" / "run.json"
        write_json(record, {} if peaks is None else {"peak_memory": peaks})
    peaks = plan.recorded_memory("paper")
    assert peaks == {"host": 2 * 10**9, "gpu": 3 * 10**9}
    said = plan.text({**PLANNED, "peak_memory": peaks})
    assert "took at most 2 GB of host memory, 3 GB of gpu memory" in said


def test_a_plan_has_the_jobs_that_are_left_and_their_work(workplace, monkeypatch):
    keep_only(workplace, "table6")
    monkeypatch.setattr("pipeline.planning.rehearsal.SECONDS", 0.0)
    planned = plan.plan(load(), ["results/table6.csv"], 2)
    jobs = [Job(**job) for job in planned["jobs"]]
    stages = [job.stage for job in jobs]
    assert {stage: stages.count(stage) for stage in stages} == {
        "shard": 2,
        "pretrain": 3,
        "finetune": 3,
        "evaluate": 6,
        "table": 1,
    }

    by_label = {job.label: job for job in jobs}
    training = by_label["pretrain imagenet-full 0"]
    assert (training.images, training.steps) == (2 * 48, 2 * 3)
    layers = count(AutoEncoder(Encoder(network_2(n=4), eps=1e-3), shortcuts="full"), side=17, channels=3)
    forward = sum(layer.flops for layer in layers)
    # backward takes twice that, less the gradient of the input
    assert training.flops == 2 * 48 * (3 * forward - layers[0].flops)
    assert training.launches % 6 == 0
    assert 250 < training.launches / 6 < 450  # 30 layers forward and backward, corruption, Adam
    assert planned["launches"] == sum(job.launches for job in jobs)
    measured = by_label["evaluate finetune.voc2007-imagenet-full.crops10 0"]
    assert measured.images == 40
    spec = Graph(load()).training("finetune", "voc2007-imagenet-full", 0).spec
    classifier = Classifier(
        Encoder(network_2(n=4), eps=1e-3), classes=20, side=17, **vars(spec.objective.options)
    )
    assert measured.flops == 40 * 10 * sum(layer.flops for layer in count(classifier, side=17, channels=3))

    assert planned["flops"] == sum(job.flops for job in jobs)
    assert planned["seconds"] == pytest.approx(cost.BEGINNING + sum(job.seconds for job in jobs))
    chained = cost.BEGINNING + longest(jobs)
    assert chained <= planned["wall_seconds"] <= planned["seconds"]
    assert longest(jobs) > by_label["finetune voc2007-imagenet-full 0"].seconds + training.seconds
    assert planned["data"] == []
    assert json.loads(json.dumps(planned)) == planned
    said = plan.text(planned)
    assert "| evaluate finetune.voc2007-imagenet-full.crops10" in said
    assert "To download: nothing." in said


def test_a_run_that_freezes_its_first_epochs_is_planned(workplace, monkeypatch):
    monkeypatch.setattr("pipeline.planning.rehearsal.SECONDS", 0.0)
    graph, job = Graph(load()), Job("finetune", "dong2017-4000-full", 0)
    assert graph.training(job.stage, job.name, 0).spec.warmup
    cost.cost(graph, [job], Rehearsal(load().engine))
    assert job.flops > 0


def test_kernels_are_counted_and_views_and_empty_tensors_are_not():
    x, weights = torch.ones(2, 3, 5, 5), torch.ones(4, 3, 3, 3, requires_grad=True)
    assert kernels(lambda: conv2d(x, weights).relu()) == 2
    assert kernels(lambda: torch.empty_like(x).permute(0, 2, 3, 1)[:, 1:].unsqueeze(0)) == 0
    assert kernels(lambda: x.view(2, -1).add_(1)) == 1
    assert (
        kernels(lambda: conv2d(x, weights).sum().backward()) > kernels(lambda: conv2d(x, weights).sum()) + 1
    )


@pytest.mark.parametrize(
    ("stage", "capture", "flops", "launches", "seconds"),
    [
        ("pretrain", "auto", 1e15, 10**7, 25.0),
        ("pretrain", "never", 1e15, 10**7, 100.0),
        ("evaluate", "auto", 1e15, 10**6, 10.0),
        ("pretrain", "auto", 1e15, 10**5, 1e15 / (0.25 * 989e12)),
        ("pretrain", "auto", 0.0, 10**6, 0.0),
    ],
)
def test_a_gpu_takes_as_long_as_its_kernels_or_its_flops(stage, capture, flops, launches, seconds):
    job = Job(stage, "a", 0, steps=1000, flops=flops, launches=launches)
    kernel = plan.kernel_seconds(dataclasses.replace(load().engine, capture=capture))
    assert plan.on(job, plan.GPUS["H200"], kernel) == pytest.approx(seconds)


def test_a_plan_is_whole_in_a_process_that_switched_log_records_off(workplace):
    keep_only(workplace, "table6")
    logging.disable(logging.ERROR)
    try:
        assert len(plan.jobs(["results/table6.csv"], "smoke")) == 15
        assert logging.root.manager.disable == logging.ERROR
    finally:
        logging.disable(logging.NOTSET)


def test_claims_that_the_repeats_cannot_decide_are_named_before_anything_is_spent(workplace):
    left = [Job("evaluate", f"finetune.mnist-{arm}-1k.centre", 0) for arm in ("cae", "cnn")]
    left.append(Job("evaluate", "pretrain.stl10-small.restore", 0))  # no claim is about it
    found = plan.undecidable(Graph(load(scale="smoke")), left)
    assert found == {"masci2011": ["mnist-1k", "mnist-1k-steadier", "mnist-1k-moved", "more-on-cifar10-1k"]}
    for scale in ("reduced", "paper"):
        assert plan.undecidable(Graph(load(scale=scale)), left) == {}
    said = plan.text(PLANNED | {"undecidable": found})
    assert (
        "UNDECIDABLE, masci2011: mnist-1k, mnist-1k-steadier, mnist-1k-moved, more-on-cifar10-1k: one seed a run "
        "at scale paper decides nothing; raise 'repeats' in params.yaml\n" in said
    )
    every = {"masci2011": list(papers.papers()["masci2011"].claims)}
    assert "UNDECIDABLE, masci2011: all claims: one seed" in plan.text(PLANNED | {"undecidable": every})


@pytest.mark.parametrize("protocol", ["dogs", "restore-dogs"])
def test_a_measure_of_images_that_show_an_object_is_estimated(workplace, protocol):
    set_params(workplace, scales__smoke__side=32)
    measurement = Graph(load()).measurement(f"pretrain.imagenet-animal.{protocol}", 0)
    assert Rehearsal(load().engine).measuring(measurement).flops > 0


def test_a_plan_ends_by_sigterm(workplace):
    set_params(workplace, engine__log_seconds=0)
    words = [sys.executable, "-m", "pipeline.plan", "results/table6.csv"]
    with subprocess.Popen(words, cwd=workplace, stderr=subprocess.PIPE, text=True) as process:
        while "rehearsed" not in (line := process.stderr.readline()):
            assert line
        process.terminate()
        *_, said = process.stderr
        assert process.wait() == 130
        assert said.startswith("plan: stopped")


def test_snakemakes_refusals_are_one_line(workplace):
    with pytest.raises(ValueError, match=r"snakemake cannot plan results/tabel6\.csv: .*tabel6"):
        plan.jobs(["results/tabel6.csv"], "smoke")


def test_files_to_fetch_by_hand_are_separate_from_downloads(workplace, tmp_path):
    set_params(workplace, mirror=str(tmp_path / "mirror"))
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "train-images-idx3-ubyte.gz").touch()
    graph = Graph(load(scale="paper"))
    needed = plan.data_needed(
        graph, [Job("fetch", "mnist", 0), Job("fetch", "imagenet", 0), Job("shard", "svhn", 0)]
    )
    assert [each["file"] for each in needed if each["from"]] == [
        "train-labels-idx1-ubyte.gz",
        "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz",
    ]
    assert [each["file"] for each in needed if not each["from"]] == list(SOURCES["imagenet"].files)
    said = plan.text(PLANNED | {"data": needed})
    assert (
        "MISSING, imagenet: ILSVRC2012_img_train.tar, 148 GB: get it, and put it into the folder that params.yaml names under 'mirror:', or into data/raw/imagenet"
        in said
    )
    assert "mnist: t10k-images-idx3-ubyte.gz, 1.65 MB, from http" in said


def test_a_tree_of_imagenets_pictures_needs_no_archive(workplace):
    Path("data/raw/imagenet/val/n01440764").mkdir(parents=True)
    needed = plan.data_needed(Graph(load(scale="paper")), [Job("fetch", "imagenet", 0)])
    assert [each["file"] for each in needed] == ["ILSVRC2012_img_train.tar"]


def test_every_official_file_is_one_that_fetch_knows():
    for name, source in SOURCES.items():
        assert set(source.files) <= official().keys(), name
        assert bool(source.files) == (name != "folder")


@pytest.mark.parametrize(
    ("stage", "name", "images"),
    [
        ("finetune", "stl10-gaussian", 1000),  # a fold
        ("finetune", "mnist-cnn-1k", 1000),
        ("pretrain", "imagenet-full", 1_281_167),
        ("pretrain", "imagenet-animal", 93_000),
    ],
)
def test_an_epoch_has_the_images_that_the_paper_took(workplace, stage, name, images):
    assert cost.training_images(Graph(load(scale="paper")).training(stage, name, 0)) == images


def test_the_longest_chain_waits_for_what_it_needs():
    jobs = [
        Job("shard", "a", 0, seconds=1),
        Job("pretrain", "b", 0, seconds=5, needs=["shard a 0"]),
        Job("pretrain", "c", 0, seconds=7),
        Job("finetune", "d", 0, seconds=2, needs=["pretrain b 0", "shard gone 0"]),
    ]
    assert longest(jobs) == 8
