"""masci2011: tied weights stay tied, pooling keeps one value per region, and layers below stay frozen."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import set_params
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import conv2d, pad

from pipeline.config.optimisers import Sgd
from pipeline.config.reading import load
from pipeline.corruptions import binomial
from pipeline.data.batches import Batch, Batches
from pipeline.data.images import Images
from pipeline.data.manifest import open_manifest
from pipeline.data.views import central_crops
from pipeline.data.writer import shard
from pipeline.evaluate import evaluate
from pipeline.measures import filter_statistics
from pipeline.measures.metrics import linear_svm_error
from pipeline.models.layers import initialise
from pipeline.models.masci import AutoEncoder, Classifier, Encoder, ScaledTanh, erased, pooled
from pipeline.objectives import OBJECTIVES
from pipeline.papers import CLAIMS
from pipeline.results.claims import TESTS
from pipeline.results.drawings.masci import sheet
from pipeline.results.figures import arrays
from pipeline.results.statistics import ALPHA, Decision
from pipeline.search import search
from pipeline.system.files import RESULTS, read_lines
from pipeline.training.optimisers import OPTIMISERS
from pipeline.training.run import beginning, train
from pipeline.training.weights import load_parts
from pipeline.work.graph import Graph

LECUN = (1.7159, 2 / 3)


def encoder(*, channels: int = 2, seed: int = 0, **changes) -> Encoder:
    options = {"maps": (6, 5, 4), "kernels": (5, 3, 3), "pools": (2, 2, 1), "tanh": LECUN} | changes
    made = Encoder(channels=channels, **options)
    initialise(made, "xavier", generator=torch.Generator().manual_seed(seed))
    return made


def images(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def by_hand(model: AutoEncoder, x: torch.Tensor) -> torch.Tensor:
    """y = sigma(sum over k of h^k * ~W^k + c), the flipped kernels slid over h with zeros around it."""
    conv = model.encoder.layer(model.layer)
    h = model.encoder.code(x, model.layer)
    h = erased(h, model.encoder.pools[model.layer - 1])
    flipped = conv.weight.flip(2, 3).transpose(0, 1)
    border = 0 if model.encoder.full else conv.kernel_size[0] - 1
    y = conv2d(pad(h, [border] * 4), flipped) + model.output.bias.view(1, -1, 1, 1)
    return 1.7159 * torch.tanh(2 / 3 * y)


@pytest.mark.parametrize("full", [False, True])
def test_the_decoders_weight_is_the_flipped_encoders_also_after_steps_of_training(full):
    model = AutoEncoder(encoder(full=full), layer=1)
    optimiser = OPTIMISERS["sgd"](list(model.parameters()), Sgd(lr=0.5, momentum=0.0))
    x, before = images(3, 2, 13, 13), model.encoder.layer(1).weight.detach().clone()
    for _ in range(5):
        assert torch.allclose(model(x), by_hand(model, x), atol=1e-5)
        model.zero_grad()
        (model(x) - x).square().mean().backward()
        optimiser.step()
    assert torch.allclose(model(x), by_hand(model, x), atol=1e-5)
    assert not torch.allclose(model.encoder.layer(1).weight, before, atol=1e-3)
    assert {name for name, _ in model.output.named_parameters()} == {"bias"}
    assert model.output.bias.shape == (2,)


@pytest.mark.parametrize(("full", "side"), [(False, 8), (True, 16)])
def test_valid_and_full_convolutions_both_decode_to_the_images_size(full, side):
    model = AutoEncoder(encoder(full=full, pools=(1, 1, 1)), layer=1)
    x = images(1, 2, 12, 12)
    assert model.encoder.code(x, 1).shape == (1, 6, side, side)
    assert model(x).shape == x.shape


def test_the_default_activation_is_lecuns_tanh():
    x = torch.tensor([-1.0, 0.0, 1.0, 100.0])
    assert torch.allclose(ScaledTanh(a=1.7159, b=2 / 3)(x), torch.tensor([-1.0, 0, 1.0, 1.7159]), atol=1e-4)
    assert load().pretrain["mnist-cae-1"].network.options.tanh == LECUN


@settings(deadline=None, max_examples=60)
@given(
    size=st.integers(1, 4),
    height=st.integers(1, 11),
    width=st.integers(1, 11),
    levels=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_max_pooling_keeps_one_value_of_each_region_also_among_equals(size, height, width, levels, seed):
    generator = torch.Generator().manual_seed(seed)
    h = torch.randint(1, levels + 1, (2, 3, height, width), generator=generator).float() - 10
    kept = erased(h, size)
    for top in range(0, height, size):
        for left in range(0, width, size):
            region = slice(top, top + size), slice(left, left + size)
            own, all_of_it = kept[:, :, *region].flatten(2), h[:, :, *region].flatten(2)
            assert ((own != 0).sum(dim=2) == 1).all()
            assert torch.equal(own.amin(dim=2), all_of_it.amax(dim=2))
    assert torch.equal(erased(h, size), kept)
    last = h.contiguous(memory_format=torch.channels_last)
    assert torch.equal(erased(last, size), kept)
    assert torch.equal(erased(h, 1), h)


def test_erased_values_get_no_gradient():
    h = images(2, 3, 6, 6).requires_grad_()
    erased(h, 2).sum().backward()
    assert torch.equal(h.grad.view(2, 3, 3, 2, 3, 2).sum(dim=(3, 5)), torch.ones(2, 3, 3, 3))
    assert torch.equal(h.grad != 0, erased(h, 2) != 0)


def test_a_layer_gets_the_pooled_codes_of_those_below():
    stack, x = encoder(), images(2, 2, 20, 20)
    assert torch.equal(stack.below(x, 1), x)
    assert torch.equal(stack.below(x, 2), pooled(stack.code(x, 1), 2))
    assert torch.equal(stack.below(x, 3), pooled(stack.code(stack.below(x, 2), 2), 2))
    assert torch.equal(stack(x), stack.code(stack.below(x, 3), 3))
    assert stack(x).shape[2] == stack.side(20)


def test_the_networks_sides_and_sizes_are_the_papers():
    spec = load().finetune["mnist-cae-1k"].network.options
    made = Encoder(channels=1, maps=spec.maps, kernels=spec.kernels, pools=spec.pools, tanh=spec.tanh)
    assert [made.side(28), made.side(32)] == [2, 3]
    model = Classifier(made, classes=10, side=28, hidden=(300,))
    shapes = [tuple(each.shape) for each in model.parameters() if each.ndim > 1]
    assert shapes == [(100, 1, 5, 5), (150, 100, 5, 5), (200, 150, 3, 3), (300, 800), (10, 300)]
    assert model(images(2, 1, 28, 28)).shape == (2, 10)


def test_images_smaller_than_the_convolutions_need_are_refused():
    with pytest.raises(ValueError, match="8 x 8 pixels are too few"):
        encoder().side(8)


@pytest.fixture
def digits(workplace):
    """Drawn digits, a little larger than other tests' images: three valid convolutions need 26 pixels."""
    set_params(workplace, scales__smoke__side=26)
    shard(Graph(load()).shards("mnist"))
    return Graph(load())


