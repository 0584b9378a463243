"""Decoding pathways restore what the classification network keeps, and touch nothing else."""

import pytest
import torch
from conftest import set_params

from pipeline.data import Batch
from pipeline.graph import Graph
from pipeline.learn import learn, load_parts
from pipeline.models import zhang
from pipeline.objectives import LOSSES
from pipeline.params import Augmented, load
from pipeline.shard import shard

TABLE_S1 = (1e-4, 1e-12, 1e-12, 1e-12, 1e-10)
AS_MEANS = (7.53, 4.0e-7, 2.0e-7, 1.0e-7, 5.0e-6)
SHAPES = ((3, 224, 224), (64, 112, 112), (128, 56, 56), (256, 28, 28), (512, 14, 14))


def augmented(*, switches="known", stacked=True):
    torch.manual_seed(0)
    return zhang.Augmented(
        zhang.Encoder(n=2), switches=switches, stacked=stacked, classes=4, side=37, hidden=(8,), dropout=0.0
    )


def parts(graph, stage, name):
    return load_parts(graph.training(stage, name, 0))


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def ready(workplace):
    graph = Graph(load())
    shard(graph.shards("imagenet-vgg"))
    return workplace


@pytest.mark.parametrize(("weight", "mean", "shape"), list(zip(TABLE_S1, AS_MEANS, SHAPES, strict=True)))
def test_weights_of_caffes_sums_are_weights_of_means(weight, mean, shape):
    assert zhang.mean_weight(weight, shape) == pytest.approx(mean, rel=0.01)
    error = torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))
    other = zhang.mean_weight(weight, shape) * zhang.mean(error)
    assert float(weight * zhang.caffe(error)) == pytest.approx(float(other), rel=1e-4)


@pytest.mark.parametrize("side", [6, 7, 23])
def test_known_switches_put_each_maximum_where_it_was(side):
    x = torch.randn(2, 3, side, side)
    pooled, where = torch.nn.functional.max_pool2d(x, 2, ceil_mode=True, return_indices=True)
    back = zhang.unpool(pooled, zhang.known(where, (side, side)), (side, side))
    assert torch.equal(back[back != 0], x[back != 0])
    assert (back != 0).sum() == pooled.numel()


def test_fixed_switches_are_the_bottom_right_and_stay_inside():
    where = torch.zeros(1, 1, 3, 2, dtype=torch.int64)
    back = zhang.unpool(torch.ones(1, 1, 3, 2), zhang.fixed(where, (5, 4)), (5, 4))
    assert back[0, 0].nonzero().tolist() == [[1, 1], [1, 3], [3, 1], [3, 3], [4, 1], [4, 3]]


def test_every_decoder_layer_but_the_images_ends_in_a_relu():
    model = augmented()
    with torch.no_grad():
        model.decoders[0][-1].bias.fill_(-9.0)
    maps, switches = model.encoder.maps(torch.randn(2, 3, 37, 37))
    image, *others = model.restored(maps, switches)
    assert image.min() < 0
    assert all(each.min() >= 0 for each in others)
    assert [each.shape for each in (image, *others)] == [each.shape for each in maps[:-1]]


def test_without_stacking_each_decoder_starts_from_the_encoders_map():
    model = augmented(stacked=False)
    maps, switches = model.encoder.maps(torch.randn(2, 3, 37, 37))
    before = model.restored(maps, switches)
    with torch.no_grad():
        model.decoders[4][0].weight.zero_()
    after = model.restored(maps, switches)
    assert not torch.equal(before[4], after[4])
    assert all(torch.equal(one, other) for one, other in zip(before[:4], after[:4], strict=True))


def test_the_gradient_flows_into_the_targets():
    model = augmented(stacked=False)
    maps, switches = model.encoder.maps(torch.randn(2, 3, 37, 37))
    restored = [each.detach() for each in model.restored(maps, switches)]
    (restored[1] - maps[1]).square().mean().backward()
    assert model.encoder.macros[0][0].weight.grad.abs().sum() > 0


