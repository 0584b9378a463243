"""dong2016's and dong2017's networks: their shapes, their sizes, and what their shortcuts carry."""

from itertools import pairwise

import pytest
import torch
from torch.nn.functional import relu

from pipeline.models.classifiers import alexnet
from pipeline.models.dong import (
    SHORTCUTS,
    AutoEncoder,
    Classifier,
    Encoder,
    Segmenter,
    all_cnn_c,
    network_1,
    network_2,
    strided_alexnet,
)
from pipeline.models.layer_costs import count
from pipeline.models.layers import INITS, Conv, initialise

NARROW = {
    "cifar": network_1(n=4, m=[5, 5, 5, 0]),
    "stl": network_1(n=4, m=[3, 3, 4, 5]),
    "voc": network_2(n=4),
    "all-cnn-c": all_cnn_c(n=4),
    "alexnet": strided_alexnet(n=4),
}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def autoencoder(network, shortcuts="full", **options):
    model = AutoEncoder(Encoder(network, eps=1e-5, **options), shortcuts=shortcuts)
    initialise(model, "he", generator=seeded())
    return model


def classifier(network, **options):
    model = Classifier(Encoder(network, eps=1e-5), **{"pool": True, "dropout": 0.0, **options})
    initialise(model, "he", generator=seeded())
    return model


def images(side, *, count=3):
    return torch.randn(count, 3, side, side, generator=seeded(1))


def assert_gradients(model, loss):
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("side", [28, 29, 32, 33, 64, 89, 225])
@pytest.mark.parametrize("shortcuts", SHORTCUTS)
@pytest.mark.parametrize("name", NARROW)
def test_an_auto_encoder_keeps_the_images_size_and_trains_every_weight(name, shortcuts, side):
    model, x = autoencoder(NARROW[name], shortcuts), images(side)
    y = model(x)
    assert y.shape == x.shape
    assert y.isfinite().all()
    assert_gradients(model, (y - images(side).flip(0)).square().mean())


@pytest.mark.parametrize("size", [(29, 33), (30, 64)])
def test_images_need_not_be_square(size):
    x = torch.randn(2, 3, *size, generator=seeded())
    assert autoencoder(NARROW["cifar"])(x).shape == x.shape


def test_networks_are_those_of_table_1():
    def shown(network):
        return " ".join(f"{c.channels}{'/2' if c.stride == 2 else ''}" for c in network)

    voc = "64 64/2 128 128/2 256 256 256/2 512 512 512/2 512 512 512/2"
    cifar = "64 64 64 64 64/2 128 128 128 128 128/2 256 256 256 256 256/2"
    stl = "64 64 64/2 128 128 128/2 256 256 256 256/2 512 512 512 512 512/2"
    assert shown(network_1(n=64, m=[5, 5, 5, 0])) == cifar
    assert shown(network_1(n=64, m=[3, 3, 4, 5])) == stl
    assert shown(network_2(n=64)) == voc
    assert shown(all_cnn_c(n=96)) == "96 96 96/2 192 192 192/2 192 192"
    assert [layer.kernel for layer in all_cnn_c(n=96)] == [3] * 7 + [1]


def test_strided_alexnet_has_alexnets_widths_and_kernels_and_the_strides_of_its_pooling():
    network = strided_alexnet(n=96)
    shown = [(layer.channels, layer.kernel, layer.stride) for layer in network]
    assert shown == [(96, 11, 8), (256, 5, 2), (384, 3, 1), (384, 3, 1), (256, 3, 2)]
    published = [macro.convs[-1] for macro in alexnet(96)]
    assert [layer.channels for layer in network] == [conv.channels for conv in published]
    assert [layer.kernel for layer in network] == [conv.kernel for conv in published]
    maps = Encoder(NARROW["alexnet"], eps=1e-5).maps(images(225))
    assert [each.shape[-1] for each in maps] == [29, 15, 15, 15, 8]


def test_sides_halve_as_the_paper_says():
    def sides(network, side):
        maps = Encoder(network, eps=1e-5).maps(images(side))
        return [side, *(to.shape[-1] for of, to in pairwise(maps) if of.shape[-1] != to.shape[-1])]

    assert sides(NARROW["cifar"], 29) == [29, 15, 8, 4]
    assert sides(NARROW["stl"], 89) == [89, 45, 23, 12, 6]
    assert sides(NARROW["voc"], 225) == [225, 113, 57, 29, 15, 8]
    assert Encoder(NARROW["voc"], eps=1e-5).side(225) == 8


