"""Official archives go through fetch and shard unchanged."""

import json

import numpy as np
import pytest
from conftest import set_params
from test_archives import offer, tar_of
from test_layouts import cifar_files, idx_files, pictures, stl10_files
from test_photographs import annotation, jpeg

from pipeline.config.reading import load
from pipeline.config.runs import Data
from pipeline.data.images import Images
from pipeline.data.manifest import open_manifest
from pipeline.data.subsets import subset
from pipeline.data.writer import chosen, shard
from pipeline.fetch import fetch
from pipeline.work.graph import Graph
from pipeline.work.identity import licence_of


@pytest.fixture
def sharded(workplace, monkeypatch):
    """Fetch and shard a data set at the paper's scale, from a mirror of these files."""

    def make(name, files):
        for file, content in files.items():
            offer(monkeypatch, workplace / "mirror", file, content)
        set_params(workplace, mirror=str(workplace / "mirror"))
        graph = Graph(load(scale="paper"))
        fetch(graph, graph.shards(name).raw.name)
        shard(graph.shards(name))
        return graph.shards(name)

    return make


def held(shards, split):
    images = Images(open_manifest(shards.manifest, split), stream_above_gb=8)
    images.hold([0])
    return images, images.window(0)


def test_stl10_keeps_its_official_folds(sharded):
    shards = sharded("stl10", stl10_files())
    images, pixels = held(shards, "train")
    data = Data(set="stl10", split="train", fold=True)
    written = chosen(shards, "train", 20)
    assert [sorted(written[subset(images, data, seed=seed)]) for seed in range(10)] == [
        [k, k + 10] for k in range(10)
    ]
    for place, index in enumerate(written):
        official = pictures((20, 3, 96, 96))[index].transpose(2, 1, 0)
        assert np.array_equal(pixels.image(place), official)
    assert held(shards, "unlabelled")[1].labels.tolist() == [-1] * 20


def test_mnist_and_cifar_survive_sharding_unchanged(sharded):
    images, pixels = held(sharded("mnist", idx_files()), "train")
    for place, label in enumerate(images.labels.tolist()):  # image k shows the digit k
        assert np.array_equal(pixels.image(place)[:, :, 0], pictures((6, 28, 28))[label])
    assert sorted(images.labels.tolist()) == list(range(6))
    shards = sharded("cifar10", cifar_files(10))
    manifest = json.loads(shards.manifest.read_text())
    assert manifest["license"].startswith("none stated")
    assert manifest["splits"]["train"]["shape"] == [32, 32]
    assert len(manifest["classes"]) == 10
    assert manifest["splits"]["train"]["count"] == 5 * manifest["splits"]["test"]["count"]


def test_voc_photographs_are_stored_at_their_short_side_with_all_their_classes(sharded):
    base, files = "VOCdevkit/VOC2007", {}
    for name, image_set in (("trainval", "trainval"), ("test", "test")):
        members = {
            f"{base}/ImageSets/Main/{image_set}.txt": b"000005\n",
            f"{base}/Annotations/000005.xml": annotation(("person", 0), ("dog", 0), ("cat", 1)),
            f"{base}/JPEGImages/000005.jpg": jpeg(5),
        }
        files[f"VOC{name}_06-Nov-2007.tar"] = tar_of(members)
    images, pixels = held(sharded("voc2007", files), "train")
    shown = [images.manifest.classes[k] for k in pixels.labels[0].nonzero().flatten().tolist()]
    assert shown == ["dog", "person"]
    assert min(pixels.image(0).shape[:2]) == 256
    assert images.objects == [[(14, 0.0, 0.0, 0.5, 1.0), (11, 0.0, 0.0, 0.5, 1.0)]]


def test_a_mirror_that_is_not_a_folder_is_refused(workplace):
    set_params(workplace, mirror="/no/such/folder")
    with pytest.raises(ValueError, match="mirror is '/no/such/folder', which is not a folder"):
        fetch(Graph(load(scale="paper")), "mnist")


def test_an_unknown_archive_name_is_refused(workplace):
    with pytest.raises(ValueError, match="nothing is fetched under 'minst'; did you mean 'mnist'"):
        fetch(Graph(load(scale="paper")), "minst")
    with pytest.raises(ValueError, match="is drawn at scale smoke; there is nothing to fetch"):
        fetch(Graph(load()), "mnist")


def test_every_real_set_has_its_licence_in_croissants_fields():
    graph = Graph(load(scale="paper"))
    for name in graph.params.datasets:
        assert licence_of(graph.shards(name))["license"]
    assert licence_of(graph.shards("svhn")) == {
        "license": "non-commercial use only",
        "url": "http://ufldl.stanford.edu/housenumbers/",
    }
