"""dong2016: our tables hold its printed numbers, and its runs follow the text."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import set_params
from torch import nn

from pipeline.config.reading import load
from pipeline.config.runs import Augment
from pipeline.data import views
from pipeline.data.crops import central_boxes
from pipeline.data.images import Images
from pipeline.data.manifest import open_manifest
from pipeline.data.views import central_crops
from pipeline.data.writer import shard, write_split
from pipeline.datasets import Sample, voc
from pipeline.evaluate import evaluate
from pipeline.measures.metrics import confusion, mean_iou
from pipeline.objectives import OBJECTIVES
from pipeline.objectives.classify import outputs
from pipeline.papers import papers
from pipeline.protocols.activations import activations, inside
from pipeline.protocols.contents import contents
from pipeline.results.figures import arrays, figure
from pipeline.system.files import read_json
from pipeline.training.run import train
from pipeline.work.graph import Graph

# Row by row as the paper prints them, read from its text.
PRINTED = {
    "table2": [93.95, 73.89, 67.11, 93.67, 72.15, 66.71, 93.60, 72.9, 67.27, 94.93, 75.41, 69.87],
    "table3": [75.72, 93.45, 72.6, 93.63, 72.34, 94.16, 74.84, 93.39, 75.67, 93.57, 77.29, 95.08,
               75.41, 94.93, 75.68, 75.82, 76.35, 95.08],
    "table4": [53.3, 55.3, 58.4, 56.5, 67.1, 71.3],
    "table5": [70.1, 73.15, 76.8, 72.80, 80.60, 59.81],
    "table6": [22.19, 68.94, 23.50, 69.38, 23.87, 71.25],
    "table7": [67.11, 68.20, 69.23, 69.44, 68.24, 68.25, 69.08, 69.87, 71.25],
    "table8": [67.02, 76.87, 67.11, 73.04, 79.04, 70.77, 72.17, 80.00, 70.93],
}  # fmt: skip
CITED = {"table3": 12, "table4": 4, "table5": 4}


@pytest.mark.parametrize("table", PRINTED)
def test_every_printed_number_is_in_its_cell(table):
    layout = papers()["dong2016"].tables[table]
    shown = [cell.paper for _, _, cell in layout.cells() if cell.paper is not None]
    assert shown == PRINTED[table]
    assert sum(cell.state == "cited" for _, _, cell in layout.cells()) == CITED.get(table, 0)


def test_the_withdrawn_data_set_keeps_its_row_above_its_substitute():
    rows = papers()["dong2016"].tables["table3"].rows
    names = list(rows)
    place = names.index("Pre-trained on Tiny 0.5M")
    assert rows[names[place]]["CIFAR-100"].state == "withdrawn"
    assert rows[names[place + 1]]["CIFAR-100"].of == "finetune.cifar100-imagenet32-500k.centre"


def test_every_figure_of_the_paper_is_drawn():
    assert set(papers()["dong2016"].figures) == {f"figure{number}" for number in range(1, 11)}


def test_the_runs_have_the_papers_own_settings():
    params = load(scale="paper")
    graph = Graph(params)
    for stage in ("pretrain", "finetune"):
        for name, run in params.runs(stage).items():
            if run.network.name in ("network-1", "network-2") and "dong2017" not in name:
                assert run.init in ("gaussian", "he", "xavier"), name
    small = graph.training("pretrain", "cifar10-pixel", 0).spec
    assert (small.network.options.n, small.network.options.m) == (64, (5, 5, 5, 0))
    assert small.corruption.options.sigma == (10, 50)
    assert (small.augment.crop, small.optimiser.options.lr, small.epochs) == (29, 1e-4, 120)
    stl = graph.training("pretrain", "stl10-small", 0).spec
    assert stl.network.options.m == (3, 3, 4, 5)
    assert stl.epochs == 40
    assert stl.corruption.options.count == 35  # exactly 100,000 unlabelled images
    assert graph.training("pretrain", "voc2007-small", 0).spec.corruption.options.count == 21
    assert graph.training("pretrain", "imagenet-animal", 0).spec.corruption.options.count == 21  # 93,000
    assert graph.training("pretrain", "imagenet-full", 0).spec.epochs == 6
    epochs = {name: run.epochs for name, run in params.finetune.items()}
    assert (epochs["cifar10-ours"], epochs["stl10-ours"], epochs["voc2007-gaussian"]) == (200, 200, 400)
    rates = graph.training("finetune", "cifar100-ours", 0).spec.schedule.options
    assert (rates.at, rates.factor) == ((60, 120, 160), 0.2)
    assert graph.training("finetune", "stl10-ours", 0).spec.data.fold
    assert len(graph.trainings("finetune", "stl10-ours")) == 10


def test_better_restored_is_compared_with_everything_else_equal():
    params, claim = load(), papers()["dong2016"].claims["better-restored-better-classified"]
    for stage, labels in zip(("pretrain", "finetune"), zip(*claim.test.options.of, strict=True), strict=True):
        runs = [replace(params.runs(stage)[label.split(".")[1]], evaluate=()) for label in labels]
        assert len({run.objective.options for run in runs}) == (3 if stage == "pretrain" else 1)
        assert len({replace(run, objective=runs[0].objective, start=runs[0].start) for run in runs}) == 1


def test_a_changed_corruption_moves_only_what_depends_on_it():
    from pipeline.config.typed import Choice

    params = load()
    run = params.pretrain["imagenet-big"]
    wider = Choice("big_block", replace(run.corruption.options, high=0.6))
    changed = replace(params, pretrain={**params.pretrain, "imagenet-big": replace(run, corruption=wider)})
    moved = set()
    for stage in ("pretrain", "finetune"):
        for name in params.runs(stage):
            if Graph(params).training(stage, name, 0).key != Graph(changed).training(stage, name, 0).key:
                moved.add(f"{stage}.{name}")
    assert moved == {"pretrain.imagenet-big", "finetune.voc2007-imagenet-big"}


def test_restoration_does_not_depend_on_the_batch_size(workplace, monkeypatch):
    """Noise, masked pixels and kept pictures depend only on the seed and the image."""
    graph, label = Graph(load()), "pretrain.stl10-small.restore"
    shard(graph.shards("stl10"))
    train(graph, "pretrain", "stl10-small", 0)
    measured = []
    for size in (100, 5):
        monkeypatch.setattr(views, "BATCH", size)
        evaluate(graph, label, 0)
        place = graph.measurement(label, 0).folder
        measured.append(
            (json.loads((place / "metrics.json").read_text())["metrics"], dict(np.load(place / "arrays.npz")))
        )
    (one, pictures), (other, again) = measured
    assert "psnr_masked" in one
    assert one == pytest.approx(other, rel=1e-4)
    assert {name: len(each) for name, each in again.items()} == dict.fromkeys(pictures, 8)
    assert np.array_equal(pictures["corrupted"], again["corrupted"])


class Means(nn.Module):
    """Records its inputs, and returns the mean of each channel."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        self.seen.append(x)
        return x.mean(dim=(2, 3))