def test_the_forward_pass_ends_in_the_last_map():
    for activation in ("post", "pre"):
        encoder = Encoder(NARROW["cifar"], eps=1e-5, activation=activation)
        assert torch.equal(encoder(images(29)), encoder.maps(images(29))[-1])


@pytest.mark.parametrize(
    ("network", "partners", "depth"),
    [
        (NARROW["cifar"], [0, 2, 4, 6, 8, 10, 12, 14], 15),
        (NARROW["stl"], [0, 2, 4, 6, 8, 10, 12, 14], 15),
        (network_1(n=4, m=[4, 4, 4, 4]), [0, 2, 4, 6, 8, 10, 12, 14], 16),
        (NARROW["voc"], [0, 2, 4, 6, 8, 10, 12], 13),
        (NARROW["all-cnn-c"], [0, 2, 4, 6], 8),
        (NARROW["alexnet"], [0, 2, 4], 5),
    ],
)
def test_every_second_layer_is_paired_with_its_mirror(network, partners, depth):
    assert autoencoder(network).pairs == [(layer, depth - layer) for layer in partners]
    assert autoencoder(network, "input_output").pairs == [(0, depth)]
    assert autoencoder(network, "none").pairs == []


@pytest.mark.parametrize("activation", ["post", "pre"])
@pytest.mark.parametrize("shortcuts", SHORTCUTS)
def test_past_a_dead_bottleneck_only_maps_with_shortcuts_reach_the_output(shortcuts, activation):
    model = autoencoder(NARROW["voc"], shortcuts, activation=activation)
    maps = [map.detach().requires_grad_() for map in model.encoder.maps(images(33))]
    model.decoder([*maps[:-1], torch.zeros_like(maps[-1])]).square().sum().backward()
    reached = [layer for layer, map in enumerate(maps, start=1) if map.grad is not None and map.grad.any()]
    assert reached == [layer for layer, _ in model.pairs if layer > 0]


def test_shortcuts_change_the_function_of_the_same_weights():
    outputs = {}
    for shortcuts in SHORTCUTS:
        model = autoencoder(NARROW["cifar"], shortcuts)
        outputs[shortcuts] = model(images(29))
    assert torch.allclose(outputs["input_output"] - images(29), outputs["none"], atol=1e-5)
    assert not torch.allclose(outputs["full"], outputs["input_output"], atol=1e-2)


@pytest.mark.parametrize("activation", ["post", "pre"])
def test_three_layers_compute_the_formula(activation):
    model = autoencoder([Conv(4), Conv(4, stride=2), Conv(5)], activation=activation)
    e, d, x = model.encoder, model.decoder, images(8)
    a1 = e.convs[0](x)
    a2 = e.convs[1](relu(e.norms[0](a1)))
    h3 = relu(e.norms[2](e.convs[2](relu(e.norms[1](a2)))))
    up = d.convs[0](h3)
    u1 = {"post": relu(d.norms[0](up) + relu(e.norms[1](a2))), "pre": relu(d.norms[0](up + a2))}[activation]
    u2 = relu(d.norms[1](d.convs[1](u1, output_size=(8, 8))))
    assert torch.allclose(model(x), x + model.output(u2), atol=1e-5)


def test_an_untrained_residual_network_returns_its_input():
    model = autoencoder(NARROW["cifar"], "input_output")
    torch.nn.init.zeros_(model.output.weight)
    assert torch.equal(model(images(29)), images(29))


