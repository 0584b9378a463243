"""Shards return what was written; a batch depends only on (seed, step)."""

import dataclasses
import hashlib
import io
import json
import tarfile

import numpy as np
import pytest
import torch
import webdataset
from conftest import set_params
from PIL import Image

from pipeline.config.reading import load
from pipeline.config.runs import Augment, Data
from pipeline.data.batches import Batches
from pipeline.data.crops import Boxes, central_boxes, random_boxes
from pipeline.data.images import Images, images_of, mirror
from pipeline.data.manifest import open_manifest
from pipeline.data.reader import by_adjacent_key, members
from pipeline.data.samples import encode
from pipeline.data.subsets import balanced, held_out, subset
from pipeline.data.writer import _write_tar, chosen, open_split, shard
from pipeline.datasets import Sample
from pipeline.datasets.pixels import from_netpbm, netpbm
from pipeline.system.files import seal, sha256
from pipeline.work.graph import Graph

AUGMENT = Augment(crop=15, flip=True)


@pytest.fixture
def made(workplace):
    def make(name, **changes):
        graph = Graph(load())
        shards = graph.shards(name)
        if changes:
            shards = dataclasses.replace(shards, dataset=dataclasses.replace(shards.dataset, **changes))
        shard(shards)
        return shards

    return make


@pytest.fixture
def small_shards(monkeypatch):
    """Several shards and windows, from few images."""
    monkeypatch.setattr("pipeline.data.writer.SHARD_BYTES", 12_000)
    monkeypatch.setattr("pipeline.data.manifest.WINDOW", 16)


@pytest.mark.parametrize("name", ["mnist", "cifar10", "voc2007", "voc2012"])
def test_shards_return_the_images_that_were_written(made, name):
    shards = made(name)
    for split in shards.dataset.splits:
        source, images = (
            open_split(shards, split),
            Images(open_manifest(shards.manifest, split), stream_above_gb=8),
        )
        images.hold([0])
        held = images.window(0)
        assert len(held) == len(source) == images.manifest.count
        for i, index in enumerate(chosen(shards, split, len(source))):
            sample = source[index]
            assert np.array_equal(held.image(i), sample.image.reshape(held.image(i).shape))
            if isinstance(sample.label, list):
                assert held.labels[i].nonzero().flatten().tolist() == sorted(sample.label)
            elif sample.label is not None:
                assert held.labels[i] == sample.label
            if sample.mask is not None:
                assert np.array_equal(held.mask(i), sample.mask)
            assert images.objects[i] == (sample.objects or [])


def test_annotated_objects_change_no_bytes_of_sets_without_them(made):
    extensions = {
        (name, asked): {
            member["fname"].partition(".")[2]
            for path in made(name, objects=asked).folder.glob("*.tar")
            for member in members(path.read_bytes())
        }
        for name, asked in (("mnist", False), ("voc2012", False), ("voc2007", False), ("voc2007", True))
    }
    assert extensions == {
        ("mnist", False): {"pgm", "cls"},
        ("voc2012", False): {"ppm", "mask.pgm"},
        ("voc2007", False): {"ppm", "json"},
        ("voc2007", True): {"ppm", "json", "objects.json"},
    }


def test_the_same_images_give_the_same_bytes(made):
    first = made("cifar10")
    digests = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in first.folder.iterdir()}
    for file in first.folder.iterdir():
        file.unlink()
    again = made("cifar10")
    assert {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in again.folder.iterdir()
    } == digests


def test_a_shard_keeps_its_bytes(tmp_path):
    samples = [
        (f"{i:08d}", {"ppm": bytes([65 + i]) * (700 * i + 1), "cls": b"%d" % i, "objects.json": b"[]"})
        for i in range(3)
    ]
    assert _write_tar(tmp_path / "train-00000.tar", samples) == {
        "name": "train-00000.tar",
        "count": 3,
        "bytes": 20480,
        "sha256": "01a8060373108a1b87d9b98cc5c09d095aa34a13e15b3ae20ce85b4f91d17201",
    }


def test_a_shard_that_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="cls"):
        _write_tar(tmp_path / "train-00000.tar", [("00000000", {"ppm": b"P6", "cls": 3})])
    assert not list(tmp_path.iterdir())