def test_pretraining_a_layer_leaves_the_layers_below_bit_equal(digits):
    for layer in (1, 2, 3):
        training = digits.training("pretrain", f"mnist-cae-{layer}", 0)
        began = beginning(training, open_manifest(training.shards.manifest, "train")).encoder.state_dict()
        train(digits, "pretrain", f"mnist-cae-{layer}", 0)
        ended = load_parts(training)["encoder"]
        moved = {name for name in began if not torch.equal(began[name], ended[name])}
        assert moved == {f"convs.{layer - 1}.weight", f"convs.{layer - 1}.bias"}
        if layer > 1:
            below = load_parts(digits.training("pretrain", f"mnist-cae-{layer - 1}", 0))["encoder"]
            assert all(
                torch.equal(below[f"convs.{k}.{kind}"], ended[f"convs.{k}.{kind}"])
                for k in range(layer - 1)
                for kind in ("weight", "bias")
            )
    fine = digits.training("finetune", "mnist-cae-1k", 0)
    made = beginning(fine, open_manifest(fine.shards.manifest, "train"))
    assert all(torch.equal(value, ended[name]) for name, value in made.encoder.state_dict().items())


def test_codes_below_a_layer_are_computed_once_an_image_and_read_back_bit_equal(digits, monkeypatch):
    for layer in (1, 2):
        train(digits, "pretrain", f"mnist-cae-{layer}", 0)
    training = digits.training("pretrain", "mnist-cae-3", 0)
    manifest, device = open_manifest(training.shards.manifest, "train"), torch.device("cpu")
    held = Images(manifest, stream_above_gb=8, raw=True)
    shuffled = Batches(held, np.arange(manifest.count), training.spec.augment, batch=16, seed=0)
    assert manifest.count == 3 * 16

    def losses() -> tuple[list[float], int]:
        model, calls = beginning(training, manifest), []
        model.encoder.layer(1).register_forward_hook(lambda *_: calls.append(1))
        every = [
            OBJECTIVES["cae"].loss(model, shuffled.at(step, device), training.spec, torch.Generator()).item()
            for step in range(4 * shuffled.steps)
        ]
        return every, len(calls)

    found, calls = losses()
    assert calls == shuffled.steps  # of four epochs, the first's
    monkeypatch.setattr("pipeline.models.masci.CODES_BYTES", 0)
    again, calls = losses()
    assert calls == 4 * shuffled.steps  # one a step, not two
    assert found == again


