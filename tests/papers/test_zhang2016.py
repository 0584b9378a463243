"""zhang2016: decoding pathways restore what the classification network keeps, without changing it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import set_params

from pipeline.config.reading import load
from pipeline.config.runs import Augment
from pipeline.config.typed import Choice
from pipeline.data import reader
from pipeline.data.batches import Batch, Batches, cut
from pipeline.data.crops import Boxes, central_boxes, random_boxes
from pipeline.data.images import Images, mirror
from pipeline.data.manifest import open_manifest
from pipeline.data.writer import shard
from pipeline.datasets.pixels import resized
from pipeline.evaluate import evaluate
from pipeline.loss_weights import loss_weights
from pipeline.models import classifiers, zhang
from pipeline.models.layers import Combinator, initialise
from pipeline.objectives import OBJECTIVES
from pipeline.objectives.augment import restoration
from pipeline.objectives.classify import outputs
from pipeline.papers import papers
from pipeline.results.figures import arrays
from pipeline.training.loop import steps
from pipeline.training.run import beginning, train
from pipeline.training.weights import load_parts
from pipeline.work.graph import Graph

TABLE_S1 = (1e-4, 1e-12, 1e-12, 1e-12, 1e-10)
AS_MEANS = (7.53, 4.0e-7, 2.0e-7, 1.0e-7, 5.0e-6)
SHAPES = ((3, 224, 224), (64, 112, 112), (128, 56, 56), (256, 28, 28), (512, 14, 14))
SIDE = 37  # of images whose sides are odd at most macro-layers


def augmented(network="vgg", *, top=None, switches="known", stacked=True, noise=None, side=SIDE, n=2):
    encoder = classifiers.Encoder(classifiers.NETWORKS[network](n))
    head = classifiers.Head(encoder, classes=4, side=side, hidden=(8, 6), dropout=0.0)
    levels = 5 if network == "vgg" else 8
    decoding = {"levels": levels, "top": top or levels, "switches": switches}
    made = (
        zhang.Augmented(encoder, head, stacked=stacked, **decoding)
        if noise is None
        else zhang.Ladder(encoder, head, noise=noise, **decoding)
    )
    initialise(made, "he", generator=torch.Generator().manual_seed(0))
    return made.eval()


def images(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def batch_of(x, label=None):
    one = torch.ones(1, x.shape[1], 1, 1)
    label = torch.zeros(len(x), dtype=torch.int64) if label is None else label
    return Batch(x, one, 0 * one, label, None, torch.arange(len(x)))


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def ready(workplace):
    """Few, tiny pictures: 10 pixels of 24."""
    set_params(workplace, scales__smoke__side=24)
    shard(Graph(load()).shards("imagenet-512"))
    return workplace


# Weights


@pytest.mark.parametrize(("weight", "mean", "shape"), list(zip(TABLE_S1, AS_MEANS, SHAPES, strict=True)))
def test_weights_of_caffes_sums_are_weights_of_means(weight, mean, shape):
    assert zhang.mean_weight(weight, shape) == pytest.approx(mean, rel=0.01)
    error = torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))
    other = zhang.mean_weight(weight, shape) * zhang.mean(error)
    assert float(weight * zhang.caffe(error)) == pytest.approx(float(other), rel=1e-4)


def test_the_image_has_the_weight_of_table_s1_in_every_run():
    params = load()
    runs = [run for stage in ("pretrain", "finetune") for run in params.runs(stage).values()]
    found = [run.objective.options for run in runs if run.objective.name == "augment"]
    assert len(found) > 20
    assert {(each.weights[0], each.norm) for each in found} == {(AS_MEANS[0], "mean")}


def test_balanced_losses_are_as_great_as_the_images(ready):
    for name in ("vgg", "vgg-swwae-layerwise"):
        train(Graph(load()), "pretrain", name, 0)
    training = Graph(load()).training("pretrain", "vgg-swwae-all", 0)
    train(Graph(load()), "pretrain", "vgg-swwae-all", 0)
    weights = json.loads(training.record.read_text())["loss_weights"]
    assert weights[0] == 7.53
    manifest = open_manifest(training.shards.manifest, "train")
    model = beginning(training, manifest)
    held = Images(manifest, stream_above_gb=8)
    every = np.arange(manifest.count)
    total = torch.zeros(5)
    for shift in range(40):  # crops that the weights were not measured on
        boxes = random_boxes(len(every), training.spec.augment, np.random.default_rng(shift))
        with torch.no_grad():
            _, errors, _ = restoration(model, cut(held, every, boxes, torch.device("cpu")), torch.Generator())
        total += torch.tensor([w * each.square().mean() for w, each in zip(weights, errors, strict=True)])
    assert total[1:].tolist() == pytest.approx([float(total[0])] * 4, rel=0.35)


def test_the_command_prints_the_weights_that_the_training_takes(ready, capsys):
    for name in ("vgg", "vgg-sae-layerwise"):
        train(Graph(load()), "pretrain", name, 0)
    loss_weights(Graph(load()), "pretrain.vgg-sae-layerwise", 0)
    printed = capsys.readouterr().out
    record = Graph(load()).training("pretrain", "vgg-sae-layerwise", 0).record
    taken = json.loads(record.read_text())["loss_weights"]
    assert printed == f"weights: [{', '.join(f'{each:.3e}' for each in taken)}]  # norm: mean\n"
    with pytest.raises(ValueError, match="has the objective 'classify'"):
        loss_weights(Graph(load()), "pretrain.vgg", 0)


def test_losses_are_balanced_as_the_frozen_head_makes_them_without_dropout(ready):
    """In training a frozen head is in eval mode: a weight measured with dropout would belong to other maps."""
    shard(Graph(load()).shards("imagenet-square"))
    train(Graph(load()), "pretrain", "alexnet", 0)
    training = Graph(load()).training("pretrain", "alexnet-sae-layerwise", 0)
    manifest = open_manifest(training.shards.manifest, "train")
    held = Images(manifest, stream_above_gb=8)
    batches = Batches(held, np.arange(manifest.count), training.spec.augment, batch=16, seed=0)
    model, losses = beginning(training, manifest), []
    found = (
        OBJECTIVES["augment"]
        .prepare(model, batches, training.spec, seed=0, device=torch.device("cpu"))
        .objective.options
    )
    for step in range(batches.steps):
        with torch.no_grad():
            _, errors, _ = restoration(model.eval(), batches.at(step, torch.device("cpu")), torch.Generator())
        losses.append([float(each.square().mean()) for each in errors])
    mean = np.mean(losses, axis=0)
    assert len(mean) == 8
    assert [weight * own for weight, own in zip(found.weights, mean, strict=True)] == pytest.approx(
        [7.53 * mean[0]] * 8, rel=1e-4
    )


def test_each_layerwise_decoder_learns_as_if_the_others_were_not_there(ready):
    """Five decoders in one training: a large gradient in one leaves the others' steps unchanged."""
    graph = Graph(load())
    train(graph, "pretrain", "vgg", 0)
    training = graph.training("pretrain", "vgg-sae-layerwise", 0)
    assert (training.spec.clip, training.spec.clip_each) == (1.0, ("decoders",))
    assert graph.training("pretrain", "vgg-sae-all", 0).spec.clip_each == ()
    manifest = open_manifest(training.shards.manifest, "train")
    held = Images(manifest, stream_above_gb=8)

    def decoders(weights):
        options = replace(training.spec.objective.options, weights=weights)
        spec = replace(training.spec, objective=Choice("augment", options), epochs=1)
        model = beginning(training, manifest)
        batches = Batches(held, np.arange(manifest.count), spec.augment, batch=16, seed=0)
        for _ in steps(
            model,
            lambda batch, generator: OBJECTIVES["augment"].loss(model, batch, spec, generator),
            batches,
            spec,
            seed=0,
            owner={},
            folder=training.folder,
            engine=graph.params.engine,
            device=torch.device("cpu"),
            stopping=(),
        ):
            pass
        return [each.state_dict() for each in model.decoders]

    usual, beside = decoders((7.53,) * 5), decoders((7.53, 7.53, 7.53e4, 7.53, 7.53))
    assert [equal(one, other) for one, other in zip(usual, beside, strict=True)] == [True] * 2 + [False] + [
        True
    ] * 2


