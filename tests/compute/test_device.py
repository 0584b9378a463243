"""How a process is set up: fp32 without TF32, and runs that repeat to the bit, on a GPU where there is one."""

import shutil
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import max_pool2d, max_unpool2d

from pipeline.compute.device import device_at_hand, prepare
from pipeline.config.reading import load
from pipeline.data.writer import shard
from pipeline.runner.cli import exit_code_of
from pipeline.training.run import train
from pipeline.work.graph import Graph


@pytest.fixture
def settings():
    """torch's settings belong to the process: put them back."""
    yield load().engine
    prepare(load().engine)


def test_fp32_is_not_tf32(settings):
    prepare(settings)
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize(
    ("deterministic", "one_shape", "benchmark"),
    [(False, True, True), (False, False, False), (True, True, False)],
)
def test_cudnn_times_its_algorithms_for_one_shape_unless_runs_have_to_repeat(
    settings, monkeypatch, deterministic, one_shape, benchmark
):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    prepare(replace(settings, deterministic=deterministic), one_shape=one_shape)
    assert torch.backends.cudnn.benchmark == benchmark
    assert torch.backends.cudnn.deterministic == deterministic
    assert torch.are_deterministic_algorithms_enabled() == deterministic


def test_a_deterministic_run_repeats_to_the_bit_and_a_cpus_is_the_same_without_the_switch(
    workplace, settings
):
    weights, run = [], "mnist-100-swwae-dropout"
    for deterministic in (True, True, False):
        graph = Graph(replace(load(), engine=replace(settings, deterministic=deterministic)))
        training = graph.training("finetune", run, 0)
        if not training.shards.manifest.exists():
            shard(training.shards)
        train(graph, "finetune", run, 0)
        weights.append(training.weights.read_bytes())
        shutil.rmtree(training.folder)
    assert weights[0] == weights[1]
    assert weights[0] == weights[2] or device_at_hand().type == "cuda"


def test_an_operation_that_cannot_repeat_is_one_line_with_the_way_out(settings, capsys):
    def act():
        x, places = max_pool2d(torch.zeros(1, 1, 4, 4), 2, return_indices=True)
        max_unpool2d(x, places, 2)

    prepare(replace(settings, deterministic=True))
    assert exit_code_of("finetune x", act) == 1
    said = capsys.readouterr().err
    assert said == (
        "finetune x: max_unpooling2d_forward_out does not have a deterministic implementation; "
        "set engine.deterministic: false\n"
    )
