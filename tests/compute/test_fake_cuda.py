"""Errors and host synchronisation of a step on CUDA, detected without a GPU."""

import pytest
import torch
from compiler import compiled
from conftest import set_params
from fake_cuda import stepped
from golden.trainings import SMALL, trainings

from pipeline.config.reading import load
from pipeline.data.writer import shard
from pipeline.work.graph import Graph

pytestmark = [
    compiled,
    pytest.mark.skipif(
        torch.version.cuda is None or torch.cuda.is_available(), reason="for torch with CUDA, without a GPU"
    ),
]
DENOISE = "pretrain.imagenet-patch"
COPIES = {  # in the second step; the order and the crops of an epoch are copied in its first
    "finetune.stl10-swwae": "1 _to_copy",  # an epoch of its few labelled images begins
    "finetune.voc2012-encoder-decoder": "3 _to_copy",  # cut on the host: pixels, labels, masks
    **dict.fromkeys(
        ("pretrain.vgg", "pretrain.vgg-sae-layerwise", "pretrain.vgg-ladder", "finetune.vgg-ladder"),
        "2 _to_copy",  # rescaled on the host: pixels, labels
    ),
}


@pytest.fixture
def graph(workplace):
    set_params(workplace, **SMALL)
    return Graph(load())


def test_a_training_step_mixes_no_devices_or_types_and_copies_only_what_is_listed(workplace, graph):
    chosen = trainings(graph)
    for shards in {each.shards for each in chosen}:
        shard(shards)
    found = stepped(workplace, *(each.label for each in chosen))
    assert found == {each.label: COPIES.get(each.label, "none") for each in chosen}


@pytest.mark.parametrize(
    ("planted", "error"),
    [
        ("x + torch.randn(x.shape)", "found at least two devices, cuda:0 and cpu"),
        ("torch.lerp(x, x.double(), 0.5)", "dtype"),
    ],
)
def test_a_planted_mismatch_of_devices_or_types_fails(workplace, graph, planted, error):
    shard(graph.training(*DENOISE.split("."), 0).shards)
    corruption = f"lambda x, **options: {planted}"
    plant = f"import pipeline.corruptions as c; c.CORRUPTIONS['patch_gaussian'] = {corruption}"
    found = stepped(workplace, DENOISE, planted=plant)
    assert "Error" in found[DENOISE]
    assert error in found[DENOISE]