# parameters in millions, forward + backward in GFLOP an image: auto-encoder, then classifier
@pytest.mark.parametrize(
    ("network", "side", "head", "millions", "gigaflops"),
    [
        (network_1(n=64, m=[5, 5, 5, 0]), 29, {}, (6.9, 3.5), (4.44, 2.22)),
        (network_1(n=128, m=[5, 5, 5, 0]), 29, {}, (27.7, 13.9), (17.7, 8.85)),
        (network_1(n=64, m=[3, 3, 4, 5]), 89, {}, (26.3, 13.1), (36.5, 18.2)),
        (network_1(n=64, m=[2, 2, 3, 3]), 89, {}, (15.3, 7.6), (17.5, 8.75)),
        (
            network_2(n=64),
            225,
            {"classes": 20, "pool": False, "hidden": [4096, 4096], "dropout": 0.5},
            (29.4, 165.8),
            (120.7, 61.1),
        ),
    ],
)
def test_networks_at_the_papers_width_cost_what_they_should(network, side, head, millions, gigaflops):
    with torch.device("meta"):
        encoder = Encoder(network, eps=1e-5)
        head = {"classes": 10, "pool": True, "dropout": 0.0, **head}
        models = AutoEncoder(encoder, shortcuts="full"), Classifier(encoder, side=side, **head)
    for model, parameters, work in zip(models, millions, gigaflops, strict=True):
        layers = count(model, side=side, channels=3)
        forward = sum(layer.flops for layer in layers)
        assert sum(layer.parameters for layer in layers) == sum(p.numel() for p in model.parameters())
        assert sum(layer.parameters for layer in layers) / 1e6 == pytest.approx(parameters, abs=0.05)
        assert (3 * forward - layers[0].flops) / 1e9 == pytest.approx(work, rel=3e-3)


def test_counting_multiplications_leaves_the_network_unchanged():
    model = autoencoder([Conv(4), Conv(6, stride=2)])
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    rows = {layer.name: layer for layer in count(model, side=5, channels=3)}
    assert rows["encoder.convs.1"].output == (6, 3, 3)
    assert rows["encoder.convs.1"].parameters == 6 * 4 * 9
    assert rows["encoder.convs.1"].flops == 2 * 9 * 4 * 6 * 9
    assert rows["decoder.convs.0"].output == (4, 5, 5)
    assert rows["decoder.convs.0"].flops == 2 * 9 * 4 * 6 * 9
    assert rows["encoder.norms.1"].parameters == 12
    assert list(rows) == [
        "encoder.convs.0", "encoder.norms.0", "encoder.convs.1", "encoder.norms.1",
        "decoder.convs.0", "decoder.norms.0", "output",
    ]  # fmt: skip
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("name", "down", "up", "linear"),
    [
        ("gaussian", 0.01, 0.01, 0.01),
        ("he", (2 / (9 * 64)) ** 0.5, (2 / (9 * 128)) ** 0.5, (2 / 128) ** 0.5),
        ("xavier", (2 / (9 * 192)) ** 0.5, (2 / (9 * 192)) ** 0.5, (2 / 1128) ** 0.5),
    ],
)
def test_initialisations_have_the_expected_standard_deviation(name, down, up, linear):
    parts = torch.nn.ModuleList(
        [
            torch.nn.Conv2d(64, 128, 3),
            torch.nn.ConvTranspose2d(128, 64, 3),
            torch.nn.Linear(128, 1000),
            torch.nn.BatchNorm2d(8),
        ]
    )
    torch.nn.init.normal_(parts[3].weight)
    initialise(parts, name, generator=seeded())
    for part, spread in zip(parts, (down, up, linear), strict=False):
        assert part.weight.std().item() == pytest.approx(spread, rel=0.02)
        assert part.weight.mean().item() == pytest.approx(0, abs=0.02 * spread)
        assert not part.bias.any()
    assert (parts[3].weight == 1).all()
    assert not parts[3].bias.any()


@pytest.mark.parametrize("name", INITS)
def test_weights_follow_from_the_generator_alone(name):
    model = autoencoder(NARROW["cifar"])
    drawn, state = [], torch.random.get_rng_state()
    for seed in (7, 7, 8):
        initialise(model.to(memory_format=torch.channels_last), name, generator=seeded(seed))
        drawn.append([parameter.detach().clone() for parameter in model.parameters() if parameter.ndim > 1])
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(drawn[0], drawn[1], strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(drawn[0], drawn[2], strict=True))
    assert not any(a.shape == b.shape and torch.equal(a, b) for a, b in pairwise(drawn[0]))


def test_the_memory_layout_does_not_change_initial_weights():
    plain, last = (
        autoencoder(NARROW["cifar"]),
        AutoEncoder(Encoder(NARROW["cifar"], eps=1e-5), shortcuts="full"),
    )
    initialise(last.to(memory_format=torch.channels_last), "he", generator=seeded())
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), last.parameters(), strict=True))


