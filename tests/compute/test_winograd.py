"""Winograd convolutions equal torch's up to rounding, layer by layer and run by run."""

import json
from dataclasses import replace

import pytest
import torch
from compiler import compiled
from conftest import set_params
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import conv2d, conv_transpose2d

from pipeline.compute import winograd
from pipeline.compute.device import COMPILER
from pipeline.compute.engine import by_winograd
from pipeline.config.reading import load
from pipeline.data.writer import shard
from pipeline.system.files import COMPILED
from pipeline.training.run import train
from pipeline.work.graph import Graph

CPU = torch.device("cpu")


@st.composite
def convolutions(draw):
    """A layer that has an output for its input's size, that size, and threads."""
    pad, kind = draw(st.integers(0, 2)), draw(st.sampled_from([nn.Conv2d, nn.ConvTranspose2d]))
    inputs, outputs = (16 * draw(st.integers(1, 3)) for _ in range(2))
    layer = kind(inputs, outputs, 3, padding=pad, bias=draw(st.booleans()))
    sides = st.integers(max(1, 3 - 2 * pad) if kind is nn.Conv2d else max(1, 2 * pad - 1), 20)
    shape = draw(st.integers(1, 5)), inputs, draw(sides), draw(sides)
    return layer, shape, draw(st.integers(1, 3))


@compiled
@settings(max_examples=60, deadline=None)
@given(convolutions())
def test_convolutions_and_gradients_are_exact_up_to_rounding(case):
    layer, shape, threads = case
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator)
    usual, found = torch.get_num_threads(), []
    for exact in (True, False):
        layer.zero_grad()
        if exact:
            layer.double()
        else:
            layer.float()
            winograd.take_over(layer)
        here = x.to(layer.weight).contiguous(memory_format=torch.channels_last).requires_grad_()
        try:
            torch.set_num_threads(threads)
            y = layer(here)
            dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
            (y * dy).sum().backward()
        finally:
            torch.set_num_threads(usual)
        found.append((y, here.grad, *(each.grad for each in layer.parameters())))
    assert winograd.taken_over(layer)
    for right, ours in zip(*found, strict=True):
        assert torch.allclose(ours.double(), right, atol=1e-5 * max(1.0, float(right.detach().abs().max())))


@compiled
def test_winograd_is_as_exact_as_torch():
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(shape, generator=generator) for shape in ((4, 64, 15, 15), (64, 64, 3, 3)))
    right = conv2d(x.double(), weight.double(), padding=1)
    ours, theirs = (
        (found - right).square().mean()
        for found in (winograd.convolution(x, weight, 1), conv2d(x, weight, padding=1))
    )
    assert ours < 4 * theirs


def test_a_transposed_convolution_is_a_convolution_with_flipped_weights():
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(shape, generator=generator) for shape in ((2, 3, 5, 6), (3, 4, 3, 3)))
    assert torch.allclose(
        conv2d(x, winograd.turned(weight), padding=1), conv_transpose2d(x, weight, padding=1), atol=1e-5
    )


@compiled
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_frozen_weights_get_no_gradient_and_pass_the_inputs_gradient_on(kind):
    layer = kind(16, 32, 3, padding=1).to(memory_format=torch.channels_last)
    winograd.take_over(layer)
    layer.requires_grad_(False)
    x = torch.randn(2, 16, 7, 9).requires_grad_()
    layer(x).square().mean().backward()
    assert layer.weight.grad is None
    assert layer.bias.grad is None
    assert x.grad.abs().max() > 0
    layer.requires_grad_(True)
    layer(x.detach()).square().mean().backward()
    assert layer.weight.grad.is_contiguous(memory_format=torch.channels_last)  # as a run's weights are
    assert layer.bias.grad is not None