def test_ten_crops_are_cut_and_mirrored_as_in_training_and_follow_from_the_image(workplace, monkeypatch):
    graph, cpu = Graph(load()), torch.device("cpu")
    shards = graph.shards("voc2007")
    shard(shards)
    images = Images(open_manifest(shards.manifest, "test"), stream_above_gb=8)
    measurement = graph.measurement("finetune.voc2007-gaussian.crops10", 0)
    answers = []
    for size in (100, 5):
        monkeypatch.setattr(views, "BATCH", size)
        model = Means()
        answers.append(outputs(model, images, np.arange(12), measurement, cpu))
    assert torch.allclose(answers[0][0], answers[1][0], atol=1e-5)
    assert torch.equal(answers[0][1], images.labels[:12])
    first = [crops[0] for crops in model.seen[:10]]
    assert torch.allclose(answers[1][0][0], torch.stack(first).mean(dim=(2, 3)).sum(dim=0), atol=1e-5)
    pixels = torch.from_numpy(images.window(0).image(0).copy()).permute(2, 0, 1)
    whole = (pixels - images.mean[0]) / images.std[0]
    side, places = measurement.training.spec.augment.crop, set()
    windows = whole.unfold(1, side, 1).unfold(2, side, 1).permute(1, 2, 0, 3, 4)
    for crop in first:
        for flipped, view in enumerate((crop, crop.flip(-1))):
            found = (windows - view).abs().amax(dim=(2, 3, 4)) < 1e-4
            places |= {(flipped, *place.tolist()) for place in found.nonzero()}
    assert len(places) > 6  # each is a window of the image as it is stored
    assert {place[0] for place in places} == {0, 1}


class Shade(nn.Module):
    """Predicts class 1 where a pixel is brighter than the mean, class 0 elsewhere."""

    def forward(self, x):
        bright = x.mean(dim=1, keepdim=True)
        return torch.cat([-bright, bright, *[torch.full_like(bright, -9.0)] * 19], dim=1)


