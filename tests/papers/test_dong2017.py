"""dong2017: our tables hold its printed numbers; its networks, and the parts frozen in fine-tuning."""

import csv
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from conftest import command, set_params
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss, relu

from pipeline.config.corruptions import HIDING
from pipeline.config.reading import load
from pipeline.config.typed import Choice
from pipeline.corruptions import MASKS, small_blocks_mask
from pipeline.data.batches import Batch
from pipeline.data.manifest import open_manifest
from pipeline.data.writer import shard
from pipeline.evaluate import evaluate
from pipeline.models import dong, wide
from pipeline.models.layers import initialise
from pipeline.models.probe import Probes
from pipeline.objectives import OBJECTIVES
from pipeline.papers import Above, Cell, Close, numbered, papers
from pipeline.protocols.weights import weights
from pipeline.results.claims import TESTS
from pipeline.results.drawings.dong import by_layer
from pipeline.results.frame import from_files, measured
from pipeline.results.statistics import ALPHA, Decision
from pipeline.results.tables import cell_text, line
from pipeline.training.loop import frozen_parts
from pipeline.training.run import beginning, train
from pipeline.training.weights import load_parts
from pipeline.work.graph import Graph

# Row by row as the paper prints them, read from its text.
PRINTED = {
    "table1": [93.45, 75.72, 94.16, 72.34, 93.39, 74.84, 95.08, 77.29, 96.11, 81.15,
               93.95, 74.11, 92.07, 70.21, 95.15, 75.41],
    "table2": [76.67, 79.60, 80.42, 81.37, 70.89, 74.07, 80.22],
    "table3": [73.2, 76.8, 75.4, 74.3, 64.6, 70.2, 75.8],
    "table4": [67.11, 70.24, 69.38, 71.25],
    "table5": [67.02, 76.87, 67.11, 73.04, 79.04, 70.77, 72.17, 80.00, 70.93],
    "supplement_c": [1.0],
    "ablations": [],
    "restorations": [],
    "contents": [],
}  # fmt: skip
SPREADS = {
    "table2": [0.61, 0.47, 0.58, 2.32, 0.30, 0.43, 0.37],
    "table3": [None, 0.3, 0.3, None, 0.7, 0.6, 0.5],
}
CITED = {"table1": 10, "table2": 4, "table3": 4}


def cells(table):
    return [cell for _, _, cell in papers()["dong2017"].tables[table].cells()]


@pytest.mark.parametrize("table", PRINTED)
def test_every_printed_number_is_in_its_cell(table):
    printed = [cell for cell in cells(table) if cell.paper is not None]
    assert [cell.paper for cell in printed] == PRINTED[table]
    assert [cell.spread for cell in printed] == SPREADS.get(table, [None] * len(printed))
    assert sum(cell.state == "cited" for cell in printed) == CITED.get(table, 0)


def test_every_table_and_figure_of_the_paper_is_made():
    paper = papers()["dong2017"]
    assert set(paper.tables) == set(PRINTED)
    own, supplement = [f"figure{k}" for k in range(1, 7)], [f"supplement_figure{k}" for k in range(1, 4)]
    assert list(paper.figures) == [*own, "restored", "pretraining_losses", "finetuning_losses", *supplement]
    names = [numbered(name) for name in ("table6", "supplement_c", "supplement_figure1")]
    assert names == ["Table 6", "Supplement C", "Supplement figure 1"]


@pytest.fixture(scope="module")
def paper():
    return Graph(load(scale="paper"))