def test_maps_stay_in_channels_last():
    model = autoencoder(NARROW["cifar"]).to(memory_format=torch.channels_last)
    x = images(29).to(memory_format=torch.channels_last)
    assert all(map.is_contiguous(memory_format=torch.channels_last) for map in model.encoder.maps(x))
    assert model(x).is_contiguous(memory_format=torch.channels_last)


def test_pretrained_parts_are_loaded_whole_into_the_next_network():
    pretrained = autoencoder(NARROW["voc"])
    pretrained(images(33))
    segmenter = Segmenter(autoencoder(NARROW["voc"], "none"), classes=21)
    classify = classifier(NARROW["voc"], classes=20, side=33)
    for model in (segmenter, classify):
        initialise(model, "he", generator=seeded(5))
        model.encoder.load_state_dict(pretrained.encoder.state_dict())
        assert torch.equal(model.encoder.eval()(images(33)), pretrained.encoder.eval()(images(33)))
    segmenter.decoder.load_state_dict(pretrained.decoder.state_dict())
    assert [name for name, _ in pretrained.named_children()] == ["encoder", "decoder", "output"]
    assert [name for name, _ in segmenter.named_children()] == ["encoder", "decoder", "head"]
    assert [name for name, _ in classify.named_children()] == ["encoder", "head"]
    with pytest.raises(RuntimeError, match="Missing key"):
        autoencoder(NARROW["cifar"]).encoder.load_state_dict(
            autoencoder(NARROW["cifar"][:-1]).encoder.state_dict()
        )


@pytest.mark.parametrize(
    ("network", "side", "options"),
    [
        ("cifar", 29, {"classes": 10, "pool": True}),
        ("all-cnn-c", 32, {"classes": 10, "pool": True}),
        ("voc", 65, {"classes": 20, "pool": False, "hidden": [16, 16], "dropout": 0.5}),
    ],
)
def test_a_classifier_scores_every_class_and_trains_every_weight(network, side, options):
    model = classifier(NARROW[network], side=side, **options)
    y = model(images(side, count=8))
    assert y.shape == (8, options["classes"])
    assert_gradients(model, torch.nn.functional.cross_entropy(y, torch.arange(8)))


def test_dropout_follows_every_hidden_layer_and_is_refused_without_one():
    model = classifier(NARROW["voc"], classes=20, side=33, pool=False, hidden=[16, 16], dropout=0.5)
    kinds = [type(layer).__name__ for layer in model.head]
    assert kinds == ["Flatten", "Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear"]
    with pytest.raises(ValueError, match="without hidden layers"):
        classifier(NARROW["voc"], classes=20, side=33, dropout=0.5)


@pytest.mark.parametrize("side", [33, 64, 225])
@pytest.mark.parametrize("shortcuts", SHORTCUTS)
def test_a_segmenter_scores_every_pixel_and_trains_every_weight(shortcuts, side):
    model = Segmenter(autoencoder(NARROW["voc"], shortcuts), classes=21)
    initialise(model, "he", generator=seeded())
    y = model(images(side))
    assert y.shape == (3, 21, side, side)
    assert (0, 13) not in model.pairs
    assert_gradients(model, y.square().mean() + y.mean())


def test_a_network_that_begins_by_halving_cannot_segment():
    with pytest.raises(ValueError, match="begin with a layer of stride 1"):
        Segmenter(autoencoder(network_1(n=4, m=[1, 2])), classes=21)


def test_training_is_the_same_to_the_bit_under_deterministic_algorithms():
    def gradients():
        model = autoencoder(NARROW["voc"])
        model(images(33)).square().mean().backward()
        return [parameter.grad for parameter in model.parameters()]

    torch.use_deterministic_algorithms(True)
    try:
        assert all(torch.equal(a, b) for a, b in zip(gradients(), gradients(), strict=True))
        classifier(NARROW["cifar"], classes=10, side=29)(images(29)).square().mean().backward()
        Segmenter(autoencoder(NARROW["voc"]), classes=3)(images(33)).square().mean().backward()
    finally:
        torch.use_deterministic_algorithms(False)