class Uneven:
    """Images of several sizes with a short side of 19, and masks with void."""

    classes, folds = tuple(map(str, range(21))), None

    def __len__(self):
        return 3

    def __getitem__(self, i):
        random = np.random.default_rng(i)
        height, width = ((19, 30), (27, 19), (19, 19))[i]
        mask = random.choice([0, 1, 255], (height, width)).astype(np.uint8)
        return Sample(image=random.integers(0, 256, (height, width, 3), np.uint8), mask=mask)


def test_segmentation_is_measured_on_whole_images_of_any_size(workplace):
    graph = Graph(load())
    for stage in ("pretrain", "finetune"):
        for name, run in graph.params.runs(stage).items():
            if run.objective.name == "segment":
                assert run.evaluate == ("uncropped",), name
    shards, measurement = graph.shards("voc2012"), graph.measurement("finetune.voc2012-gaussian.uncropped", 0)
    shard(shards)
    manifest = open_manifest(shards.manifest, "test")
    manifest.content["splits"]["test"] = write_split(shards, "test", Uneven())
    images = Images(manifest, stream_above_gb=8)
    found = OBJECTIVES["segment"].measure(Shade(), images, np.arange(3), measurement, torch.device("cpu"))
    total = torch.zeros(21, 21, dtype=torch.int64)
    for i in range(3):
        sample = Uneven()[i]
        x = (torch.from_numpy(sample.image).permute(2, 0, 1) - images.mean[0]) / images.std[0]
        total += confusion((x.mean(dim=0) > 0).long(), torch.from_numpy(sample.mask), classes=21)
    assert found["mean_iou"] == pytest.approx(100 * mean_iou(total)[0])


def test_a_segmenter_labels_every_pixel_of_an_image_of_any_size():
    training = Graph(load()).training("finetune", "voc2012-gaussian", 0)

    class Known:
        channels, classes = 3, range(21)

    model = OBJECTIVES["segment"].build(training.spec, Known()).eval()
    for height, width in ((32, 32), (33, 47), (31, 18)):
        assert model(torch.zeros(1, 3, height, width)).shape == (1, 21, height, width)


DOG = voc.CLASSES.index("dog")  # drawn as a teal square


class Answering(torch.nn.Module):
    """Three maps of layer 12: noise, a dead map with one spike, a detector of teal."""

    def __init__(self, spiked):
        super().__init__()
        self.encoder, self.spiked = self, spiked

    def activated(self, x):
        noise = torch.rand(len(x), 8, 8, generator=torch.Generator().manual_seed(0))
        spike = torch.zeros(len(x), 8, 8)
        spike[:, 3, 3] = 0.001 * (x.mean(dim=(1, 2, 3)) == self.spiked)
        red, green, blue = x.unbind(dim=1)
        teal = torch.nn.functional.adaptive_avg_pool2d((torch.minimum(green, blue) - red).relu(), 8)
        return [None] * 11 + [torch.stack([noise, spike, teal], dim=1)]


@pytest.fixture
def photographs(workplace):
    set_params(workplace, scales__smoke__test_images=256, scales__smoke__side=32)
    shards = Graph(load()).shards("voc2007")
    shard(shards)
    return Images(open_manifest(shards.manifest, "test"), stream_above_gb=8)