def test_the_image_is_compared_in_rgb_between_0_and_1(workplace):
    run = load().finetune["zhang-sae-first"]
    model, std = augmented(switches="fixed"), torch.tensor([51.0, 51.0, 51.0]).view(1, 3, 1, 1)
    x = torch.randn(2, 3, 37, 37) * std
    batch = Batch(x, std, torch.zeros_like(std), torch.tensor([0, 1]), None, torch.arange(2))
    loss = LOSSES["augment"](model, batch, run, torch.Generator())
    maps, switches = model.encoder.maps(batch.x)
    image = (model.restored(maps, switches)[0] - batch.x).square().mean() * 0.04
    supervised = torch.nn.functional.cross_entropy(model(batch.x), batch.label)
    assert loss.item() == pytest.approx((image + supervised).item(), rel=1e-5)


def test_on_an_image_of_the_crops_size_everywhere_is_the_one_place():
    model = augmented().eval()
    x = torch.randn(3, 3, 37, 37)
    assert torch.allclose(model.everywhere(x), model(x), atol=1e-6)
    assert model.everywhere(torch.randn(1, 3, 90, 70)).shape == (1, 4)


def test_training_the_decoders_leaves_the_classification_network_bit_equal(ready):
    graph = Graph(load())
    learn(graph, "pretrain", "zhang-vgg", 0)
    learn(graph, "pretrain", "zhang-sae-layerwise", 0)
    before, after = (parts(graph, "pretrain", name) for name in ("zhang-vgg", "zhang-sae-layerwise"))
    assert all(equal(before[part], after[part]) for part in ("encoder", "head"))
    assert after["decoders"]["0.1.bias"].abs().sum() > 0


def test_with_lambda_zero_the_last_step_is_fine_tuning_alone(ready):
    path = "finetune__zhang-sae-layerwise__objective__augment__balance"
    set_params(ready, **{path: 0.0})
    graph = Graph(load())
    for stage, name in (
        ("pretrain", "zhang-vgg"),
        ("pretrain", "zhang-sae-layerwise"),
        ("finetune", "zhang-sae-layerwise"),
        ("finetune", "zhang-vgg"),
    ):
        learn(graph, stage, name, 0)
    ours, alone = (parts(graph, "finetune", name) for name in ("zhang-sae-layerwise", "zhang-vgg"))
    assert all(equal(ours[part], alone[part]) for part in ("encoder", "head"))
    assert not equal(alone["encoder"], parts(graph, "pretrain", "zhang-vgg")["encoder"])


def test_a_missing_file_of_weights_says_what_to_put_where(ready):
    set_params(ready, **{"pretrain__zhang-vgg__weights": "data/vgg16-397923af.pth"})
    with pytest.raises(ValueError, match=r"data/vgg16-397923af.pth is missing; put torchvision's VGG-16"):
        learn(Graph(load()), "pretrain", "zhang-vgg", 0)


def test_torchvisions_layers_become_ours_in_their_order():
    model = zhang.Classifier(zhang.Encoder(n=2), classes=4, side=32, hidden=(8, 8), dropout=0.0)
    tensors = {f"features.{i}": torch.randn_like(each) for i, each in enumerate(model.state_dict().values())}
    named = zhang.from_torchvision(tensors, model)
    assert next(iter(named)) == "encoder.macros.0.0.weight"
    assert list(named)[-1] == "head.7.bias"
    with pytest.raises(ValueError, match="n 64"):
        zhang.from_torchvision({"features.0.weight": torch.zeros(1)}, model)


def test_each_variant_has_as_many_weights_as_terms():
    with pytest.raises(ValueError, match="'first' wants 1"):
        Augmented(variant="first", switches="known", part="decoders", weights=(1.0, 1.0), norm="mean")