# Switches and decoders


@pytest.mark.parametrize("side", [6, 7, 23])
def test_known_switches_put_each_maximum_where_it_was(side):
    x = images(2, 3, side, side)
    pooled, where = torch.nn.functional.max_pool2d(x, 2, ceil_mode=True, return_indices=True)
    back = zhang.unpool(pooled, zhang.known(where, (side, side)), (side, side))
    assert torch.equal(back[back != 0], x[back != 0])
    assert (back != 0).sum() == pooled.numel()


def test_unpooling_by_known_switches_is_torchs_own():
    x = images(2, 3, 8, 8)
    pooled, where = torch.nn.functional.max_pool2d(x, 2, return_indices=True)
    expected = torch.nn.functional.max_unpool2d(pooled, where, 2)
    assert torch.equal(zhang.unpool(pooled, where, (8, 8)), expected)


def test_overlapping_windows_with_one_switch_keep_the_greater_value():
    where = torch.tensor([[[[4, 4]]]])
    for values in ([1.0, 2.0], [2.0, 1.0]):
        back = zhang.unpool(torch.tensor([[[values]]]), where, (3, 5))
        assert back.flatten().tolist() == [0.0] * 4 + [2.0] + [0.0] * 10


def test_fixed_switches_are_at_the_bottom_right_inside_the_map():
    where = torch.zeros(1, 1, 3, 2, dtype=torch.int64)
    back = zhang.unpool(torch.ones(1, 1, 3, 2), zhang.fixed(where, (5, 4)), (5, 4))
    assert back[0, 0].nonzero().tolist() == [[1, 1], [1, 3], [3, 1], [3, 3], [4, 1], [4, 3]]