def test_other_webdataset_readers_read_the_shards(made):
    shards = made("cifar10")
    images = Images(open_manifest(shards.manifest, "train"), stream_above_gb=8)
    images.hold([0])
    url = str(shards.folder / images.manifest.record["shards"][0]["name"])
    for i, sample in enumerate(webdataset.WebDataset(url, shardshuffle=False).decode("rgb8")):
        assert np.array_equal(sample["ppm"], images.window(0).image(i))
        assert sample["cls"] == images.window(0).labels[i]
    assert i + 1 == images.manifest.count


def test_without_webdataset_members_are_grouped_as_it_groups_them(made):
    folder = made("voc2007", objects=True).folder
    for path in sorted(folder.glob("*.tar")):
        by_webdataset = list(webdataset.tariterators.group_by_keys(members(path.read_bytes()), lcase=False))
        assert list(by_adjacent_key(members(path.read_bytes()))) == by_webdataset
        assert [*by_webdataset[0]] == ["__key__", "__url__", "ppm", "json", "objects.json"]
    twice = [{"fname": "0.cls", "data": b"1", "__url__": ""}] * 2
    for group in (by_adjacent_key, webdataset.tariterators.group_by_keys):
        with pytest.raises(ValueError, match=r"0\.cls: duplicate file name"):
            list(group(iter(twice)))


def test_the_manifest_has_the_pixels_mean_and_deviation(made):
    manifest = open_manifest(made("cifar10").manifest, "train")
    images = Images(manifest, stream_above_gb=8)
    images.hold([0])
    pixels = np.stack([images.window(0).image(i) for i in range(manifest.count)]).reshape(-1, 3).astype(float)
    assert manifest.record["mean"] == pytest.approx(pixels.mean(axis=0))
    assert manifest.record["std"] == pytest.approx(pixels.std(axis=0))


def test_every_split_is_normalised_with_the_training_splits_statistics(workplace):
    graph = Graph(load())
    shard(graph.shards("stl10"))
    measurement = graph.measurement("finetune.stl10-swwae.centre", 0)
    training, above = measurement.training, {"stream_above_gb": 8}
    training_split = open_manifest(training.shards.manifest, "train")
    splits = [
        images_of(training, **above),
        images_of(training, "unlabelled", **above),
        images_of(training, "test", shards=measurement.shards, **above),
    ]
    assert [images.manifest.split for images in splits] == ["train", "unlabelled", "test"]
    for images in splits:
        assert images.mean.flatten().tolist() == pytest.approx(training_split.record["mean"])
        assert images.std.flatten().tolist() == pytest.approx(training_split.record["std"])
    raw = dataclasses.replace(
        training,
        spec=dataclasses.replace(training.spec, data=dataclasses.replace(training.spec.data, raw=True)),
    )
    for split in ("train", "unlabelled"):
        assert set(images_of(raw, split, **above).mean.flatten().tolist()) == {127.5}


def test_no_training_opens_a_test_split(workplace):
    graph = Graph(load())
    shard(graph.shards("stl10"))
    with pytest.raises(AssertionError, match="finetune.stl10-swwae may not open 'test'"):
        images_of(graph.training("finetune", "stl10-swwae", 0), "test", stream_above_gb=8)


def test_photographs_keep_their_own_bytes_unless_resized(made):
    shards = made("voc2007", encoding="jpeg", side=40)
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "JPEG")
    kept, pixels = encode(Sample(image=buffer.getvalue(), label=[1]), shards, where="here")
    assert kept["jpg"] == buffer.getvalue()
    assert pixels.shape == (40, 60, 3)
    smaller = dataclasses.replace(shards, dataset=dataclasses.replace(shards.dataset, side=20))
    assert encode(Sample(image=buffer.getvalue(), label=[1]), smaller, where="here")[1].shape == (20, 30, 3)


def test_an_image_that_does_not_decode_is_named(made):
    shards = made("voc2007")
    with pytest.raises(ValueError, match="voc2007 train 7: the image does not decode"):
        encode(Sample(image=b"\xff\xd8 no picture", label=[1]), shards, where="voc2007 train 7")


