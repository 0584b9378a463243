"""Drawings of networks show what their code runs; bands show what tables print."""

import json

import numpy as np
import pytest

from pipeline.config.reading import load
from pipeline.results.drawings.network import traced
from pipeline.results.drawings.style import over_seeds
from pipeline.results.figures import figure
from pipeline.work.graph import Graph


@pytest.fixture(scope="module")
def paper():
    return Graph(load(scale="paper"))


def sides(network):
    return [layer.outputs[1] for layer in network.layers]


def test_every_second_layer_of_network_2_is_added_to_its_mirror(paper):
    network = traced(paper.training("pretrain", "imagenet-full", 0))
    assert network.image == (3, 225, 225)
    assert sides(network)[:13] == [225, 113, 113, 57, 57, 57, 29, 29, 29, 15, 15, 15, 8]
    assert sides(network)[13:] == [15, 15, 15, 29, 29, 29, 57, 57, 57, 113, 113, 225, 225]
    assert network.shortcuts == [(0, 26), (2, 24), (4, 22), (6, 20), (8, 18), (10, 16), (12, 14)]
    shapes = [network.image, *(layer.outputs for layer in network.layers)]
    assert all(shapes[start] == shapes[end] for start, end in network.shortcuts)
    assert network.switches == []


def test_every_pooling_passes_its_switches_to_its_unpooling(paper):
    network = traced(paper.training("finetune", "mnist-1000-swwae", 0))
    assert [layer.inputs[1] for layer in network.layers] == [32, 16, 8, 8, 16, 32]
    assert sorted(network.switches) == [(1, 6), (2, 5), (3, 4)]
    assert [layer.decodes for layer in network.layers] == [False] * 3 + [True] * 3


def test_vggs_five_macro_layers_are_unpooled(paper):
    network = traced(paper.training("finetune", "vgg-swwae-all", 0))
    assert len(network.layers) == 26
    assert sorted(network.switches) == [(2, 25), (4, 23), (7, 20), (10, 17), (13, 14)]


def test_every_layer_of_a_stack_is_decoded_separately(paper):
    network = traced(paper.training("pretrain", "mnist-cae-1", 0))
    assert [layer.outputs for layer in network.layers] == [(100, 24, 24), (1, 28, 28)]


def test_shortcuts_between_blocks_are_refused(paper):
    with pytest.raises(ValueError, match=r"dong2017-wide-adam has shortcuts between blocks"):
        traced(paper.training("pretrain", "dong2017-wide-adam", 0))


def test_a_figure_of_networks_needs_no_training(workplace):
    figure(Graph(load()), "zhao2016/figure1")
    made = json.loads((workplace / "results/zhao2016/figure1.json").read_text())
    assert made["caption"].endswith("Ours: as built at scale smoke; numbers are channels, and sides of maps.")
    assert [each.split("/")[:3] for each in made["runs"].split()] == [
        ["smoke", "finetune", "mnist-1000-swwae"],
        ["smoke", "finetune", "stl10-swwae"],
    ]
    assert (workplace / "results/zhao2016/figure1.png").stat().st_size > 10_000


def test_a_band_is_the_sample_deviation_of_the_seeds():
    mean, sd = over_seeds(np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 8.0]]))
    assert (mean.tolist(), sd.tolist()) == ([2.0, 6.0], pytest.approx([1.0, 3.0**0.5]))
    assert over_seeds(np.array([[4.0, 2.0]]))[1].tolist() == [0.0, 0.0]
