"""An interrupted run ends like an unbroken one, and refuses another run's checkpoint."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from compiler import compiled
from conftest import both, command, set_params
from devices import devices
from torch import nn

from pipeline.compute import engine
from pipeline.compute.device import COMPILER, prepare
from pipeline.compute.engine import COMPILED_FROM, compiles
from pipeline.config.networks import Network1
from pipeline.config.objectives import Classify
from pipeline.config.optimisers import Adam, Plateau, Sgd, Steps
from pipeline.config.reading import load
from pipeline.config.typed import Choice, build
from pipeline.data.batches import Batches
from pipeline.data.images import Images, images_of
from pipeline.data.manifest import open_manifest
from pipeline.data.writer import shard
from pipeline.objectives import OBJECTIVES
from pipeline.tracking.events import EVENTS, lines_of
from pipeline.training.checkpoint import save_tensors
from pipeline.training.loop import steps
from pipeline.training.optimisers import OPTIMISERS, SCHEDULES
from pipeline.training.run import beginning, train
from pipeline.training.turns import take_turns
from pipeline.training.weights import load_parts
from pipeline.work.graph import Graph

FULL = "imagenet-full"
FINE = "voc2007-imagenet-full"


def tensors(training):
    return {
        f"{part}.{name}": value
        for part, values in load_parts(training).items()
        for name, value in values.items()
    }


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def started(folder: Path, *words: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", *words], cwd=folder, stderr=subprocess.PIPE, text=True)


def wait_for_another(file: Path, process: subprocess.Popen) -> None:
    """Wait until the process has (re)written this file."""
    before = file.stat().st_mtime_ns if file.exists() else None
    until = time.monotonic() + 60
    while not file.exists() or file.stat().st_mtime_ns == before:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < until
        time.sleep(0.002)


@pytest.fixture
def ready(workplace):
    """Shards for a pre-training whose every step leaves a checkpoint."""
    set_params(workplace, engine__checkpoint_seconds=0, scales__smoke__epochs=both(6))
    shard(Graph(load()).shards("imagenet"))
    return Graph(load()).training("pretrain", FULL, 0)


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_run_ends_where_an_unbroken_one_does(workplace, ready, blow):
    checkpoint = ready.folder / "checkpoint.pt"
    for _ in range(2):  # the second time it was resumed already
        process = started(workplace, "pipeline.pretrain", FULL)
        wait_for_another(checkpoint, process)
        process.send_signal(blow)
        said = process.communicate()[1]
        if blow != signal.SIGKILL:
            assert process.returncode == 130
            assert "the same command goes on from what is written" in said
            assert "Traceback" not in said
        assert checkpoint.exists()
        assert not ready.weights.exists()
    command(sys.executable, "-m", "pipeline.pretrain", FULL, folder=workplace)
    broken, record = tensors(ready), json.loads(ready.record.read_text())
    assert not checkpoint.exists()
    assert not list(ready.folder.glob(".*.partial"))
    ready.weights.unlink()
    command(sys.executable, "-m", "pipeline.pretrain", FULL, folder=workplace)
    assert same(tensors(ready), broken)
    assert json.loads(ready.record.read_text())["epoch_losses"] == record["epoch_losses"]
    assert 100e6 < record["peak_memory"]["host"] < 20e9  # torch alone takes 200 MB


def test_a_seed_is_a_run_of_its_own_and_repeats_itself(ready):
    first = Graph(load())
    train(first, "pretrain", FULL, 0)
    one = tensors(ready)
    ready.weights.unlink()
    train(Graph(load()), "pretrain", FULL, 0)
    assert same(tensors(ready), one)
    train(Graph(load()), "pretrain", FULL, 1)
    assert not same(tensors(Graph(load()).training("pretrain", FULL, 1)), one)


def results_of(seed: int) -> tuple[dict, dict, list]:
    """The weights of a seed, what its record says of the training, and its logged metrics without times."""
    training = Graph(load()).training("finetune", "cifar10-gaussian", seed)
    record = json.loads(training.record.read_text())
    left_out = ("seconds", "ended", "peak_memory")
    return (
        tensors(training),
        {name: value for name, value in record.items() if name not in left_out},
        [(line["step"], line["metrics"]) for line in lines_of(training.folder / EVENTS) if "step" in line],
    )


@pytest.fixture
def seeds_alone(workplace):
    """The results of three seeds with dropout, trained alone; their files are removed."""
    set_params(
        workplace,
        engine__checkpoint_seconds=0,
        scales__smoke__epochs=both(6),
        **{"finetune__cifar10-gaussian__objective": {"classify": {"hidden": [8], "dropout": 0.5}}},
    )
    graph = Graph(load())
    shard(graph.shards("cifar10"))
    alone = {}
    for seed in (0, 1, 2):
        train(graph, "finetune", "cifar10-gaussian", seed)
        alone[seed] = results_of(seed)
        shutil.rmtree(graph.training("finetune", "cifar10-gaussian", seed).folder)
    return alone


def assert_equal(seeds_alone):
    for seed, (weights, record, events) in seeds_alone.items():
        together = results_of(seed)
        assert same(together[0], weights)
        assert together[1:] == (record, events)
    assert not same(seeds_alone[0][0], seeds_alone[1][0])


def test_seeds_side_by_side_end_as_each_does_alone(workplace, seeds_alone):
    command(
        *(sys.executable, "-m", "pipeline.finetune", "cifar10-gaussian", "--seed", "0", "1", "2"),
        folder=workplace,
    )
    assert_equal(seeds_alone)


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGTERM])
def test_seeds_side_by_side_resume_after_a_kill(workplace, seeds_alone, blow):
    words = ("pipeline.finetune", "cifar10-gaussian", "--seed", "0", "1", "2")
    folders = [Graph(load()).training("finetune", "cifar10-gaussian", seed).folder for seed in seeds_alone]
    process = started(workplace, *words)
    wait_for_another(folders[-1] / "checkpoint.pt", process)
    process.send_signal(blow)
    process.communicate()
    assert process.returncode == (130 if blow == signal.SIGTERM else -signal.SIGKILL)
    assert all((folder / "checkpoint.pt").exists() for folder in folders)
    command(sys.executable, "-m", *words, folder=workplace)
    assert_equal(seeds_alone)


def test_a_seed_that_fails_leaves_the_others_running():
    def training(steps: int, fails: bool = False) -> Iterator[None]:
        for _ in range(steps):
            yield
        if fails:
            raise ValueError("the loss is nan at step 2")
        ended.append(steps)

    ended = []
    with pytest.raises(ValueError, match=r"^seed 4: the loss is nan at step 2$"):
        take_turns({3: training(5), 4: training(2, True), 5: training(9)}, torch.device("cpu"), [])
    assert ended == [5, 9]


def test_the_place_of_the_images_changes_no_weight(workplace):
    shard(Graph(load()).shards("cifar10"))
    training, found = Graph(load()).training("pretrain", "cifar10-pixel", 0), {}
    for images in ("host", "device"):
        set_params(workplace, engine__images=images)
        train(Graph(load()), "pretrain", "cifar10-pixel", 0)
        found[images] = tensors(training)
        assert json.loads(training.record.read_text())["images_on"] == images
        training.weights.unlink()
    assert same(found["host"], found["device"])


def test_training_restores_better_than_no_training(ready):
    train(Graph(load()), "pretrain", FULL, 0)
    losses = json.loads(ready.record.read_text())["epoch_losses"]
    assert len(losses) == 6
    assert losses[-1] < losses[0]


def test_a_finetuning_starts_with_the_pretrained_encoder_and_a_new_head(workplace):
    graph = Graph(load())
    for name in ("imagenet", "voc2007"):
        shard(graph.shards(name))
    train(graph, "pretrain", FULL, 0)
    training = graph.training("finetune", FINE, 0)
    model = beginning(training, open_manifest(training.shards.manifest, "train"))
    saved = load_parts(training.start)
    assert same(model.encoder.state_dict(), saved["encoder"])
    other = beginning(replace(training, seed=1), open_manifest(training.shards.manifest, "train"))
    assert same(other.encoder.state_dict(), saved["encoder"])
    assert not same(other.head.state_dict(), model.head.state_dict())


def test_a_frozen_part_and_its_batch_statistics_stay_bit_equal(workplace):
    set_params(workplace, **{"finetune__cifar10-ours__freeze": ["encoder"]})
    graph = Graph(load())
    shard(graph.shards("cifar10"))
    train(graph, "pretrain", "cifar10-pixel", 0)
    train(graph, "finetune", "cifar10-ours", 0)
    start, ended = (
        load_parts(graph.training(*label, 0))
        for label in (("pretrain", "cifar10-pixel"), ("finetune", "cifar10-ours"))
    )
    assert any(name.endswith("running_mean") for name in start["encoder"])
    assert same(start["encoder"], ended["encoder"])
    began = beginning(
        graph.training("finetune", "cifar10-ours", 0),
        open_manifest(graph.shards("cifar10").manifest, "train"),
    )
    assert not same(began.head.state_dict(), ended["head"])


@compiled
def test_a_compiled_network_trains_equally_up_to_rounding(workplace):
    """A network with dropout, so that wrong draws differ by more than rounding."""
    set_params(workplace, engine__compile="always", scales__smoke__epochs=both(1))
    params = load()
    graph, spec = Graph(params), params.finetune["cifar10-gaussian"]
    small = replace(
        spec,
        init="he",
        network=Choice("network-1", Network1(n=2, m=(2,))),
        objective=Choice("classify", Classify(hidden=(8,), dropout=0.5, pool=True)),
    )
    training = replace(graph.training("finetune", "cifar10-gaussian", 0), spec=small)
    shard(training.shards)
    manifest = open_manifest(training.shards.manifest, "train")

    def losses(compile):
        model, found = beginning(training, manifest), []
        batches = Batches(Images(manifest, stream_above_gb=8), np.arange(48), small.augment, batch=16, seed=0)
        for _ in steps(
            model,
            lambda batch, generator: OBJECTIVES["classify"].loss(model, batch, small, generator),
            batches,
            replace(small, epochs=1),
            seed=0,
            owner={},
            folder=training.folder,
            engine=replace(params.engine, compile=compile),
            device=torch.device("cpu"),
            log=lambda step, metrics: found.extend([metrics["loss"]] if "loss" in metrics else []),
            stopping=(),
        ):
            pass
        return found

    plain, compiled = losses("never"), losses("always")
    assert len(plain) == 3
    assert compiled == pytest.approx(plain, rel=1e-4)
    assert len(set(plain)) == 3


@compiled
@devices
def test_a_loss_compiled_as_for_a_gpu_agrees_up_to_rounding(workplace, device):
    prepare(load().engine)  # without TF32
    training = Graph(load()).training("pretrain", "cifar10-pixel", 0)
    shard(training.shards)
    spec, images = training.spec, images_of(training, stream_above_gb=8, on=device)
    model = beginning(training, images.manifest).to(device).to(memory_format=torch.channels_last).train()
    batches = Batches(images, np.arange(48), spec.augment, batch=16, seed=0)

    def loss(batch, generator):
        return OBJECTIVES["denoise"].loss(model, batch, spec, generator)

    def steps(loss_of):
        losses, gradients = [], []
        for step in range(3):
            model.zero_grad()
            batch = batches.at(step, device)
            value = loss_of(batch, torch.Generator(device).manual_seed(step))
            value.backward()
            losses.append(value.item())
            gradients += [each.grad.norm().item() for each in model.parameters()]
        return losses, gradients

    plain, found = steps(loss), steps(engine.compiled(model, loss, torch.device("cuda")))
    assert found[0] == pytest.approx(plain[0], rel=1e-5)
    assert found[1] == pytest.approx(plain[1], rel=1e-2)
    assert len(set(plain[0])) == 3


def test_auto_compiles_by_hardware_and_length_of_the_run():
    params, cpu, gpu = load(), torch.device("cpu"), torch.device("cuda")
    called, in_parts = params.pretrain["cifar10-pixel"], params.finetune["mnist-100-swwae-dropout"]

    def chosen(device=cpu, spec=called, steps=COMPILED_FROM, compile="auto", precision="bf16"):
        return compiles(replace(params.engine, compile=compile, precision=precision), device, spec, steps)

    assert chosen() == (shutil.which(COMPILER) is not None)
    assert not chosen(steps=COMPILED_FROM - 1)
    assert not chosen(precision="fp32")
    assert chosen(gpu) == chosen(gpu, precision="fp32") == (shutil.which(COMPILER) is not None)
    assert not chosen(gpu, steps=COMPILED_FROM - 1)
    assert chosen(gpu, steps=1, compile="always")
    assert not chosen(compile="never")
    assert not chosen(spec=in_parts)
    assert not chosen(spec=in_parts, compile="always")


def test_a_part_to_freeze_that_the_network_lacks_is_refused_with_those_that_it_has(workplace):
    set_params(workplace, **{"finetune__cifar10-gaussian__freeze": ["decoders"]})
    graph = Graph(load())
    shard(graph.shards("cifar10"))
    with pytest.raises(ValueError, match="freeze names 'decoders'; its network has encoder, head"):
        train(graph, "finetune", "cifar10-gaussian", 0)


def test_a_checkpoint_of_another_specification_is_refused(workplace, ready):
    ready.folder.mkdir(parents=True)
    torch.save({"owner": {"identity": "smoke/pretrain/other/0-0123456789"}}, ready.folder / "checkpoint.pt")
    done = command(sys.executable, "-m", "pipeline.pretrain", FULL, folder=workplace, check=False)
    assert done.returncode == 1
    assert "is a checkpoint of another specification or seed; remove it to start over" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("damage", ["cut", "rubbish", "code"])
def test_a_damaged_checkpoint_is_refused_and_its_code_never_run(workplace, ready, damage):
    ready.folder.mkdir(parents=True)
    path = ready.folder / "checkpoint.pt"
    if damage == "code":

        class Evil:
            def __reduce__(self):
                return os.system, (f"touch {workplace}/ran",)

        torch.save({"owner": Evil()}, path)
    else:
        torch.save({"owner": {}}, path)
        path.write_bytes(path.read_bytes()[:100] if damage == "cut" else b"rubbish")
    done = command(sys.executable, "-m", "pipeline.pretrain", FULL, folder=workplace, check=False)
    assert done.returncode == 1
    assert "checkpoint.pt is damaged" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (workplace / "ran").exists()


def test_weights_of_another_run_are_refused(ready):
    train(Graph(load()), "pretrain", FULL, 0)
    other = replace(ready, name="imagenet-none")
    other.folder.mkdir(parents=True)
    shutil.copy(ready.weights, other.weights)
    with pytest.raises(ValueError, match="holds the weights of 'smoke/pretrain/imagenet-full/0-"):
        load_parts(other)


def test_a_loss_that_is_not_finite_ends_the_run_with_its_step(ready):
    manifest = open_manifest(ready.shards.manifest, "train")
    batches = Batches(
        Images(manifest, stream_above_gb=8), np.arange(48), ready.spec.augment, batch=16, seed=0
    )
    model, seen = beginning(ready, manifest), []

    def loss_of(batch, generator):
        seen.append(1)
        loss = OBJECTIVES["denoise"].loss(model, batch, ready.spec, generator)
        return loss * float("nan") if len(seen) == 4 else loss

    with pytest.raises(ValueError, match="the loss is nan at step 4; set a lower lr"):
        for _ in steps(
            model,
            loss_of,
            batches,
            ready.spec,
            seed=0,
            owner={},
            folder=ready.folder,
            engine=load().engine,
            device=torch.device("cpu"),
            stopping=(),
        ):
            pass


def test_missing_data_and_weights_name_the_command_that_makes_them(workplace):
    done = command(sys.executable, "-m", "pipeline.pretrain", FULL, folder=workplace, check=False)
    assert done.returncode == 1
    assert "manifest.json is missing; make it: python -m pipeline.shard " in done.stderr
    graph = Graph(load())
    shard(graph.shards("voc2007"))
    done = command(sys.executable, "-m", "pipeline.finetune", FINE, folder=workplace, check=False)
    assert "weights.pt is missing" in done.stderr


def test_a_full_disk_is_reported_and_leaves_no_partial_files(workplace, ready):
    """A file size limit simulates a full disk: the write fails in its middle."""
    limited = (
        "import resource, runpy, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (40000, 40000)); "
        f"sys.argv = ['pretrain', '{FULL}']; runpy.run_module('pipeline.pretrain', run_name='__main__')"
    )
    done = command(sys.executable, "-c", limited, folder=workplace, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith(f"pretrain {FULL}: ")
    assert "Traceback" not in done.stderr
    assert not list(ready.folder.glob(".*.partial"))
    assert not ready.weights.exists()


def problem():
    """A small deterministic regression."""
    torch.manual_seed(0)
    return nn.Linear(5, 3), torch.randn(20, 5), torch.randn(20, 3)


@pytest.mark.parametrize(
    ("name", "options", "first"),
    [
        ("adam", Adam(lr=0.01), lambda weight, gradient: 0.01 * gradient.sign()),
        (
            "adam",
            Adam(lr=0.01, weight_decay=9),
            lambda weight, gradient: 0.01 * (gradient + 9 * weight).sign(),
        ),
        ("sgd", Sgd(lr=0.01, momentum=0.9), lambda weight, gradient: 0.01 * gradient),
        ("sgd", Sgd(lr=0.01, momentum=0, weight_decay=0.1), lambda w, g: 0.01 * (g + 0.1 * w)),
    ],
)
def test_an_optimiser_takes_its_options(name, options, first):
    model, x, y = problem()
    before = model.weight.detach().clone()
    (model(x) - y).square().mean().backward()
    OPTIMISERS[name](list(model.parameters()), options).step()
    assert torch.allclose(before - model.weight, first(before, model.weight.grad), atol=1e-5)


@pytest.mark.parametrize(("name", "options"), [("adam", Adam(lr=0.01)), ("sgd", Sgd(lr=0.01, momentum=0.9))])
def test_a_restored_optimiser_continues_unchanged(name, options):
    weights = []
    for stop in (False, True):
        model, x, y = problem()
        optimiser = OPTIMISERS[name](list(model.parameters()), options)
        for step in range(10):
            if stop and step == 5:
                state = optimiser.state_dict()
                optimiser = OPTIMISERS[name](list(model.parameters()), options)
                optimiser.load_state_dict(state)
            model.zero_grad()
            (model(x) - y).square().mean().backward()
            optimiser.step()
        weights.append(model.weight.detach())
    assert torch.equal(*weights)


def test_equal_weights_are_equal_files(tmp_path):
    """Checksums, and so DVC, see a change only where a number changed."""
    one, other, another = (tmp_path / name for name in ("one.pt", "other.pt", "another.pt"))
    for path, value in ((one, 1.0), (other, 1.0), (another, 2.0)):
        save_tensors(path, {"parts": {"encoder": {"weight": torch.full((3,), value)}}, "identity": "run"})
    assert one.read_bytes() == other.read_bytes() != another.read_bytes()


def test_step_lists_multiply_the_rate_at_their_epochs():
    schedule = SCHEDULES["steps"]
    rates = [schedule(Steps(at=(2.0, 4.0), factor=0.1), epoch, []) for epoch in range(6)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_a_plateau_divides_the_rate_when_the_loss_stops_dropping():
    schedule, options = SCHEDULES["plateau"], Plateau(after=2, factor=0.1)
    assert schedule(options, 3, [3.0, 2.0, 1.0]) == 1
    assert schedule(options, 2, [1.0, 1.0]) == 1
    assert schedule(options, 3, [1.0, 1.0, 1.1]) == pytest.approx(0.1)  # two epochs without a drop
    assert schedule(options, 6, [1.0, 1.0, 1.1, 0.9, 0.8, 0.8]) == pytest.approx(0.1)
    assert schedule(options, 5, [1.0] * 5) == pytest.approx(0.01)
    with pytest.raises(ValueError, match="plateau.after is 0; expected at least 1"):
        build(Plateau, {"after": 0, "factor": 0.1}, "plateau")