def test_two_lists_of_classes_have_different_drawn_pictures(made):
    labels = []
    for name in ("imagenet-animal", "imagenet-vehicle"):
        images = Images(open_manifest(made(name).manifest, "train"), stream_above_gb=8)
        labels.append(set(images.labels.tolist()))
    assert not labels[0] & labels[1]


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 3, 1), (7, 9, 3)])
def test_raw_pictures_are_read_back_even_where_pixels_look_like_line_ends(shape):
    pixels = np.full(shape, 10, np.uint8)
    assert np.array_equal(from_netpbm(netpbm(pixels), where=""), pixels)


@pytest.mark.parametrize("damage", ["flip", "cut", "swap", "lose"])
def test_a_damaged_shard_is_refused_before_any_sample_is_used(made, damage):
    shards = made("cifar10")
    path = next(shards.folder.glob("train-*.tar"))
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    elif damage == "cut":
        content = content[:-10240]
    elif damage == "swap":
        content = (shards.folder / "test-00000.tar").read_bytes()
    path.write_bytes(content)
    if damage == "lose":
        path.unlink()
    images = Images(open_manifest(shards.manifest, "train"), stream_above_gb=8)
    images.hold([0])
    with pytest.raises(ValueError, match=r"train-00000\.tar is damaged.*the next run regenerates it"):
        images.window(0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda names: [name for name in names if name != "00000003.ppm"],
            "00000003: it has no image of 3 channels",
        ),
        (
            lambda names: [name for name in names if not name.startswith("00000003")],
            "it has 47 samples, 48 in the manifest",
        ),
        (lambda names: [*names, "00000047.cls"], "00000047.cls: duplicate file name"),
        (lambda names: [*names, "folder/00000048.ppm"], "is no plain file"),
    ],
)
def test_a_shard_with_a_valid_checksum_and_wrong_members_is_refused(made, change, says):
    shards = made("cifar10")
    path, content = shards.folder / "train-00000.tar", json.loads(shards.manifest.read_bytes())
    with tarfile.open(path) as tar:
        kept = {name: tar.extractfile(name).read() for name in tar.getnames()}
    with tarfile.open(path, "w") as tar:
        for name in change(list(kept)):
            info = tarfile.TarInfo(name)
            info.size = len(kept.get(name, b""))
            tar.addfile(info, io.BytesIO(kept.get(name, b"")))
    content["splits"]["train"]["shards"][0]["sha256"] = sha256(path)
    shards.manifest.write_text(json.dumps({**content, "seal": seal(content)}))
    images = Images(open_manifest(shards.manifest, "train"), stream_above_gb=8)
    images.hold([0])
    with pytest.raises(
        ValueError, match=rf"train-00000\.tar is damaged \(.*{says}.*the next run regenerates it"
    ):
        images.window(0)


def test_members_are_those_of_webdatasets_own_reader(made):
    for name in ("cifar10", "voc2012", "voc2007"):
        for path in made(name).folder.glob("*.tar"):
            theirs = webdataset.tariterators.tar_file_iterator(path.open("rb"))
            found = [(member["fname"], bytes(member["data"])) for member in members(path.read_bytes())]
            assert found == [(member["fname"], member["data"]) for member in theirs]


def test_a_streamed_set_gives_the_batches_of_one_that_is_held(made, small_shards):
    shards = made("cifar10")
    manifest = open_manifest(shards.manifest, "train")
    assert len(manifest.windows) >= 3
    held, streamed = Images(manifest, stream_above_gb=8), Images(manifest, stream_above_gb=0)
    assert streamed.streamed
    assert not held.streamed
    every = [
        Batches(images, np.arange(manifest.count), AUGMENT, batch=10, seed=3) for images in (held, streamed)
    ]
    for step in range(3 * every[0].steps):
        one, other = (batches.at(step, torch.device("cpu")) for batches in every)
        assert torch.equal(one.centred, other.centred)
        assert torch.equal(one.index, other.index)
    assert len(streamed._held) <= 3  # windows: the one, the next, and where a batch lies across two


@pytest.mark.parametrize(
    ("name", "augment"),
    [
        ("cifar10", Augment(crop=11, flip=True)),
        ("cifar10", Augment(crop=13, pad=3, flip=True)),
        ("mnist", Augment(crop=32)),  # wider than the images
    ],
)
def test_cropping_on_the_device_gives_the_same_pixels(made, name, augment, small_shards):
    manifest, cpu = open_manifest(made(name).manifest, "train"), torch.device("cpu")
    sets = [Images(manifest, stream_above_gb=8, on=on) for on in (None, cpu)]
    assert sets[1].resident is not None
    every = [Batches(images, np.arange(manifest.count), augment, batch=10, seed=3) for images in sets]
    for step in range(every[0].steps):
        one, other = (batches.at(step, cpu) for batches in every)
        assert torch.equal(one.centred, other.centred)
        assert torch.equal(one.label, other.label)
        assert one.centred.stride() == other.centred.stride()