@pytest.mark.parametrize(("network", "side"), [("vgg", 37), ("vgg", 8), ("alexnet", 67), ("alexnet", 23)])
def test_every_map_is_decoded_in_its_shape_and_only_the_image_below_zero(network, side):
    model = augmented(network, side=side)
    with torch.no_grad():
        model.decoders[0][-1].bias.fill_(-9.0)
        maps, switches = model.maps(images(2, 3, side, side))
        image, *others = model.restored(maps, switches)
    assert image.min() < 0
    assert all(each.min() >= 0 for each in others)
    assert [each.shape for each in (image, *others)] == [each.shape for each in maps[:-1]]


def test_the_vggs_and_alexnets_layers_are_the_published_ones():
    sizes = {}
    for network, n, side in (("vgg", 64, 224), ("alexnet", 96, 227)):
        with torch.device("meta"):
            encoder = classifiers.Encoder(classifiers.NETWORKS[network](n))
            head = classifiers.Head(encoder, classes=1000, side=side, hidden=(4096, 4096), dropout=0.5)
        own = classifiers.Classifier(encoder, head)
        sizes[network] = (sum(each.numel() for each in own.parameters()), head.shape)
    assert sizes["vgg"] == (138_357_544, (512, 7, 7))
    assert sizes["alexnet"] == (60_965_224, (256, 6, 6))


def test_three_deconvolutions_lead_from_alexnets_first_layer_to_the_image():
    model = augmented("alexnet", side=227)
    layers = model.decoders[0]
    assert [(each.kernel_size[0], each.stride[0]) for each in layers] == [(4, 2), (5, 2), (3, 1)]
    maps, switches = model.maps(images(1, 3, 227, 227))
    assert switches[0].shape == (55, 55)
    assert [tuple(each.shape[2:]) for each in maps[:6]] == [
        (227, 227), (27, 27), (13, 13), (13, 13), (13, 13), (6, 6)
    ]  # fmt: skip