def test_the_runs_have_the_papers_own_settings(paper):
    def spec(stage, name):
        return paper.training(stage, f"dong2017-{name}", 0).spec

    def network(run):
        return run.network.name, run.network.options.n, getattr(run.network.options, "m", None)

    cifar, stl = spec("pretrain", "cifar10-full"), spec("pretrain", "stl10-full")
    few, voc = spec("finetune", "4000-full"), spec("finetune", "voc2007-full")
    assert network(cifar) == ("network-1", 128, (5, 5, 5, 0))
    assert network(stl) == ("network-1", 64, (2, 2, 3, 3))
    assert network(few) == ("all-cnn-c", 96, None)
    assert network(voc) == ("network-2", 64, None)
    assert [run.augment.crop for run in (cifar, stl, few, voc)] == [29, 89, 29, 225]
    assert [run.augment.flip for run in (cifar, stl, few, voc)] == [True, True, False, True]
    assert [run.epochs for run in (cifar, stl, few, voc)] == [120, 40, 200, 400]
    assert spec("pretrain", "imagenet-full").epochs == 6
    assert [run.optimiser.options.lr for run in (cifar, stl, few, voc)] == [1e-4, 1e-4, 2e-3, 1e-4]
    schedules = [(run.schedule.options.at, run.schedule.options.factor) for run in (cifar, stl, few, voc)]
    assert schedules == [((60, 90), 0.1), ((30,), 0.1), ((60, 120, 160), 0.2), ((200, 300), 0.1)]
    assert (few.data.labels, few.warmup, few.corrupted) == (4000, 10, 0.5)
    assert few.corruption == spec("pretrain", "4000-full").corruption
    assert few.corruption.options.count == 21
    assert stl.corruption.options.count == 35  # exactly 100,000 unlabelled images
    random, ten = spec("finetune", "4000-random"), spec("finetune", "stl10-full")
    assert (random.warmup, random.corruption) == (0, None)
    assert (ten.warmup, ten.corruption, ten.data.fold) == (10, None, True)
    assert len(paper.trainings("finetune", "dong2017-stl10-full")) == 10
    probe = spec("finetune", "probe-full")
    assert (probe.data.labels, probe.freeze) == (4000, ("encoder",))
    assert spec("finetune", "cifar10-full").start == "dong2017-cifar10-full"
    assert cifar.corruption.options.sigma == (10, 50)  # "pixel Gaussian noise ... in Section 5.2"


def test_figure_3_and_section_5_1_restore_small_blocks(paper):
    """Section 4: pixel noise in section 5.2, "masking noise with small blocks for all other tasks"."""
    probes = papers()["dong2017"].figures["figure3"].runs.values()
    starts = [paper.training(*label.split(".")[:2], 0).start for label in probes]
    corruptions = [start.spec.corruption for start in starts if start.spec.objective.name == "denoise"]
    assert [(each.name, each.options.count) for each in corruptions] == [("small_blocks", 21)] * 2
    assert {start.spec.network.options.n for start in starts} == {128}
    claim = papers()["dong2017"].claims["shortcuts-restore-better"].test.options
    assert [label.split(".")[1] for label in claim.of] == [start.name for start in starts[:2]]


def test_shortcuts_add_before_the_activation_and_in_the_first_version_after_it(paper):
    for stage in ("pretrain", "finetune"):
        for name, run in paper.params.runs(stage).items():
            manner = getattr(run.network.options, "activation", None)
            if run.network.name != "wide-resnet" and manner is not None:
                assert manner == ("pre" if name.startswith("dong2017") else "post"), name
    training = Graph(load()).training("pretrain", "dong2017-cifar10-full", 0)
    model = OBJECTIVES["denoise"].build(training.spec, Known())
    assert (model.encoder.activation, model.decoder.activation) == ("pre", "pre")
    x = torch.randn(2, 3, 24, 24)
    assert all((each >= 0).all() for each in model.encoder.activated(x))
    assert not all((each >= 0).all() for each in model.encoder.maps(x))


class Known:
    """The facts of a data set that building a network needs."""

    channels = 3
    classes = range(10)


# Frozen parts in fine-tuning


@pytest.fixture
def cifar(workplace):
    shard(Graph(load()).shards("cifar10"))
    train(Graph(load()), "pretrain", "dong2017-4000-full", 0)
    return workplace


def finetuned(folder, **changes):
    """Weights before and after a fine-tuning, by part."""
    set_params(folder, **{f"finetune__dong2017-4000-full__{name}": value for name, value in changes.items()})
    graph = Graph(load())
    training = graph.training("finetune", "dong2017-4000-full", 0)
    model = beginning(training, open_manifest(training.shards.manifest, "train"))
    began = {
        name: {k: v.clone() for k, v in part.state_dict().items()} for name, part in model.named_children()
    }
    train(graph, "finetune", "dong2017-4000-full", 0)
    return began, load_parts(training)


def moved(began, ended, part):
    return {name for name, value in began[part].items() if not torch.equal(value, ended[part][name])}