def test_images_with_masks_are_cropped_on_the_host(made):
    manifest = open_manifest(made("voc2012").manifest, "train")
    images = Images(manifest, stream_above_gb=8, on=torch.device("cpu"))
    assert images.resident is None
    assert Batches(images, np.arange(8), AUGMENT, batch=4, seed=0).at(0, torch.device("cpu")).x.shape[0] == 4


def test_an_epoch_shows_every_sample_once_and_each_epoch_in_another_order(made, small_shards):
    manifest = open_manifest(made("cifar10").manifest, "train")
    batches = Batches(Images(manifest, stream_above_gb=8), np.arange(48), AUGMENT, batch=8, seed=0)
    epochs = [
        torch.cat([batches.at(step, torch.device("cpu")).index for step in range(first, first + 6)]).tolist()
        for first in (0, 6)
    ]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(48))
    assert epochs[0] != epochs[1]


def test_a_batch_follows_from_seed_and_step_alone(made):
    images = Images(open_manifest(made("cifar10").manifest, "train"), stream_above_gb=8)
    run, fresh, other = (Batches(images, np.arange(48), AUGMENT, batch=8, seed=seed) for seed in (0, 0, 1))
    for step in range(13):
        last = run.at(step, torch.device("cpu"))
    assert torch.equal(last.centred, fresh.at(12, torch.device("cpu")).centred)
    assert not torch.equal(last.centred, other.at(12, torch.device("cpu")).centred)


def test_boxes_cut_the_pixels_that_they_name():
    image = np.arange(36, dtype=np.uint8).reshape(6, 6, 1)
    into = np.zeros((2, 2, 1), np.uint8)
    central_boxes(1, Augment(crop=2)).cut([image], into[None])
    assert into[:, :, 0].tolist() == [[14, 15], [20, 21]]
    Boxes(2, np.array([0.999]), np.array([0.0]), np.array([True])).cut([image], into[None])
    assert into[:, :, 0].tolist() == [[24, 25], [30, 31]]
    both = np.stack([into, into])
    mirror(both, np.array([False, True]))
    assert both[..., 0].tolist() == [[[24, 25], [30, 31]], [[25, 24], [31, 30]]]


def test_an_image_smaller_than_its_box_is_centred_on_zeros():
    into = np.zeros((4, 4, 1), np.uint8)
    central_boxes(1, Augment(crop=4)).cut([np.full((2, 2, 1), 9, np.uint8)], into[None])
    assert into[:, :, 0].tolist() == [[0, 0, 0, 0], [0, 9, 9, 0], [0, 9, 9, 0], [0, 0, 0, 0]]


def test_padding_lets_a_box_reach_beyond_the_edge_by_its_width():
    image, seen = np.full((4, 4, 1), 9, np.uint8), set()
    boxes = random_boxes(500, Augment(crop=4, pad=1), np.random.default_rng(0))
    every = np.zeros((500, 4, 4, 1), np.uint8)
    boxes.cut([image] * 500, every)
    for into in every:
        seen.add(tuple(into[:, :, 0].any(axis=1)) + tuple(into[:, :, 0].any(axis=0)))
    assert len(seen) == 9  # three places up and down, three left and right


def test_random_boxes_reach_every_place_equally_often():
    boxes = random_boxes(30_000, Augment(crop=3, flip=True), np.random.default_rng(0))
    tops = boxes.lines(5, boxes.top)[:, 0]
    assert np.bincount(tops) / 30_000 == pytest.approx([1 / 3] * 3, abs=0.02)
    assert boxes.flip.mean() == pytest.approx(0.5, abs=0.02)


def test_labels_are_drawn_balanced_by_class_for_every_seed():
    labels = np.repeat(np.arange(10), 50)
    draws = [balanced(np.arange(500), labels, 40, seed=seed) for seed in (0, 0, 1)]
    assert np.bincount(labels[draws[0]]).tolist() == [4] * 10
    assert np.array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])
    assert np.bincount(labels[balanced(np.arange(500), labels, 43, seed=0)]).max() == 5


