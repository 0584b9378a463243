"""Our own gradient of a convolution's weights is torch's, layer by layer and run by run."""

import shutil
from dataclasses import replace

import pytest
import torch
from conftest import set_params
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import grad

from pipeline import engine as choices
from pipeline import weight_gradient as own
from pipeline.devices import COMPILER
from pipeline.engine import own_gradients
from pipeline.graph import Graph
from pipeline.learn import learn, load_parts
from pipeline.params import load
from pipeline.shard import shard

CPU = torch.device("cpu")
compiled = pytest.mark.skipif(shutil.which(COMPILER) is None, reason="no compiler")


@st.composite
def convolutions(draw):
    """Sizes of x and of a convolution of it that has an output, and threads."""
    kernel, stride = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    pad = draw(st.integers(0, kernel - 1))
    sides = st.integers(max(1, kernel - 2 * pad), 40)
    groups, images = st.integers(1, 3), st.integers(1, 5)
    shape = (draw(images), 16 * draw(groups), draw(sides), draw(sides))
    return shape, 16 * draw(groups), kernel, stride, pad, draw(st.integers(1, 3))


@compiled
@settings(max_examples=60, deadline=None)
@given(convolutions())
def test_the_gradient_of_any_convolution_is_the_exact_one_but_for_rounding(case):
    shape, outputs, kernel, stride, pad, threads = case
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator)
    weight = (outputs, shape[1], kernel, kernel)
    y = nn.functional.conv2d(x, torch.zeros(weight), None, stride, pad)
    dy = torch.randn(y.shape, generator=generator)
    exact = grad.conv2d_weight(x.double(), weight, dy.double(), stride, pad)
    usual = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        found = own.weight_gradient(x, dy, kernel=kernel, stride=stride, pad=pad)
    finally:
        torch.set_num_threads(usual)
    assert found.shape == exact.shape
    assert kernel == 1 or found.is_contiguous(memory_format=torch.channels_last)  # as the weights are
    assert torch.allclose(found.double(), exact, atol=1e-5 * max(1.0, float(exact.abs().max())))


LAYERS = {
    "plain": lambda: nn.Conv2d(16, 32, 3, 1, 1),
    "halving": lambda: nn.Conv2d(16, 32, 3, 2, 1, bias=False),
    "transposed": lambda: nn.ConvTranspose2d(16, 32, 3, 1, 1),
    "doubling": lambda: nn.ConvTranspose2d(16, 32, 3, 2, 1, bias=False),
    "even": lambda: nn.ConvTranspose2d(16, 32, 4, 2, 1, output_padding=1),
}


@compiled
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("frozen", [False, True])
def test_a_layer_that_is_taken_over_gives_and_learns_what_it_did(name, frozen):
    torch.manual_seed(0)
    theirs = LAYERS[name]()
    ours = LAYERS[name]()
    ours.load_state_dict(theirs.state_dict())
    own.take_over(ours)
    assert own.taken_over(ours)
    assert not own.taken_over(theirs)
    found, sized = [], name == "doubling"  # 2 h or 2 h - 1: asked for as decoders do
    for layer in (theirs, ours):
        layer.weight.requires_grad_(not frozen)
        x = torch.randn(2, 16, 7, 9, generator=torch.Generator().manual_seed(1)).requires_grad_()
        y = layer(x, output_size=(14, 17)) if sized else layer(x)
        (y.square().sum() / y.numel()).backward()
        found.append((y, x.grad, *(each.grad for each in layer.parameters())))
    assert (ours.weight.grad is None) == frozen
    for their, our in zip(*found, strict=True):
        assert (their is None) == (our is None)
        assert our is None or torch.allclose(our, their, atol=1e-6)


def test_layers_of_other_kinds_keep_torchs_own():
    kept = [
        nn.Conv2d(3, 16, 3),
        nn.Conv2d(16, 24, 3),
        nn.Conv2d(16, 16, (3, 5)),
        nn.Conv2d(16, 16, 3, stride=(1, 2)),
        nn.Conv2d(16, 16, 3, dilation=2),
        nn.Conv2d(32, 32, 3, groups=2),
        nn.Conv2d(16, 16, 3, padding="same"),
        nn.Conv2d(16, 16, 3, padding=1, padding_mode="reflect"),
        nn.Linear(16, 16),
    ]
    assert not any(own.suits(layer) for layer in kept)
    assert own.suits(nn.Conv2d(16, 16, 3))


@compiled
def test_a_run_ends_with_the_same_weights_but_for_rounding_whoever_computes_them(workplace):
    set_params(workplace, scales__smoke__width=16, engine__precision="fp32")
    shard(Graph(load()).shards("cifar10"))
    found = {}
    for whose in ("torch", "own"):
        set_params(workplace, engine__weight_gradient=whose)
        graph = Graph(load())
        training = graph.training("pretrain", "cifar10-pixel", 0)
        learn(graph, "pretrain", "cifar10-pixel", 0)
        assert f'"weight_gradient": "{whose}"' in training.record.read_text()
        found[whose] = load_parts(training)
        training.weights.unlink()
    for part, theirs in found["torch"].items():
        for name, tensor in theirs.items():
            assert torch.allclose(found["own"][part][name], tensor, rtol=1e-3, atol=1e-5), (part, name)


def test_whose_gradient_it_is_follows_from_the_hardware(monkeypatch):
    def chosen(device=CPU, capability="AVX2", precision="fp32", weight_gradient="auto"):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
        engine = replace(load().engine, precision=precision, weight_gradient=weight_gradient)
        return own_gradients(engine, device)

    assert chosen()
    assert not chosen(capability="AVX512")
    assert not chosen(capability="DEFAULT")
    assert not chosen(precision="bf16")
    assert not chosen(torch.device("cuda"))
    assert not chosen(weight_gradient="torch")
    with pytest.raises(ValueError, match="engine.weight_gradient: own is for a CPU in fp32; set auto"):
        chosen(precision="bf16", weight_gradient="own")
    monkeypatch.setattr(choices, "library", lambda: None)
    with pytest.raises(ValueError, match="here can compile it; set auto or torch"):
        chosen(weight_gradient="own")


def test_without_a_compiler_layers_keep_torchs_own(monkeypatch):
    monkeypatch.setattr(own, "COMPILER", "no-such-compiler")
    own.library.cache_clear()
    layer = nn.Conv2d(16, 16, 3)
    try:
        own.take_over(layer)
    finally:
        own.library.cache_clear()
    assert not own.taken_over(layer)
    layer(torch.zeros(1, 16, 5, 5)).sum().backward()
    assert layer.weight.grad is not None
