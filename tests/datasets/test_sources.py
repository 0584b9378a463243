"""Drawn pictures for every source; the lists of classes; imports that stay fast."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.reading import load
from pipeline.data.writer import open_split
from pipeline.datasets import SOURCES, VOID, folder
from pipeline.datasets.pixels import decode
from pipeline.datasets.procedural import look, open_procedural
from pipeline.datasets.synsets import SYNSETS
from pipeline.pictures import pictures
from pipeline.work.graph import Graph

NAMES = sorted(SOURCES)


def test_sources_are_listed_without_importing_a_library():
    code = "import sys, pipeline.datasets; print({'torch', 'torchvision', 'PIL', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@given(name=st.sampled_from(NAMES), i=st.integers(0, 99), more=st.integers(100, 5000))
def test_a_drawn_picture_depends_only_on_its_index(name, i, more):
    few = open_procedural(SOURCES[name], "train", count=100, side=16)[i]
    many = open_procedural(SOURCES[name], "train", count=more, side=16)[i]
    other = open_procedural(SOURCES[name], "test", count=100, side=16)[i]
    assert np.array_equal(few.image, many.image)
    assert (few.label, few.image.dtype) == (many.label, np.uint8)
    assert few.image.shape == (16, 16, SOURCES[name].channels)
    assert not np.array_equal(few.image, other.image)


def test_drawn_pictures_of_different_sources_differ():
    drawn = {open_procedural(SOURCES[name], "train", count=1, side=32)[0].image.tobytes() for name in NAMES}
    assert len(drawn) == len(NAMES)


@pytest.mark.parametrize("name", ["mnist", "cifar100", "imagenet"])
def test_each_class_is_drawn_equally_often(name):
    classes = SOURCES[name].classes
    split = open_procedural(SOURCES[name], "train", count=2 * classes, side=8)
    assert np.array_equal(np.bincount([split[i].label for i in range(len(split))]), np.full(classes, 2))


def test_a_thousand_classes_look_different():
    assert len({look(k) for k in range(1000)}) == 1000


def test_scenes_show_one_to_three_classes():
    split = open_procedural(SOURCES["voc2007"], "train", count=200, side=16)
    shown = [split[i].label for i in range(200)]
    assert {len(each) for each in shown} == {1, 2, 3}
    assert all(each == sorted(set(each)) for each in shown)
    assert {k for each in shown for k in each} == set(range(20))


def test_a_drawn_object_fills_its_box_and_nothing_beside_it():
    split = open_procedural(SOURCES["voc2007"], "train", count=400, side=48)
    samples = [split[i] for i in range(400)]
    assert all(sorted(k for k, *_ in each.objects) == each.label for each in samples)
    reds = [(each.image, each.objects[0][1:]) for each in samples if each.label == [0]]
    assert split.classes[0] == "plain red disc"
    for image, box in reds:
        left, top, right, bottom = (round(48 * part) for part in box)
        red = (image[..., 0] > 190) & (image[..., 1] < 75)
        rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
        found = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        assert np.abs(np.subtract(found, (left, top, right, bottom))).max() <= 1
        assert red[top:bottom, left:right].mean() > 0.7
    assert len(reds) > 2
    assert open_procedural(SOURCES["cifar10"], "train", count=5, side=8)[0].objects is None


def test_a_mask_has_background_classes_and_a_thin_void():
    split = open_procedural(SOURCES["voc2012"], "test", count=300, side=48)
    assert (len(split.classes), split.classes[0]) == (21, "background")
    masks = np.stack([split[i].mask for i in range(300)])
    assert set(np.unique(masks)) == {*range(21), VOID}
    assert (masks == 0).mean() > 0.5
    assert 0.005 < (masks == VOID).mean() < 0.1
    assert split[0].label is None


def test_the_colour_under_a_mask_is_that_of_its_class():
    split = open_procedural(SOURCES["voc2012"], "train", count=100, side=48)
    reds = [
        s.image[s.mask == 1].mean(axis=0) for s in map(split.__getitem__, range(100)) if (s.mask == 1).any()
    ]
    assert split.classes[1] == "plain red disc"
    assert all(red > 200 and green < 60 and blue < 60 for red, green, blue in reds)


def test_ten_balanced_folds_of_a_fifth_each():
    split = open_procedural(SOURCES["stl10"], "train", count=500, side=8)
    assert len(split.folds) == 10
    for fold in split.folds:
        assert np.array_equal(np.bincount([split[i].label for i in fold]), np.full(10, 10))
    unlabelled = open_procedural(SOURCES["stl10"], "unlabelled", count=5, side=8)
    assert (unlabelled.folds, unlabelled[0].label) == (None, None)
    assert open_procedural(SOURCES["cifar10"], "train", count=5, side=8).folds is None


@pytest.mark.parametrize(("name", "least"), [("mnist", 0.25), ("cifar10", 0.6)])
def test_classes_are_learned_from_small_pixels(name, least):
    from sklearn.linear_model import LogisticRegression

    def pixels_and_labels(split, count):
        drawn = open_procedural(SOURCES[name], split, count=count, side=16)
        samples = [drawn[i] for i in range(count)]
        images = np.stack([each.image for each in samples]) / 255
        coarse = images.reshape(count, 8, 2, 8, 2, -1).mean(axis=(2, 4)).reshape(count, -1)
        return coarse, [each.label for each in samples]

    model = LogisticRegression(max_iter=200, tol=0.01).fit(*pixels_and_labels("train", 600))
    assert model.score(*pixels_and_labels("test", 300)) > least


def test_the_two_kinds_of_imagenet_are_disjoint_and_of_the_known_sizes():
    animal, vehicle = SYNSETS["animal"], SYNSETS["vehicle"]
    assert (len(set(animal)), len(set(vehicle))) == (218 + 59, 72)
    assert not set(animal) & set(vehicle)
    known = {"cock": "n01514668", "giant panda": "n02510455", "dugong": "n02074367", "tusker": "n01871265"}
    assert set(known.values()) <= set(animal)
    others = {"tench": "n01440764", "axolotl": "n01632777", "jellyfish": "n01910747", "ladybug": "n02165456"}
    assert not set(others.values()) & set(animal)
    assert {"n02690373", "n04612504", "n04336792", "n03218198"} <= set(
        vehicle
    )  # airliner, yawl, stretcher, dogsled
    assert not {"n02974003", "n03888257", "n03874293"} & set(vehicle)  # car wheel, parachute, paddlewheel


def test_a_set_written_as_files_is_read_as_the_same_images(workplace, capsys):
    shards = Graph(load()).shards("cifar10")
    pictures(Graph(load()), "cifar10")
    tree = Path(capsys.readouterr().out.strip())
    assert tree == Path("data/pictures/cifar10")

    def counted(split):
        names = split.classes
        held = (split[i] for i in range(len(split)))
        return Counter(
            (names[each.label], decode(each.image, channels=3, where="").tobytes()) for each in held
        )

    for split in shards.dataset.splits:
        assert counted(folder.open_split(tree, split, path=tree)) == counted(open_split(shards, split))


def test_images_that_show_several_classes_are_not_written_as_a_tree(workplace):
    with pytest.raises(ValueError, match="voc2007 has several classes per image"):
        pictures(Graph(load()), "voc2007")