def test_held_out_images_are_never_trained_on(made):
    images = Images(open_manifest(made("cifar10").manifest, "train"), stream_above_gb=8)
    data = Data(set="cifar10", split="train", holdout=10, labels=20)
    kept, rest = held_out(images, data, seed=0)
    drawn = subset(images, data, seed=0)
    assert len(kept) == 10
    assert len(drawn) == 20
    assert not set(kept) & set(drawn)
    assert set(drawn) <= set(rest)


def test_a_fold_is_the_manifests(made):
    images = Images(open_manifest(made("stl10").manifest, "train"), stream_above_gb=8)
    data = Data(set="stl10", split="train", fold=True)
    assert subset(images, data, seed=3).tolist() == sorted(images.manifest.record["folds"][3])


def test_held_out_images_of_a_fold_are_part_of_it_and_never_trained_on(made):
    images = Images(open_manifest(made("stl10").manifest, "train"), stream_above_gb=8)
    data = Data(set="stl10", split="train", fold=True, holdout=4)
    folds = [set(fold) for fold in images.manifest.record["folds"]]
    for seed, fold in enumerate(folds):
        kept, rest = (set(each.tolist()) for each in held_out(images, data, seed=seed))
        assert len(kept) == min(4, len(fold) // 2)
        assert kept | rest == fold
        assert not kept & rest
        assert set(subset(images, data, seed=seed).tolist()) == rest


def test_a_set_sorted_by_class_gives_batches_as_a_random_draw_does(tmp_path, workplace, monkeypatch):
    """2,000 images in 100 class folders, streamed in windows of 200."""
    from PIL import Image

    classes, each, batch = 100, 20, 50
    for k in range(classes):
        folder = tmp_path / "sorted" / "train" / f"class-{k:03d}"
        folder.mkdir(parents=True)
        for i in range(each):
            Image.fromarray(np.full((8, 8, 3), k, np.uint8)).save(folder / f"{i}.png")
    dataset = {"source": "folder", "path": str(tmp_path / "sorted"), "splits": ["train"], "encoding": "raw"}
    set_params(workplace, datasets__sorted={**dataset, "side": 8})
    monkeypatch.setattr("pipeline.data.writer.SHARD_BYTES", 60_000)
    monkeypatch.setattr("pipeline.data.manifest.WINDOW", 200)
    shards = Graph(load(scale="paper")).shards("sorted")
    shard(shards)
    images = Images(open_manifest(shards.manifest, "train"), stream_above_gb=0)
    assert images.streamed
    assert len(images.manifest.windows) >= 10
    batches = Batches(images, np.arange(classes * each), Augment(crop=8), batch=batch, seed=0)
    found = [len(set(batches.at(step, torch.device("cpu")).label.tolist())) for step in range(batches.steps)]
    random = np.random.default_rng(0)
    draws = [len(set(random.permutation(classes * each)[:batch] // each)) for _ in range(200)]
    assert np.mean(found) == pytest.approx(np.mean(draws), abs=1.0)
    assert min(found) >= min(draws) - 3


def test_members_are_named_as_other_tools_expect(made):
    shards = made("voc2012")
    with tarfile.open(next(shards.folder.glob("train-*.tar"))) as tar:
        members = tar.getmembers()
    assert members[0].name == "00000000.ppm"
    assert {member.mtime for member in members} == {0}
    assert {member.name.partition(".")[2] for member in members} >= {"ppm", "mask.pgm"}


def test_a_missing_split_is_named(made):
    with pytest.raises(ValueError, match="has no split 'tset'; it has test, train"):
        open_manifest(made("cifar10").manifest, "tset")


def test_sharding_holds_no_more_in_memory_for_ten_times_the_images(workplace):
    """Peak memory of the Python heap, for a data set and one ten times as large."""
    import tracemalloc

    peaks = []
    for images in (200, 2000):
        graph = Graph(load())
        shards = graph.shards("cifar10")
        shards = dataclasses.replace(
            shards, key=f"{images:010d}", dataset=dataclasses.replace(shards.dataset, images=images)
        )
        tracemalloc.start()
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("pipeline.data.writer.SHARD_BYTES", 100_000)
                shard(shards)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]
