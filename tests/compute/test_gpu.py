"""A GPU computes what a CPU computes, and repeats itself to the bit; on a CPU the same tests are rehearsed."""

import os
import shutil
import signal
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import set_params
from devices import devices
from golden.trainings import SMALL, trainings
from tape import Tape
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from pipeline.compute.device import prepare
from pipeline.config.reading import load
from pipeline.config.typed import Choice
from pipeline.data.images import images_of
from pipeline.data.subsets import subset
from pipeline.data.writer import shard
from pipeline.objectives import OBJECTIVES, objective_of
from pipeline.system.signals import Stopped
from pipeline.training import capture, loop
from pipeline.training.run import _steps, batches_of, beginning
from pipeline.training.turns import take_turns
from pipeline.training.weights import load_parts
from pipeline.work.graph import Graph
from pipeline.work.identity import Training

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # torch reads it at the first product only
LOSS = 1e-5  # relative tolerances: of each loss, in fp32 without TF32
# Of gradients: the largest of a training in fp64, the median of all trainings in fp32, where rounding switches
# single ReLUs on and off: on a CPU with oneDNN and without the median is 3e-5. In fp64 losses in fp32 make 3e-7.
GRADIENTS = {torch.float64: 1e-5, torch.float32: 2e-4}
DRAWING = ("pretrain.imagenet-patch", "finetune.cifar10-gaussian", "finetune.vgg-ladder")  # noise, dropout
COPYING = {"pretrain.dong2017-imagenet-context"}  # its loss copies the generator, which no graph records
OTHERS = (  # with DRAWING one of each objective but segment: torch refuses its nll_loss2d on CUDA
    "pretrain.mnist-unpool-2",
    "finetune.voc2007-own-pixel",
    "finetune.dong2017-probe-full",
    "finetune.stl10-swwae",
)


class DrawOnCPU(TorchDispatchMode):
    """Run operations that draw random numbers on the CPU and copy their results to the device.

    torch tags these operations, so none is missed. Their generators have to be on the CPU.
    """

    def __init__(self) -> None:
        super().__init__()
        self.draws: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **kwargs)
        self.draws[func.overloadpacket.__name__] += 1
        options = {**kwargs, "device": "cpu"} if "device" in kwargs else kwargs
        drawn = func(*tree_map_only(Tensor, Tensor.cpu, args), **options)
        if func._schema.is_mutable:
            return args[0].copy_(drawn)
        device = kwargs["device"] if "device" in kwargs else args[0].device
        return tree_map_only(Tensor, lambda each: each.to(device), drawn)


@pytest.fixture
def engine(workplace):
    """The engine's settings in fp32; torch's settings belong to the process and are put back."""
    set_params(workplace, **SMALL)
    before = load().engine
    yield replace(before, precision="fp32", compile="never", convolution="torch")
    prepare(before)


def from_scratch(training: Training) -> Training:
    """With weights that let gradients through, and without those of other trainings; the data are written."""
    spec, options = training.spec, training.spec.objective.options
    if hasattr(options, "weights"):  # of losses; a training estimates them from its first batches
        options = replace(options, weights=(1.0,) * 9)
    if not training.shards.manifest.exists():
        shard(training.shards)
    objective = Choice(spec.objective.name, options)
    return replace(training, start=None, spec=replace(spec, init="he", objective=objective))


def step(
    training: Training, device: torch.device, dtype: torch.dtype, layout: torch.memory_format, seed: int = 0
) -> tuple[float, dict[str, Tensor], Counter]:
    """The loss of the first batch, its gradients, and which operations drew."""
    spec, images = training.spec, images_of(training, stream_above_gb=8, on=device)
    model, noise = beginning(training, images.manifest).train(), torch.Generator().manual_seed(0)
    # Noise, since rounding decides ReLUs of 0, as behind biases of 0, and the maxima of flat areas.
    for each in model.parameters():
        each.data += 0.1 * torch.randn(each.shape, generator=noise) * (each.dim() == 1)
    model.to(device, dtype, memory_format=layout)
    labelled = np.asarray(subset(images, spec.data, seed=0))
    batch = batches_of(training, images, labelled).at(0, device)
    drawn = 64 * torch.rand(batch.centred.shape, generator=noise).to(device)
    centred, std = (batch.centred + drawn).to(dtype), batch.std.to(dtype)
    torch.manual_seed(seed)
    with DrawOnCPU() as mode:
        batch, generator = replace(batch, centred=centred, std=std), torch.Generator().manual_seed(seed)
        loss = objective_of(spec).loss(model, batch, spec, generator)
        loss.backward()
    gradients = {name: each.grad.cpu() for name, each in model.named_parameters() if each.grad is not None}
    return loss.item(), gradients, mode.draws