def test_new_layers_train_alone_during_the_warmup(cifar):
    began, ended = finetuned(cifar, epochs=1, warmup=1)
    assert moved(began, ended, "encoder") == set()
    assert moved(began, ended, "head") == set(began["head"])
    began, ended = finetuned(cifar, epochs=2, warmup=1)
    assert moved(began, ended, "encoder") == set(began["encoder"])


def test_a_frozen_part_stays_frozen_after_a_warmup_that_the_scale_shortens():
    run = load().finetune["dong2017-4000-full"]
    both = replace(run, freeze=("head",))
    assert frozen_parts(both, 9) == {"encoder", "head"}
    assert frozen_parts(both, 10) == {"head"}
    assert frozen_parts(replace(run, warmup=0), 0) == set()
    assert Graph(load()).training("finetune", "dong2017-4000-full", 0).spec.warmup == 1


def batch_of(count, *, side=16):
    generator = torch.Generator().manual_seed(0)
    centred = 50 * torch.randn(count, 3, side, side, generator=generator)
    one = torch.ones(1, 3, 1, 1)
    return Batch(centred, 60 * one, 120 * one, torch.zeros(count).long(), None, torch.arange(count))


class Seen(nn.Module):
    """Records its inputs; returns fixed numbers."""

    def __init__(self, answer):
        super().__init__()
        self.answer = nn.Parameter(answer)

    def forward(self, x):
        self.x = x
        return self.answer


def test_half_of_the_images_are_corrupted_in_fine_tuning_and_none_from_random_weights(paper):
    batch = batch_of(400)
    for name, low, high in (("4000-full", 160, 240), ("4000-random", 0, 0), ("cifar10-full", 0, 0)):
        run = paper.training("finetune", f"dong2017-{name}", 0).spec
        model = Seen(torch.zeros(400, 10))
        OBJECTIVES["classify"].loss(model, batch, run, torch.Generator().manual_seed(1))
        spoiled = (model.x != batch.x).flatten(1).any(dim=1)
        assert low <= int(spoiled.sum()) <= high
        changed = model.x[spoiled] != batch.x[spoiled]
        assert (model.x[spoiled][changed] == 0).all()  # the pre-training's corruption: missing blocks
        OBJECTIVES["classify"].loss(model, batch, run, torch.Generator().manual_seed(2))
        again = (model.x != batch.x).flatten(1).any(dim=1)
        assert torch.equal(again, spoiled) == (high == 0)  # drawn independently


def test_a_context_encoder_learns_from_the_masked_pixels_alone(paper):
    run = paper.training("pretrain", "dong2017-imagenet-context", 0).spec
    batch = batch_of(6)
    options = vars(run.corruption.options)
    where = small_blocks_mask(batch.centred, **options, generator=torch.Generator().manual_seed(5)).expand(
        -1, 3, -1, -1
    )
    model = Seen(torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(3)))
    loss = OBJECTIVES["denoise"].loss(model, batch, run, torch.Generator().manual_seed(5))
    each = [(model.answer - batch.x)[i][where[i]].square().mean().item() for i in range(6)]
    assert loss.item() == pytest.approx(sum(each) / 6)
    assert torch.equal(model.x == 0, where)
    loss.backward()
    assert torch.equal(model.answer.grad != 0, where)
    assert set(HIDING) == set(MASKS)
    everything = replace(run, objective=Choice("denoise", replace(run.objective.options, masked=False)))
    loss = OBJECTIVES["denoise"].loss(model, batch, everything, torch.Generator().manual_seed(5))
    assert loss.item() == pytest.approx(mse_loss(model.answer, batch.x).item())


@pytest.mark.parametrize(
    ("stage", "name", "changes", "said"),
    [
        ("finetune", "4000-random", {"warmup": 1.0}, "'warmup' freezes transferred parts"),
        ("finetune", "4000-full", {"warmup": 500.0}, "0 to 200, the epochs"),
        ("finetune", "4000-full", {"corrupted": 0.0}, "a probability, above 0 and up to 1"),
        ("finetune", "4000-full", {"corruption": None}, "set 'corruption', too"),
        (
            "pretrain",
            "imagenet-context",
            {"corruption": {"pixel_gaussian": {"sigma": [1, 2]}}},
            "'masked' needs pixels of every image hidden: big_block",
        ),
        (
            "pretrain",
            "wide-adam",
            {"network": {"wide-resnet": {"n": 8, "blocks": 0}}},
            "blocks is 0; expected at least 1",
        ),
        (
            "finetune",
            "wide-adam-random",
            {"objective": {"probe": {}}},
            "'probe' does not go with the network",
        ),
    ],
)
def test_impossible_runs_are_refused(workplace, stage, name, changes, said):
    set_params(workplace, **{f"{stage}__dong2017-{name}__{key}": value for key, value in changes.items()})
    with pytest.raises(ValueError, match=said):
        load()