def test_a_pathway_starts_at_its_top_and_sees_nothing_above():
    low, high = augmented(top=2), augmented(top=5)
    with torch.no_grad():
        maps, switches = low.maps(images(2, 3, SIDE, SIDE))
        first = low.restored(maps, switches)
        assert len(first) == 2
        assert len(high.restored(maps, switches)) == 5
        low.decoders[2][0].weight.zero_()
        assert torch.equal(low.restored(maps, switches)[0], first[0])
        low.decoders[1][0].weight.zero_()
        assert not torch.equal(low.restored(maps, switches)[0], first[0])


def test_without_stacking_each_decoder_starts_from_the_encoders_map():
    model = augmented(stacked=False)
    maps, switches = model.maps(images(2, 3, SIDE, SIDE))
    before = model.restored(maps, switches)
    with torch.no_grad():
        model.decoders[4][0].weight.zero_()
    after = model.restored(maps, switches)
    assert not torch.equal(before[4], after[4])
    assert all(torch.equal(one, other) for one, other in zip(before[:4], after[:4], strict=True))


def test_the_gradient_flows_into_the_targets():
    model = augmented(stacked=False)
    with torch.no_grad():
        for each in model.decoders.parameters():  # zero weights restore 0
            each.zero_()
    _, errors, _ = restoration(model, batch_of(images(2, 3, SIDE, SIDE)), torch.Generator())
    errors[1].square().mean().backward()
    assert model.encoder.layers[0][0].weight.grad.abs().sum() > 0


def test_the_image_is_compared_in_rgb_between_0_and_1():
    run = load().finetune["vgg-sae-first"]
    model, std = augmented(switches="fixed"), torch.tensor([51.0, 51.0, 51.0]).view(1, 3, 1, 1)
    batch = Batch(images(2, 3, SIDE, SIDE) * std, std, 0 * std, torch.tensor([0, 1]), None, torch.arange(2))
    loss = OBJECTIVES["augment"].loss(model, batch, run, torch.Generator())
    maps, switches = model.maps(batch.x)
    image = (model.restored(maps, switches)[0] - batch.x).square().mean() * 0.04
    supervised = torch.nn.functional.cross_entropy(model(batch.x), batch.label)
    assert loss.item() == pytest.approx((7.53 * image + supervised).item(), rel=1e-5)


# The ladder


def test_an_untrained_combinator_passes_the_upper_map_on():
    lateral, above = images(2, 3, 4, 4), images(3, 2, 4, 4).reshape(2, 3, 4, 4)
    assert torch.equal(Combinator(3)(lateral, above), above)


def test_a_combinator_computes_the_ladders_formula():
    own = Combinator(1)
    a = [0.3, -0.5, 0.7, 0.2, -0.1, 0.4, 1.1, -0.3, 0.6, 0.05]
    with torch.no_grad():
        own.a.copy_(torch.tensor(a).view(10, 1))
    z, u = 0.8, -1.2

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    mu = a[0] * sigmoid(a[1] * u + a[2]) + a[3] * u + a[4]
    v = a[5] * sigmoid(a[6] * u + a[7]) + a[8] * u + a[9]
    found = own(torch.full((1, 1, 1, 1), z), torch.full((1, 1, 1, 1), u))
    assert float(found.detach()) == pytest.approx((z - mu) * v + mu, rel=1e-5)


def test_without_noise_the_combinators_can_copy_the_clean_maps_and_with_it_they_cannot():
    x = images(3, 3, SIDE, SIDE)
    for noise, wrong in ((0.0, False), (0.3, True)):
        model = augmented(noise=noise)
        with torch.no_grad():
            for each in model.lateral:  # mu 0 and v 1
                each.a.zero_()
                each.a[9] = 1.0
            clean, restored, _ = model.paths(x, torch.Generator().manual_seed(0))
        errors = [float((y - a).square().mean()) for y, a in zip(restored, clean, strict=False)]
        assert torch.equal(clean[0], x)
        assert [error > 1e-6 for error in errors] == [wrong] * 5