def test_codes_are_cached_only_for_images_without_augmentation(digits):
    training = digits.training("pretrain", "mnist-cae-2", 0)
    spec, manifest = training.spec, open_manifest(training.shards.manifest, "train")
    noise = load().pretrain["mnist-filters-d"].corruption
    side = spec.augment.crop
    assert OBJECTIVES["cae"].build(spec, manifest).codes is not None
    assert OBJECTIVES["cae"].build(digits.training("pretrain", "mnist-cae-1", 0).spec, manifest).codes is None
    for changes in (
        {"corruption": noise},
        {"augment": replace(spec.augment, flip=True)},
        {"augment": replace(spec.augment, pad=2)},
        {"augment": replace(spec.augment, crop=side - 1)},
        {"augment": replace(spec.augment, short=(side, side + 2))},
    ):
        assert OBJECTIVES["cae"].build(replace(spec, **changes), manifest).codes is None


@pytest.mark.parametrize("kind", ["mnist", "cifar10"])
def test_a_step_moves_every_layers_weights_at_the_papers_width(digits, kind):
    shard(digits.shards(kind))
    manifest = open_manifest(digits.shards(kind).manifest, "train")
    held = Images(manifest, stream_above_gb=8, raw=True)
    for layer in (1, 2, 3):
        run = load().pretrain[f"{kind}-cae-{layer}"]
        run = replace(run, augment=replace(run.augment, crop=26))
        model = OBJECTIVES["cae"].build(run, manifest)
        initialise(model, run.init, generator=torch.Generator().manual_seed(0))
        batch = Batches(held, np.arange(16), run.augment, batch=16, seed=0).at(0, torch.device("cpu"))
        OBJECTIVES["cae"].loss(model, batch, run, torch.Generator()).backward()
        weight = model.encoder.layer(layer).weight
        step = run.optimiser.options.lr * float(weight.grad.norm() / weight.norm())
        assert 5e-4 < step < 1, (layer, step)


def test_pretraining_restores_the_clean_image_from_the_corrupted_one():
    run = load().pretrain["mnist-filters-d"]
    model = AutoEncoder(encoder(channels=1), layer=1)
    middle, centred = torch.full((1, 1, 1, 1), 127.5), 127.5 * images(4, 1, 13, 13).clamp(-1, 1)
    batch = Batch(centred, middle, middle, torch.zeros(4), None, torch.arange(4))
    loss = OBJECTIVES["cae"].loss(model, batch, run, torch.Generator().manual_seed(3))
    noise = {"probability": 0.3, "black": -127.5, "white": 127.5}
    spoiled = binomial(centred, **noise, generator=torch.Generator().manual_seed(3))
    assert not torch.equal(spoiled, centred)
    expected = (model(spoiled / 127.5) - centred / 127.5).square().mean()
    assert loss.item() == pytest.approx(expected.item())