# Figure 3's probes.


def probes(*, n=8, side=29, m=(2, 2, 1, 0)):
    encoder = dong.Encoder(dong.network_1(n=n, m=m), eps=1e-3, activation="pre")
    model = Probes(encoder, classes=10, side=side)
    initialise(model, "he", generator=torch.Generator().manual_seed(0))
    return model


@pytest.mark.parametrize("side", [29, 32, 19])
def test_every_layer_has_a_softmax_and_a_decoder_to_the_image(side):
    model, x = probes(side=side), torch.randn(2, 3, side, side)
    found = model(x)
    assert len(found) == 5
    assert all(logits.shape == (2, 10) and y.shape == x.shape for logits, y in found)
    h = model.encoder.activated(x)[2]
    assert torch.allclose(found[2][0], model.softmaxes[2](h.flatten(1)), atol=1e-5)
    strides = [[conv.stride[0] for conv in restorer.convs] for restorer in model.restorers]
    assert strides == [[1, 1, 1], [1, 1, 2], [1, 1, 2], [1, 2, 2], [2, 2, 2]]


def test_the_stacks_of_all_layers_have_as_many_parameters_at_the_papers_width():
    with torch.device("meta"):
        model = Probes(dong.Encoder(dong.network_1(n=128, m=[5, 5, 5, 0]), eps=1e-3), classes=10, side=29)
    sizes = [sum(p.numel() for p in restorer.parameters()) for restorer in model.restorers]
    assert len(sizes) == 15
    assert max(sizes) / min(sizes) < 1.01


def test_a_probe_learns_from_its_own_layer_as_if_it_were_alone():
    model, batch = probes(side=16), batch_of(4)
    loss = OBJECTIVES["probe"].loss(model, batch, None, torch.Generator())
    together = torch.autograd.grad(loss, [*model.softmaxes[3].parameters(), *model.restorers[3].parameters()])
    logits, y = model(batch.x)[3]
    own = cross_entropy(logits, batch.label) + mse_loss(y, batch.x)
    alone = torch.autograd.grad(own, [*model.softmaxes[3].parameters(), *model.restorers[3].parameters()])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(together, alone, strict=True))


def test_probes_leave_the_network_unchanged_and_measure_every_layer(workplace):
    shard(Graph(load()).shards("cifar10"))
    graph = Graph(load())
    for stage, name in (("pretrain", "cifar10-supervised"), ("finetune", "probe-supervised")):
        train(graph, stage, f"dong2017-{name}", 0)
    training = graph.training("finetune", "dong2017-probe-supervised", 0)
    before, after = (load_parts(each)["encoder"] for each in (training.start, training))
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    label = f"{training.label}.centre"
    evaluate(graph, label, 0)
    result = from_files(graph.measurement(label, 0))
    accuracy, psnr = by_layer(result, "accuracy"), by_layer(result, "psnr")
    assert len(accuracy) == len(psnr) == 15
    assert all(0 <= value <= 100 for value in accuracy)
    assert all(value > 0 for value in psnr)
    from scipy.stats import spearmanr

    for layers, name in ((accuracy, "accuracy"), (psnr, "psnr")):
        trend = result["metrics"][f"{name}_trend"]
        assert trend == pytest.approx(spearmanr(range(15), layers).statistic)


def test_layers_are_sorted_by_number_beyond_nine():
    own = {"psnr_trend": -1.0} | {f"psnr_{k}": float(k) for k in (10, 2, 1, 11, 3, 9, 8, 4, 7, 5, 6)}
    assert by_layer({"metrics": own}, "psnr") == [float(k) for k in range(1, 12)]


# Supplement C's residual network.