def test_the_ladders_noise_is_a_part_of_each_images_deviation_and_follows_from_the_generator():
    model, x = augmented(noise=0.3), images(3, 3, SIDE, SIDE) * torch.tensor([1.0, 5.0, 0.2]).view(3, 1, 1, 1)
    with torch.no_grad():
        model.lateral[0].a.zero_()
        model.lateral[0].a[9] = 1.0  # the image that comes back is the noisy one
        (_, one, top), (_, again, _), (_, other, _) = (
            model.paths(x, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
        )
    assert torch.equal(one[0], again[0])
    assert not torch.equal(one[0], other[0])
    parts = (one[0] - x).std(dim=(1, 2, 3)) / x.std(dim=(1, 2, 3))
    assert parts.tolist() == pytest.approx([0.3] * 3, rel=0.1)
    assert not torch.equal(top, model.encoder(x))  # the noisy path is what is classified
    each = [torch.Generator().manual_seed(seed) for seed in (7, 8, 9)]
    _, several, _ = model.paths(x, *each)
    _, alone, _ = model.paths(x[1:2], each[1].manual_seed(8))
    assert torch.allclose(several[0][1:2], alone[0], atol=1e-5)  # an image's own generator draws its noise


# Views


def test_dense_evaluation_of_an_image_of_the_crops_size_has_one_place():
    model = augmented()
    x = images(3, 3, SIDE, SIDE)
    assert torch.allclose(model.everywhere(x), model(x), atol=1e-6)
    assert model.everywhere(images(1, 3, 90, 70)).shape == (1, 4)


def test_the_posteriors_of_whole_images_and_of_their_mirrors_are_averaged(ready):
    """Simonyan and Zisserman's section 3.2: the score map is averaged first, then softmaxes are."""
    graph = Graph(load())
    shards, measurement = graph.shards("imagenet-512"), graph.measurement("finetune.vgg.whole", 0)
    held = Images(open_manifest(shards.manifest, "test"), stream_above_gb=8)
    spec = measurement.training.spec
    model = augmented(side=spec.augment.crop)
    with torch.no_grad():
        for layer in model.head.modules():
            if isinstance(layer, torch.nn.Linear):
                layer.weight.mul_(4)  # so that no posterior is near another
        scores, labels = outputs(model, held, np.arange(5), measurement, torch.device("cpu"))
        assert scores.sum(dim=1).tolist() == pytest.approx([1.0] * 5)
        assert torch.equal(labels, held.labels[:5])
        image = held.window(0).image(3)
        short = spec.augment.short[0]
        shape = tuple(round(length * short / min(image.shape[:2])) for length in image.shape[:2])
        pixels = torch.from_numpy(np.array(resized(image, shape))).permute(2, 0, 1)[None]
        x = (pixels - held.mean) / held.std
        both = [model.everywhere(each).softmax(dim=1) for each in (x, x.flip(-1))]
    assert not torch.allclose(*both, atol=1e-3)
    assert torch.allclose(scores[3], (both[0] + both[1])[0] / 2, atol=1e-5)


def test_a_box_at_a_short_side_is_the_box_of_the_image_brought_to_that_side():
    image = np.arange(60 * 80 * 3, dtype=np.uint32).reshape(60, 80, 3).astype(np.uint8)
    place = np.array([0.0])
    into = np.zeros((10, 10, 3), np.uint8)
    Boxes(10, place, place, np.array([False]), short=np.array([30])).cut([image], into[None])
    assert np.array_equal(into, np.asarray(resized(image[:20, :20], (10, 10))))
    Boxes(10, place, place, np.array([True]), short=np.array([60])).cut([image], into[None])
    mirror(into[None], np.array([True]))  # as the batch is, as a whole
    assert np.array_equal(into, image[:10, :10][:, ::-1])


def test_short_sides_are_drawn_for_each_image_and_measured_at_the_least():
    views = Augment(crop=8, short=(10, 20))
    drawn = random_boxes(2000, views, np.random.default_rng(0)).short
    assert (drawn.min() < 10.1, drawn.max() > 19.9, round(drawn.mean())) == (True, True, 15)
    assert central_boxes(3, views).short.tolist() == [10, 10, 10]
    with pytest.raises(ValueError, match="'short' is"):
        Augment(crop=12, short=(10, 20))


def test_scale_paper_stores_imagenet_at_its_training_size_and_others_take_ten_classes():
    graph = Graph(load(scale="paper"))
    spec = graph.training("finetune", "vgg-sae-all", 0).spec
    assert (spec.data.set, graph.shards("imagenet-512").dataset.side) == ("imagenet-512", 512)
    assert (spec.augment.crop, spec.augment.short, spec.augment.flip) == (224, (256, 512), True)
    assert (spec.batch, spec.optimiser.options.momentum, spec.epochs) == (64, 0.9, 16)
    decoders = graph.training("pretrain", "vgg-sae-all", 0).spec
    assert (decoders.batch, decoders.freeze) == (16, ("encoder", "head"))
    alexnet = graph.training("pretrain", "alexnet-swwae-8", 0)
    assert (alexnet.spec.augment.crop, alexnet.shards.dataset.square) == (227, True)
    reduced = Graph(load(scale="reduced")).training("finetune", "vgg-sae-all", 0)
    assert reduced.shards.name == "stl10"
    assert (reduced.spec.augment.crop, reduced.spec.augment.short) == (42, (48, 96))


# Runs


def test_training_the_decoders_leaves_the_classification_network_bit_equal(ready):
    graph = Graph(load())
    for name in ("vgg", "vgg-sae-layerwise", "vgg-sae-first"):
        train(graph, "pretrain", name, 0)
    first, second, third = (
        load_parts(graph.training("pretrain", name, 0))
        for name in ("vgg", "vgg-sae-layerwise", "vgg-sae-first")
    )
    for after in (second, third):
        assert all(equal(first[part], after[part]) for part in ("encoder", "head"))
    assert all(second["decoders"][f"{level}.0.bias"].abs().sum() > 0 for level in range(5))
    assert not equal(second["decoders"], third["decoders"])


def test_with_lambda_zero_the_last_step_is_fine_tuning_alone(ready):
    set_params(ready, **{"finetune__vgg-sae-layerwise__objective__augment__strength": 0.0})
    graph = Graph(load())
    for stage, name in (
        ("pretrain", "vgg"),
        ("pretrain", "vgg-sae-layerwise"),
        ("finetune", "vgg-sae-layerwise"),
        ("finetune", "vgg"),
    ):
        train(graph, stage, name, 0)
    ours, alone, start = (
        load_parts(graph.training(*label, 0))
        for label in (("finetune", "vgg-sae-layerwise"), ("finetune", "vgg"), ("pretrain", "vgg"))
    )
    assert all(equal(ours[part], alone[part]) for part in ("encoder", "head"))
    assert not equal(alone["encoder"], start["encoder"])


def test_every_pathway_begins_with_the_decoders_of_its_own_switches():
    params = load()
    for network, names in (("vgg", ("first-1", "first-4", "first", "all")), ("alexnet", ("1", "8"))):
        for kind, switches in (("sae", "fixed"), ("swwae", "known")):
            for name in names:
                run = params.pretrain[f"{network}-{kind}-{name}"]
                assert run.start == f"{network}-{kind}-layerwise"
                assert run.objective.options.switches == switches
                assert params.pretrain[run.start].objective.options.switches == switches
                assert params.pretrain[run.start].start == network
    for name, run in params.finetune.items():
        if name.startswith("vgg-"):
            assert run.start == name.removesuffix("-4").removesuffix("-16")  # more epochs, smaller batches


def test_a_ladder_and_a_pathway_are_trained_measured_and_kept(ready):
    graph = Graph(load())
    names = (
        "vgg",
        "vgg-sae-layerwise",
        "vgg-ladder",
        "alexnet",
        "alexnet-swwae-layerwise",
        "alexnet-swwae-8",
    )
    for name in names:
        train(graph, "pretrain", name, 0)
    train(graph, "finetune", "vgg-ladder", 0)
    for label in (
        "pretrain.vgg-ladder.decoded",
        "pretrain.alexnet-swwae-8.decoded",
        "pretrain.alexnet-swwae-8.tones",
        "finetune.vgg-ladder.whole",
    ):
        evaluate(graph, label, 0)
    measured = graph.measurement("pretrain.alexnet-swwae-8.decoded", 0)
    metrics = json.loads(measured.metrics.read_text())["metrics"]
    assert metrics["psnr"] > 5
    assert set(metrics) == {"psnr", *(f"error_{level}" for level in range(8))}
    assert arrays(measured)["restored"].shape == arrays(measured)["clean"].shape == (4, 21, 21, 3)
    shown = json.loads(graph.measurement("pretrain.alexnet-swwae-8.tones", 0).metrics.read_text())["metrics"]
    assert set(shown) == {"tone_share", "tone_kept"}
    assert 0 <= shown["tone_share"] < 50  # after two steps
    assert -5 < shown["tone_kept"] < 5  # it is still grey
    start, end = (load_parts(graph.training("pretrain", name, 0)) for name in ("vgg", "vgg-ladder"))
    assert equal(start["encoder"], end["encoder"])
    assert not torch.equal(end["lateral"]["0.a"], Combinator(3).a)


def test_the_training_error_reads_the_shards_of_the_images_that_are_measured_once(ready, monkeypatch):
    set_params(ready, evaluate__seen__images=20, engine__stream_above_gb=0)
    monkeypatch.setattr("pipeline.data.writer.SHARD_BYTES", 12_000)
    monkeypatch.setattr("pipeline.data.manifest.WINDOW", 16)
    graph = Graph(load())
    shard(graph.shards("imagenet-512"))
    train(graph, "pretrain", "vgg", 0)
    read, verified = [], reader._verified
    monkeypatch.setattr(reader, "_verified", lambda manifest, i: read.append(i) or verified(manifest, i))
    evaluate(graph, "pretrain.vgg.seen", 0)
    content = json.loads(graph.measurement("pretrain.vgg.seen", 0).metrics.read_text())
    assert (content["split"], content["images"]) == ("train", 20)
    manifest = open_manifest(graph.shards("imagenet-512").manifest, "train")
    assert len(manifest.windows) > 2
    assert read == [i for window in manifest.windows[:2] for i in window]


def test_a_missing_file_of_weights_says_what_to_put_where(ready):
    set_params(ready, pretrain__vgg__weights="vgg16-397923af.pth", pretrain__vgg__epochs=0)
    with pytest.raises(ValueError, match=r"vgg16-397923af.pth is missing; put torchvision's VGG-16 there"):
        train(Graph(load()), "pretrain", "vgg", 0)
    torch.save({"features.0.weight": torch.zeros(1)}, "vgg16-397923af.pth")
    with pytest.raises(ValueError, match="differ from the network in shape; torchvision's vgg16 needs"):
        train(Graph(load()), "pretrain", "vgg", 0)


def test_torchvisions_weights_see_the_pixels_that_they_were_trained_on():
    network = augmented()
    model = classifiers.Classifier(network.encoder, network.head)
    theirs = {f"features.{i}": each.clone() for i, each in enumerate(model.state_dict().values())}
    pixels = 127 + 50 * images(2, 3, SIDE, SIDE)

    def centred(mean, std):
        return (pixels - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)

    mean, std = (255 * torch.tensor(classifiers.TORCHVISION[name]) for name in ("mean", "std"))
    first = model.encoder.layers[0][0]
    expected = first(centred(mean, std)), model(centred(mean, std))
    ours = torch.tensor([120.0, 90.0, 101.0]), torch.tensor([70.0, 60.0, 65.0])
    model.load_state_dict(classifiers.from_torchvision(theirs, model, mean=ours[0], std=ours[1]))
    inside = (slice(None), slice(None), slice(1, -1), slice(1, -1))  # at the edge zeros are another grey
    assert torch.allclose(first(centred(*ours))[inside], expected[0][inside], atol=1e-4)
    model.load_state_dict(classifiers.from_torchvision(theirs, model, mean=mean, std=ours[1]))
    assert torch.allclose(model(centred(mean, ours[1])), expected[1], atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"vgg-sae-all__objective__augment__weights": [1.0, 1.0]}, "has 2 numbers; 'all' needs 1 or 5"),
        ({"vgg-sae-first__objective__augment__weights": [1.0] * 5}, "has 5 numbers; 'first' needs 1"),
        ({"vgg-sae-first__objective__augment__top": 6}, "top is 6; 1 to 5 are allowed"),
        ({"vgg-sae-all__objective__augment__noise": 0.3}, "noise is for the variant 'ladder'"),
        ({"vgg__objective": {"classify": {"hidden": [8]}}}, "'vgg' includes its head"),
        ({"vgg__objective": {"denoise": {"shortcuts": "full"}}}, "does not go with the network 'vgg'"),
        ({"alexnet__weights": "a.pth"}, "weights is for the network 'vgg'"),
        ({"vgg__clip_each": ["encoder"]}, "'clip_each' names parts with separate norms: set 'clip', too"),
        ({"cifar10-pixel__evaluate": ["whole"]}, "'mirrored' goes with 'everywhere' and is for the networks"),
        ({"cifar10-pixel__evaluate": ["uncropped"]}, "'vgg' and 'alexnet' and the objective 'segment'"),
    ],
)
def test_impossible_augmentations_are_refused(workplace, changes, said):
    if "denoise" in str(changes):
        changes |= {"vgg__corruption": {"fixed_gaussian": {"sigma": 1.0}}}
    set_params(workplace, **{f"pretrain__{name}": value for name, value in changes.items()})
    with pytest.raises(ValueError, match=said):
        load()