def test_raw_pixels_lie_between_minus_one_and_one_and_are_switched_to_black_or_white(digits):
    manifest = open_manifest(digits.shards("mnist").manifest, "train")
    held = Images(manifest, stream_above_gb=8, raw=True)
    black, white = ((torch.tensor(each) - held.mean) / held.std for each in (0.0, 255.0))
    assert (float(black), float(white)) == (-1, 1)
    noise = load().pretrain["mnist-filters-b"].corruption.options
    assert (noise.black / float(held.std), noise.white / float(held.std)) == (float(black), float(white))


def test_translations_are_used_in_finetuning_on_cifar_and_for_moved_digits():
    params = load()
    shifted = {
        name for runs in (params.pretrain, params.finetune) for name, run in runs.items() if run.augment.pad
    }
    ours = {name for name in shifted if name.startswith(("mnist-c", "cifar10-c"))}
    cifar = {f"cifar10-{kind}-{size}" for kind in ("cae", "cnn") for size in ("1k", "10k", "50k")}
    assert ours == cifar | {"mnist-cae-1k-moved", "mnist-cnn-1k-moved"}  # these try what it does to digits
    assert params.finetune["cifar10-cae-1k"].augment.pad == round(0.05 * 32)


def test_single_weights_and_noise_are_trivial_filters_and_shapes_are_not():
    one = torch.zeros(1, 1, 7, 7)
    one[0, 0, 2, 5] = 1
    peak = one.clone()  # its neighbours are on, too, but hardly
    peak[0, 0, 1:4, 5] = peak[0, 0, 2, 4:7] = torch.tensor([0.4, 1, 0.4])
    noise = images(200, 1, 7, 7)
    places = torch.arange(7.0)
    blob = torch.exp(-((places[:, None] - 2) ** 2 + (places[None] - 4) ** 2) / 4)[None, None]
    edge = (places[None] - 3).sign().expand(7, 7)[None, None]
    assert filter_statistics.trivial(torch.cat([one, peak])).tolist() == [True, True]
    assert filter_statistics.trivial(noise).double().mean() > 0.95
    assert filter_statistics.trivial(torch.cat([blob, edge, -5 * blob])).tolist() == [False] * 3
    assert filter_statistics.localisation(one).item() == pytest.approx(1)
    assert filter_statistics.localisation(torch.ones(1, 3, 7, 7)).item() == pytest.approx(9 / 49)
    assert filter_statistics.localisation(blob) > filter_statistics.localisation(edge)
    assert filter_statistics.described(torch.zeros(2, 3, 7, 7))["trivial"] == 100


def test_filters_are_measured_kept_and_drawn(digits):
    train(digits, "pretrain", "mnist-filters-c", 0)
    evaluate(digits, "pretrain.mnist-filters-c.filters", 0)
    measured = digits.measurement("pretrain.mnist-filters-c.filters", 0)
    kept = arrays(measured)["filters"]
    assert kept.shape == (20, 7, 7, 1)  # no scale narrows them
    weights = load_parts(measured.training)["encoder"]["convs.0.weight"]
    assert np.array_equal(kept.transpose(0, 3, 1, 2), weights.numpy())
    drawn = sheet(kept, columns=5)
    assert drawn.shape == (4 * 8 + 1, 5 * 8 + 1, 1)
    assert drawn.min() >= 0
    assert drawn[1, 1, 0] == pytest.approx(0.5 + kept[0, 0, 0, 0] / (2 * np.abs(kept).max()))


class Answering(AutoEncoder):
    """Restores a function of its input."""

    def __init__(self, encoder: Encoder, *, layer: int, answer) -> None:
        super().__init__(encoder, layer=layer)
        self.answer = answer

    def forward(self, x):
        return self.answer(x)