def distance(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """The largest relative difference of a parameter's gradient.

    Gradients that are 0 up to rounding (a bias before batch normalisation) are compared with the norm of all.
    """
    assert found.keys() == expected.keys()
    whole = torch.stack([each.norm() for each in expected.values()]).norm()
    assert whole > 0
    apart = [(found[name] - each).norm() / (each.norm() + 1e-3 * whole) for name, each in expected.items()]
    return float(torch.stack(apart).max())


@devices
@pytest.mark.parametrize("dtype", GRADIENTS)
def test_a_step_of_each_objective_and_network_equals_the_cpus(workplace, engine, device, dtype):
    """In channels-last layout, against the CPU's contiguous one: so two kernels are compared on a CPU, too."""
    prepare(engine)
    every, losses, gradients, draws = trainings(Graph(load())), {}, {}, Counter()
    for training in map(from_scratch, every):
        expected = step(training, torch.device("cpu"), dtype, torch.contiguous_format)
        found = step(training, device, dtype, torch.channels_last)
        other = step(training, device, dtype, torch.channels_last, seed=1)
        losses[training.label] = abs(found[0] / expected[0] - 1)
        gradients[training.label] = distance(found[1], expected[1])
        draws += found[2]
        assert (abs(other[0] / found[0] - 1) > LOSS) == bool(found[2]), f"{training.label} draws otherwise"
    assert {label: each for label, each in losses.items() if not each < LOSS} == {}
    if dtype == torch.float64:
        assert {label: each for label, each in gradients.items() if not each < GRADIENTS[dtype]} == {}
    assert np.median(list(gradients.values())) < GRADIENTS[dtype]
    assert {each.spec.objective.name for each in every} == OBJECTIVES.keys()
    dropout = "bernoulli_" if device.type == "cpu" else "native_dropout"
    assert draws.keys() == {"randn", "rand", "randint", "uniform_", dropout}


@pytest.fixture
def deterministic(workplace, engine):
    """The engine's settings of runs that repeat; one of them with dropout."""
    dropout = {"classify": {"hidden": [8], "dropout": 0.5}}
    set_params(workplace, **{"finetune__cifar10-gaussian__objective": dropout})
    engine = replace(engine, deterministic=True, precision="auto")
    prepare(engine, one_shape=True)
    return engine


def fresh(*labels: str, seed: int = 0) -> list[Training]:
    return [from_scratch(Graph(load()).training(*label.split("."), seed)) for label in labels]


def weights_of(training: Training) -> dict[str, Tensor]:
    """The weights that a training wrote; its files are removed."""
    parts = load_parts(training)
    shutil.rmtree(training.folder)
    return {f"{part}.{name}": each for part in parts for name, each in parts[part].items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@devices
def test_a_deterministic_training_interrupted_on_the_device_ends_as_the_unbroken_one(deterministic, device):
    for training in fresh(*DRAWING, *OTHERS):
        take_turns({0: _steps(training, deterministic, device, [])}, device, [])
        unbroken, stopping = weights_of(training), []
        broken = _steps(training, deterministic, device, stopping)
        for _ in ("the data are read", "step 1", "step 2"):
            next(broken)
        stopping.append(signal.SIGTERM)
        with pytest.raises(Stopped):
            next(broken)
        assert torch.load(training.folder / "checkpoint.pt", weights_only=True)["step"] == 3
        take_turns({0: _steps(training, deterministic, device, [])}, device, [])
        assert same(weights_of(training), unbroken), training.label


@devices
def test_deterministic_seeds_side_by_side_on_the_device_end_as_each_alone(deterministic, device):
    for seeds in zip(*(fresh(*DRAWING, seed=seed) for seed in (0, 1, 2)), strict=True):
        alone = []
        for each in seeds:
            take_turns({each.seed: _steps(each, deterministic, device, [])}, device, [])
            alone.append(weights_of(each))
        take_turns({each.seed: _steps(each, deterministic, device, []) for each in seeds}, device, [])
        assert list(map(same, map(weights_of, seeds), alone)) == [True] * 3, seeds[0].label
        assert not same(alone[0], alone[1])


@pytest.fixture
def replays(monkeypatch, device):
    """Record after the first step, on a CPU by a tape; collect the recordings as they are replayed."""
    kind, found = Tape if device.type == "cpu" else capture.Recording, list[Any]()

    class Counted(kind):
        def replay(self) -> Tensor:
            found.append(self)
            return super().replay()

    monkeypatch.setattr(capture, "FIRST", 1)
    monkeypatch.setattr(capture, "Recording", Counted)
    monkeypatch.setattr(loop, "captures", lambda engine, device: engine.capture == "auto")
    return found


@devices
def test_recorded_steps_of_each_objective_and_network_end_as_called_ones(
    workplace, deterministic, device, replays
):
    # one rate, so that recording anew when layers thaw is not hidden by a new rate at the same step
    set_params(workplace, **{"finetune__dong2017-4000-full__schedule": {"constant": {}}})
    never, moved = replace(deterministic, capture="never"), {}
    for training in map(from_scratch, trainings(Graph(load()))):
        take_turns({0: _steps(training, never, device, [])}, device, [])
        called = weights_of(training)
        assert replays == []
        take_turns({0: _steps(training, deterministic, device, [])}, device, [])
        moved[training.label] = len(replays), same(weights_of(training), called)
        replays.clear()
    unrecorded = {label for label, (count, _) in moved.items() if not count}
    assert [label for label, (_, equal) in moved.items() if not equal] == []
    assert unrecorded == COPYING