def wide_autoencoder(shortcuts="full", *, n=4, blocks=2):
    model = wide.AutoEncoder(wide.Encoder(n=n, blocks=blocks, eps=1e-5), shortcuts=shortcuts)
    initialise(model, "he", generator=torch.Generator().manual_seed(0))
    return model


def test_the_residual_network_has_the_published_number_of_parameters():
    with torch.device("meta"):
        for blocks, n, millions in ((4, 160, 36.5), (2, 128, 11.0), (6, 64, 8.9)):  # WRN-28-10, 16-8, 40-4
            encoder = wide.Encoder(n=n, blocks=blocks, eps=1e-5)
            classifier = dong.Classifier(encoder, classes=10, side=32, pool=True, dropout=0.0)
            assert sum(p.numel() for p in classifier.parameters()) / 1e6 == pytest.approx(millions, abs=0.06)


def test_a_narrow_scale_removes_residual_blocks_in_proportion(paper):
    whole = paper.training("pretrain", "dong2017-wide-adam", 0).spec.network.options
    assert (whole.n, whole.blocks) == (160, 4)
    sizes = [whole.narrowed(width) for width in (160, 80, 12)]
    assert [(each.n, each.blocks) for each in sizes] == [(160, 4), (80, 2), (12, 1)]


@pytest.mark.parametrize("side", [24, 29, 32])
@pytest.mark.parametrize("shortcuts", dong.SHORTCUTS)
def test_a_residual_autoencoder_returns_the_images_size_and_every_weight_learns(shortcuts, side):
    model, x = wide_autoencoder(shortcuts), torch.randn(2, 3, side, side)
    y = model(x)
    assert y.shape == x.shape
    (y - x.flip(0)).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name
    sides = [each.shape[-1] for each in model.encoder.maps(x)]
    assert sum(after < before for before, after in pairwise(sides)) == 2
    assert model.encoder.side(side) == sides[-1]


@pytest.mark.parametrize("shortcuts", dong.SHORTCUTS)
def test_past_a_dead_bottleneck_only_blocks_with_shortcuts_reach_the_output(shortcuts):
    model = wide_autoencoder(shortcuts)
    maps = [each.detach().requires_grad_() for each in model.encoder.maps(torch.randn(2, 3, 16, 16))]
    model.decoder([*maps[:-1], torch.zeros_like(maps[-1])]).square().sum().backward()
    reached = [layer for layer, each in enumerate(maps, start=1) if each.grad is not None and each.grad.any()]
    assert reached == [layer for layer, _ in model.pairs if layer > 0]
    if shortcuts == "full":
        assert model.pairs == [(layer, 7 - layer) for layer in range(7)]


def test_a_block_adds_to_its_input():
    block = wide.Block(4, 4, stride=1, eps=1e-5)
    x = torch.randn(2, 4, 8, 8)
    h = relu(block.norms[1](block.convs[0](relu(block.norms[0](x)))))
    assert torch.allclose(block(x), x + block.convs[1](h), atol=1e-5)
    nn.init.zeros_(block.convs[1].weight)
    assert torch.equal(block(x), x)


def test_only_the_encoders_convolutions_are_measured():
    model = wide_autoencoder()
    for part, value in ((model.encoder, 0.5), (model.decoder, 0.0)):
        for weight in part.parameters():
            nn.init.constant_(weight, value if weight.ndim == 4 else 7.0)
    measurement = Graph(load()).measurement("pretrain.dong2017-wide-sgd-decay.weights", 0)
    found = weights(model, None, np.arange(1), measurement, torch.device("cpu"))
    assert found == pytest.approx({"magnitude": 0.5, "near_zero": 0.0})
    nn.init.zeros_(model.encoder.first.weight)
    assert 0 < weights(model, None, np.arange(1), measurement, torch.device("cpu"))["near_zero"] < 50


def test_sgds_rates_are_to_be_searched_and_adams_decay_is_sgds():
    params = load()
    for stage in ("pretrain", "finetune"):
        for name, run in params.runs(stage).items():
            if run.network.name == "wide-resnet" and run.optimiser.name == "sgd":
                assert run.optimiser.options.lr in run.search["optimiser.sgd.lr"], name
    adam, sgd = (params.finetune[f"dong2017-wide-{name}-random"] for name in ("adam-decay", "sgd"))
    assert adam.optimiser.options.weight_decay == sgd.optimiser.options.weight_decay > 0
    assert adam.optimiser.options.weight_decay in adam.search["optimiser.adam.weight_decay"]