@compiled
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_meta_and_double_tensors_are_left_to_torch(kind):
    """Run as `count` does to get the sizes of maps."""
    layer = kind(16, 32, 3, padding=1)
    winograd.take_over(layer)
    assert layer.to("meta")(torch.empty(2, 16, 7, 9, device="meta")).shape == (2, 32, 7, 9)
    exact = kind(16, 32, 3, padding=1).double()
    winograd.take_over(exact)
    assert exact(torch.zeros(2, 16, 7, 9, dtype=torch.float64)).dtype == torch.float64


def test_other_layers_are_left_to_torch():
    kept = [
        nn.Conv2d(3, 16, 3),
        nn.Conv2d(16, 24, 3),
        nn.Conv2d(16, 16, 1),
        nn.Conv2d(16, 16, (3, 5)),
        nn.Conv2d(16, 16, 3, stride=2),
        nn.Conv2d(16, 16, 3, stride=(1, 2)),
        nn.Conv2d(16, 16, 3, dilation=2),
        nn.Conv2d(32, 32, 3, groups=2),
        nn.Conv2d(16, 16, 3, padding=3),
        nn.Conv2d(16, 16, 3, padding="same"),
        nn.Conv2d(16, 16, 3, padding=1, padding_mode="reflect"),
        nn.ConvTranspose2d(16, 16, 3, stride=2),
        nn.Conv3d(16, 16, 3),
        nn.Linear(16, 16),
    ]
    assert not any(winograd.suits(layer) for layer in kept)
    assert all(winograd.suits(kind(16, 32, 3, padding=1)) for kind in (nn.Conv2d, nn.ConvTranspose2d))


@compiled
def test_losses_agree_up_to_rounding_between_winograd_and_torch(workplace):
    set_params(workplace, scales__smoke__width=16, engine__precision="fp32")
    shard(Graph(load()).shards("cifar10"))
    found = {}
    for way in ("torch", "winograd"):
        set_params(workplace, engine__convolution=way)
        graph = Graph(load())
        training = graph.training("pretrain", "cifar10-pixel", 0)
        train(graph, "pretrain", "cifar10-pixel", 0)
        record = json.loads(training.record.read_text())
        assert record["convolution"] == way
        found[way] = record["epoch_losses"]
        training.weights.unlink()
    assert found["winograd"] == pytest.approx(found["torch"], rel=1e-3)


def test_auto_chooses_winograd_by_the_cpus_instructions(monkeypatch):
    def chosen(device=CPU, capability="AVX2", precision="fp32", convolution="auto"):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
        engine = replace(load().engine, precision=precision, convolution=convolution)
        return by_winograd(engine, device)

    assert chosen()
    assert not chosen(capability="AVX512")
    assert not chosen(capability="DEFAULT")
    assert not chosen(precision="bf16")
    assert not chosen(torch.device("cuda"))
    assert not chosen(convolution="torch")
    with pytest.raises(ValueError, match="engine.convolution: winograd is for a CPU in fp32; set auto"):
        chosen(precision="bf16", convolution="winograd")
    monkeypatch.setattr("pipeline.compute.engine.library", lambda: None)
    with pytest.raises(ValueError, match="cannot compile winograd.cpp; set auto or torch"):
        chosen(convolution="winograd")


@compiled
def test_a_fork_takes_what_an_earlier_fork_compiled(monkeypatch, tmp_path):
    monkeypatch.setenv(COMPILED, str(tmp_path))
    for compiler in (COMPILER, "no-such-compiler"):
        monkeypatch.setattr(winograd, "COMPILER", compiler)
        winograd.library.cache_clear()
        assert winograd.library() is not None
        assert len(list(tmp_path.iterdir())) == 1
    winograd.library.cache_clear()


def test_without_a_compiler_layers_are_left_to_torch(monkeypatch):
    monkeypatch.setattr(winograd, "COMPILER", "no-such-compiler")
    winograd.library.cache_clear()
    layer = nn.Conv2d(16, 16, 3)
    try:
        winograd.take_over(layer)
    finally:
        winograd.library.cache_clear()
    assert not winograd.taken_over(layer)
    layer(torch.zeros(1, 16, 5, 5)).sum().backward()
    assert layer.weight.grad is not None