def test_a_layers_error_is_in_percent_of_what_the_mean_input_leaves(digits):
    manifest, device = open_manifest(digits.shards("mnist").manifest, "test"), torch.device("cpu")
    held, indices = Images(manifest, stream_above_gb=8, raw=True), np.arange(manifest.count)
    measured = digits.measurement("pretrain.mnist-filters-c.filters", 0)
    stack = encoder(channels=1)
    with torch.inference_mode():
        every = [batch.x for batch in central_crops(held, indices, measured.training.spec.augment, device)]
        mean = stack.below(torch.cat(every), 2).mean(dim=0)

        def error(answer) -> float:
            model = Answering(stack, layer=2, answer=answer)
            return OBJECTIVES["cae"].measure(model, held, indices, measured, device)["error"]

        assert error(lambda x: mean.expand_as(x)) == pytest.approx(100, rel=1e-4)
        assert error(lambda x: (x + mean) / 2) == pytest.approx(25, rel=1e-4)
        assert error(torch.zeros_like) > 101
        assert error(lambda x: x) == 0


def test_a_layers_rate_is_searched_by_its_error_on_held_out_images(digits):
    values = ["0.01", "0.3"]
    said = search(load(), "pretrain.mnist-cae-1", "optimiser.sgd.lr", values, seeds=1, holdout=8)
    assert said.startswith("| optimiser.sgd.lr | error, seed 0 |")
    lines = read_lines(RESULTS / "search" / "pretrain.mnist-cae-1.csv")
    assert [(line["value"], line["holdout"], line["metric"]) for line in lines] == [
        (value, "8", "error") for value in values
    ]
    assert float(lines[1]["score"]) < float(lines[0]["score"]) < 200


def test_the_svm_learns_from_training_images_alone(digits):
    for layer in (1, 2, 3):
        train(digits, "pretrain", f"mnist-cae-{layer}", 0)
    evaluate(digits, "pretrain.mnist-cae-3.svm1k", 0)
    metrics = digits.measurement("pretrain.mnist-cae-3.svm1k", 0).metrics.read_text()
    assert '"error"' in metrics
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 300)
    x = 5 * np.eye(3)[y] + rng.normal(size=(300, 3))
    assert linear_svm_error((x, y), (x, y), c=1.0) < 0.05
    assert linear_svm_error((x, y), (x, (y + 1) % 3), c=1.0) > 0.9
    assert linear_svm_error((np.hstack([x, x[:, :1] * 0]), y), (np.hstack([x, x[:, :1]]), y), c=1.0) < 0.05


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ([50.0, 51.0, 52.0], [51.0, 52.0, 53.0], "confirmed"),
        ([50.0, 51.0, 52.0], [90.0, 91.0, 92.0], "refuted"),
        ([90.0, 91.0, 92.0], [50.0, 51.0, 52.0], "refuted"),
        ([20.0, 50.0, 80.0], [51.0, 52.0, 53.0], "undecided"),
        ([50.0], [50.0], "undecided"),
    ],
)
def test_close_is_confirmed_where_the_whole_interval_lies_within_the_margin(first, second, said):
    options = CLAIMS["close"](metric="trivial", of=("one", "other"), within=10.0)
    found = TESTS["close"](options, lambda label, metric: first if label == "one" else second)
    assert Decision(contrasts=found, pairs=False).verdict(ALPHA) == said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"objective": {"cae": {"layer": 4}}}, "layer is 4; 1 to 3 are allowed"),
        ({"objective": {"cae": {"layer": 2}}}, "trains layer 2; 'start' from a run"),
        ({"objective": {"denoise": {"shortcuts": "full"}}}, "does not go with the network 'stack'"),
        ({"network": {"network-2": {"n": 4}}}, "'cae' does not go with the network 'network-2'"),
        ({"network": {"stack": {"maps": [4, 4], "kernels": [3], "pools": [1]}}}, "one entry per layer"),
        (
            {"network": {"stack": {"maps": [4], "kernels": [3], "pools": [0]}}},
            r"pools\[0\] is 0; expected at least 1",
        ),
    ],
)
def test_a_stack_that_cannot_be_trained_is_refused(workplace, changes, said):
    set_params(
        workplace,
        **{f"pretrain__mnist-cae-1__{name}": value for name, value in changes.items()},
        **(
            {"pretrain__mnist-cae-1__corruption": {"fixed_gaussian": {"sigma": 1.0}}}
            if "denoise" in str(changes)
            else {}
        ),
    )
    with pytest.raises(ValueError, match=said):
        load()