# Tables and claims.


def test_a_cell_may_be_a_difference_of_two_runs_seed_by_seed():
    params = load()
    scales = {**params.scales, "smoke": replace(params.scales["smoke"], repeats=2)}
    graph = Graph(replace(params, scales=scales))
    of, less = (f"pretrain.dong2017-cifar10-{name}.restore" for name in ("full", "input-output"))
    values = {of: [30.0, 33.0], less: [29.5, 31.5]}

    def read(measurement):
        return {
            "metrics": {"psnr": values[measurement.name][measurement.training.seed]},
            "commit": "0123456789ab",
        }

    cell = Cell(paper=1.0, of=of, less=less, metric="psnr")
    frame = measured((each for label in (of, less) for each in graph.measurements(label)), read)
    found = line(graph, "row", "PSNR", cell, frame)
    assert (found["mean"], found["sd"], found["n"], found["delta"]) == ("1", "0.7071", "2", "0")
    assert len(found["runs"].split()) == 4
    with pytest.raises(ValueError, match="'less' is subtracted from 'of', which is missing"):
        Cell(paper=1.0, state="cited", less=less)


def test_a_printed_deviation_stands_beside_its_number():
    cited = Cell(paper=76.67, spread=0.61, state="cited")
    assert cell_text({"paper": "76.67", "state": "cited"}, cited, printed=True) == "76.67 ± 0.61 (cited)"


def test_ours_is_shown_alone_where_the_paper_prints_no_number():
    line, own = (
        {
            "paper": "",
            "state": "measured",
            "runs": "a",
            "mean": "40.1",
            "sd": "",
            "n": "1",
            "draws": "1",
            "capped": "",
        },
        Cell(of="a.b.c", metric="map"),
    )
    assert cell_text(line, own, printed=False) == "40.10 (n=1)"
    assert cell_text(line, own, printed=True) == "? | 40.10 (n=1)"


@pytest.mark.parametrize(
    ("test", "options", "said"),
    [
        ("above", Above(metric="psnr", of="a", value=32.0, lower=True), "confirmed"),
        ("above", Above(metric="psnr", of="a", value=28.0, lower=True), "refuted"),
        ("close", Close(metric="psnr", of=("a", "b"), by=1.0, within=0.5), "confirmed"),
        ("close", Close(metric="psnr", of=("b", "a"), by=1.0, within=0.5), "refuted"),
        ("close", Close(metric="psnr", of=("a", "b"), within=0.5), "refuted"),
    ],
)
def test_a_claim_may_name_a_margin_below_or_above(test, options, said):
    runs = {"a": [30.0, 30.1, 29.9], "b": [29.0, 29.1, 28.9]}
    found = TESTS[test](options, lambda label, metric: runs[label])
    assert Decision(contrasts=found, pairs=False).verdict(ALPHA) == said


def test_restoration_is_compared_on_pixels_that_every_loss_sees():
    params, claim = load(), papers()["dong2017"].claims["better-restored-better-classified"]
    assert claim.test.options.metrics == ("psnr_masked", "map")
    runs = [params.pretrain[label.split(".")[1]] for label, _ in claim.test.options.of]
    assert [run.objective.options.masked for run in runs] == [True, False, False]
    assert all(run.corruption == runs[0].corruption and run.corruption.name in HIDING for run in runs)


@pytest.mark.graph
def test_one_command_makes_every_table_figure_and_claim(workplace):
    command("snakemake", "--cores", "2", "dong2017", folder=workplace)
    made, paper = workplace / "results" / "dong2017", papers()["dong2017"]

    def lines(name):
        with (made / f"{name}.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    for name, layout in paper.tables.items():
        found = lines(name)
        assert [(each["row"], each["column"]) for each in found] == [cell[:2] for cell in layout.cells()]
        assert all(each["mean"] or each["state"] == "cited" for each in found)
    assert [each["claim"] for each in lines("claims")] == list(paper.claims)
    assert {each["network"] for each in lines("supplement_a")} == set(
        paper.architectures["supplement_a"].networks
    )
    for name in paper.figures:
        assert (made / f"{name}.png").read_bytes().startswith(b"\x89PNG")