def test_the_chosen_map_responds_inside_the_boxes_and_is_alive(photographs):
    measurement = Graph(load()).measurement("pretrain.imagenet-animal.dogs", 0)
    dogs = [i for i in range(256) if DOG in [number for number, *_ in photographs.objects[i]]]
    photographs.hold([0])
    held, size = photographs.window(0), measurement.training.spec.augment.crop
    middle = slice((32 - size) // 2, (32 - size) // 2 + size)
    crop = torch.from_numpy(held.image(dogs[0])[middle, middle].copy()).permute(2, 0, 1)[None].float()
    spiked = ((crop - photographs.mean) / photographs.std).mean(dim=(1, 2, 3))
    found = activations(Answering(spiked), photographs, np.arange(256), measurement, torch.device("cpu"))
    assert found["selectivity"] > 75
    assert found["pictures"] == len(dogs) // 2
    shown = {held.image(i)[middle, middle].tobytes() for i in dogs[1::2]}
    assert {each.tobytes() for each in found["image"]} <= shown
    assert found["map"].max() > 0.1
    assert found["occlusion_similarity"] > found["other_image_similarity"]


def test_boxes_are_cropped_with_their_images(photographs):
    photographs.objects[3] = [(DOG, 0.25, 0.5, 0.75, 1.0), (DOG + 1, 0.0, 0.0, 1.0, 1.0)]
    (found,) = inside(photographs, np.array([3]), Augment(crop=24), {DOG})
    expected = torch.zeros(32, 32, dtype=torch.bool)
    expected[16:, 8:24] = True
    assert torch.equal(found, expected[4:28, 4:28])
    (top,) = central_boxes(1, Augment(crop=24)).lines(32, np.array([0.5]))
    assert top[0] == 4


def test_both_networks_are_measured_on_dogs_and_on_wheels_and_drawn(photographs):
    graph = Graph(load())
    shard(graph.shards("imagenet-animal"))
    shard(graph.shards("imagenet-vehicle"))
    for run in ("imagenet-animal", "imagenet-vehicle"):
        train(graph, "pretrain", run, 0)
        for protocol in ("dogs", "wheels"):
            evaluate(graph, f"pretrain.{run}.{protocol}", 0)
    for name in ("figure5", "figure6"):
        figure(graph, name)
    found = {
        (run, protocol): graph.measurement(f"pretrain.{run}.{protocol}", 0)
        for run in ("imagenet-animal", "imagenet-vehicle")
        for protocol in ("dogs", "wheels")
    }
    images = {key: arrays(each)["image"] for key, each in found.items()}
    for protocol in ("dogs", "wheels"):
        assert np.array_equal(*(images[run, protocol] for run in ("imagenet-animal", "imagenet-vehicle")))
    for each in found.values():
        measured = read_json(each.metrics, way_out="")["metrics"]
        assert 0 <= measured["selectivity"] <= 100
        assert measured["pictures"] > 5


class Off(nn.Module):
    """Restores the images in their order, 16 grey levels off inside the boxes and 8 outside."""

    def __init__(self, images, indices, augment):
        super().__init__()
        (batch,) = central_crops(images, indices, augment, torch.device("cpu"))
        boxes = inside(images, batch.index.numpy(), augment, {DOG})[:, None]
        grey = batch.pixels(batch.x)
        towards_the_middle = torch.where(grey < 128, 1, -1)  # or PSNR would clip it
        self.pixels = grey + towards_the_middle * torch.where(boxes, 16, 8)
        self.batch = batch

    def forward(self, x):
        return (self.pixels - self.batch.mean) / self.batch.std


@pytest.mark.parametrize("corruption", ["small_blocks", "pixel_gaussian"])
def test_restoration_is_measured_inside_and_outside_the_boxes(photographs, corruption):
    measurement = Graph(load()).measurement("pretrain.imagenet-animal.restore-dogs", 0)
    spec = measurement.training.spec
    if corruption == "pixel_gaussian":
        spec = replace(spec, corruption=load().pretrain["imagenet-pixel"].corruption)
    measurement = replace(measurement, training=replace(measurement.training, spec=spec))
    dogs = np.array([i for i in range(256) if DOG in [number for number, *_ in photographs.objects[i]]])
    model = Off(photographs, dogs, spec.augment)
    found = contents(model, photographs, np.arange(256), measurement, torch.device("cpu"))
    expected = {"psnr_inside": 20 * np.log10(255 / 16), "psnr_outside": 20 * np.log10(255 / 8)}
    pictures = found.pop("pictures")
    assert found == pytest.approx(expected | {"psnr_gap": 20 * np.log10(2)}, abs=1e-3)
    assert 5 < pictures <= len(dogs)


def test_a_data_set_without_the_object_is_refused(photographs):
    measurement = Graph(load()).measurement("pretrain.imagenet-animal.dogs", 0)
    photographs.objects[:] = [[] for _ in photographs.objects]
    with pytest.raises(ValueError, match="0 of 256 images show dog .* raise the scale's test_images"):
        activations(Answering(0), photographs, np.arange(256), measurement, torch.device("cpu"))
    measurement = Graph(load()).measurement("pretrain.imagenet-animal.restore-dogs", 0)
    with pytest.raises(ValueError, match="none of 256 images show dog .* raise the scale's test_images"):
        contents(nn.Identity(), photographs, np.arange(256), measurement, torch.device("cpu"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"datasets__voc2007__objects": False}, "needs 'objects: true' in datasets.voc2007"),
        ({"datasets__cifar10__objects": True}, "objects is for 'source: voc2007'"),
        (
            {"evaluate__dogs__measure": {"activations": {"layer": 12, "objects": ["dogs"]}}},
            "activations.objects names 'dogs'; did you mean 'dog'",
        ),
        (
            {"evaluate__restore-dogs__measure": {"contents": {"objects": ["dogs"]}}},
            "contents.objects names 'dogs'; did you mean 'dog'",
        ),
        (
            {"finetune__voc2007-gaussian__evaluate": ["restore-dogs"]},
            "'restore-dogs' is for the objective 'denoise'",
        ),
    ],
)
def test_unknown_objects_are_refused(workplace, change, said):
    set_params(workplace, **change)
    with pytest.raises(ValueError, match=said):
        load()