# The paper

# Row by row as the paper prints them, read from its text: 2 + 2 cited, then 6 a row.
PRINTED = [
    27.0, 8.8, 26.8, 8.7,
    17.43, 29.05, 4.02, 10.07, 26.97, 8.94,
    15.36, 27.70, 3.13, 9.28, 26.09, 8.30,
    15.64, 27.54, 3.23, 9.17, 26.10, 8.21,
    16.20, 27.60, 3.42, 9.19, 26.06, 8.17,
    15.10, 27.60, 3.08, 9.23, 25.87, 8.14,
    15.67, 27.39, 3.24, 9.06, 25.79, 8.13,
    15.42, 27.53, 3.32, 9.10, 25.97, 8.20,
]  # fmt: skip


def test_every_printed_number_is_in_its_cell():
    cells = [cell for _, _, cell in papers()["zhang2016"].tables["table1"].cells()]
    assert [cell.paper for cell in cells if cell.paper is not None] == PRINTED
    assert sum(cell.state == "cited" for cell in cells) == 4


def test_figures_4_and_5_decode_from_every_layer_by_both_kinds_of_switches():
    figures, runs = papers()["zhang2016"].figures, load().pretrain
    layers = {"figure4": 8, "figure5": 5}
    for name, count in layers.items():
        lines = figures[name].draw.options.lines
        assert [len(line) for line in lines.values()] == [count, count]
        for line in lines.values():
            tops = [runs[of.split(".")[1]].objective.options.top or 5 for of in line.values()]
            assert tops == list(range(1, count + 1))
