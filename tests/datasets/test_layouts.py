"""Small files in the exact layouts of the official ones, from a mirror to samples."""

import io
import os
import pickle
from typing import ClassVar

import numpy as np
import pytest
from test_archives import offer, tar_of

from pipeline.datasets import SOURCES
from pipeline.datasets.cifar import CONTENT, ArraysOnly, content_of


class Python2(pickle._Pickler):
    """Writes what Python 2 wrote: all text as plain strings, numpy's functions under their old names."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_plain(self, value):
        content = value if isinstance(value, bytes) else value.encode()
        self.write(pickle.BINSTRING + len(content).to_bytes(4, "little") + content)
        self.memoize(value)

    dispatch[bytes] = dispatch[str] = save_plain


def python2(value):
    file = io.BytesIO()
    Python2(file, protocol=2).dump(value)
    return file.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def pictures(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def idx_files():
    files = {}
    for prefix, n in (("train", 6), ("t10k", 4)):
        lengths = (n, 28, 28)
        header = bytes([0, 0, 8, 3]) + b"".join(each.to_bytes(4, "big") for each in lengths)
        files[f"{prefix}-images-idx3-ubyte"] = header + pictures(lengths).tobytes()
        files[f"{prefix}-labels-idx1-ubyte"] = bytes([0, 0, 8, 1, 0, 0, 0, n]) + bytes(range(n))
    return files


@pytest.fixture
def fetched(monkeypatch, tmp_path):
    """Fetch a source of these files from a mirror: its raw folder."""

    def fetch(source, files):
        for name, content in files.items():
            offer(monkeypatch, tmp_path / "mirror", name, content)
        raw = tmp_path / "raw" / source
        raw.mkdir(parents=True, exist_ok=True)
        SOURCES[source].fetch(raw, mirror=tmp_path / "mirror")
        return raw

    return fetch


def test_mnist_is_read_row_by_row(fetched):
    split = SOURCES["mnist"].open(fetched("mnist", idx_files()), "test")
    assert [split[i].label for i in range(len(split))] == [0, 1, 2, 3]
    assert np.array_equal(split[3].image[:, :, 0], pictures((4, 28, 28))[3])
    assert split.classes[7] == "7"


def test_svhn_calls_the_digit_0_zero(fetched):
    from scipy.io import savemat

    images, files = pictures((32, 32, 3, 5)), {}
    for name in ("train", "test", "extra"):
        file = io.BytesIO()
        savemat(file, {"X": images, "y": np.array([[10], [1], [2], [9], [10]], np.uint8)})
        files[f"{name}_32x32.mat"] = file.getvalue()
    split = SOURCES["svhn"].open(fetched("svhn", files), "extra")
    assert [split[i].label for i in range(5)] == [0, 1, 2, 9, 0]
    assert np.array_equal(split[4].image, images[:, :, :, 4])


def cifar_files(classes, *, images=3, batch=None):
    folder = {10: "cifar-10-batches-py", 100: "cifar-100-python"}[classes]
    names = [f"name {k}" for k in range(classes)]
    if classes == 10:
        batches, members = [f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"], {"label_names": names}
    else:
        batches, members = ["train", "test"], {"fine_label_names": names, "coarse_label_names": names[:20]}
    packed = {f"{folder}/{'batches.meta' if classes == 10 else 'meta'}": python2(members)}
    for k, name in enumerate(batches):
        labels = [(k + i) % classes for i in range(images)]
        content = {"data": pictures((images, 3072), k), "filenames": ["a.png"] * images, "batch_label": name}
        content |= (
            {"labels": labels} if classes == 10 else {"fine_labels": labels, "coarse_labels": [0] * images}
        )
        packed[f"{folder}/{name}"] = python2(content) if batch is None else batch
    return {f"cifar-{classes}-python.tar.gz": tar_of(packed, "w:gz")}


@pytest.mark.parametrize(("classes", "train"), [(10, 15), (100, 3)])
def test_cifar_is_read_plane_by_plane(fetched, classes, train):
    source = SOURCES[f"cifar{classes}"]
    raw = fetched(f"cifar{classes}", cifar_files(classes))
    split, test = source.open(raw, "train"), source.open(raw, "test")
    assert (len(split), len(test)) == (train, 3)
    assert split.classes[9] == "name 9"
    assert len(split.classes) == classes
    official = {pictures((3, 3, 32, 32), 0)[i].transpose(1, 2, 0).tobytes(): i for i in range(3)}
    found = {split[i].image.tobytes(): split[i].label for i in range(train)}
    assert len(found) == train
    assert official.items() <= found.items()


def test_unpacked_cifar_gives_the_same_images_as_the_archive(fetched, tmp_path, monkeypatch):
    """A mirror with SPLIT/CLASS/IMAGE in place of the archive, whatever the files' names and order."""
    from PIL import Image

    source, archived = SOURCES["cifar10"], fetched("cifar10", cifar_files(10, images=10))
    splits = {name: source.open(archived, name) for name in ("train", "test")}
    for name, split in splits.items():
        for k in range(len(split)):
            folder = tmp_path / "files" / "cifar10" / name / split.classes[split[k].label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(split[k].image).save(folder / f"{97 * k % 89}.png")
    raw = tmp_path / "raw-of-files" / "cifar10"
    raw.mkdir(parents=True)
    with pytest.raises(ValueError, match="does not hold the official images of CIFAR-10"):
        source.fetch(raw, mirror=tmp_path / "files")
    assert list(raw.iterdir()) == []
    for name, split in splits.items():
        monkeypatch.setitem(CONTENT, (10, name), content_of(split.images, split.labels))
    source.fetch(raw, mirror=tmp_path / "files")
    for name, split in splits.items():
        again = source.open(raw, name)
        assert np.array_equal(again.images, split.images)
        assert np.array_equal(again.labels, split.labels)
        assert again.classes == split.classes
    monkeypatch.setitem(CONTENT, (10, "test"), "another")
    with pytest.raises(ValueError, match=r"images\.npz .*not the official ones"):
        source.open(raw, "test")


class Malice:
    def __reduce__(self):
        return os.system, ("true",)


def test_a_pickle_that_calls_code_is_refused(fetched):
    with pytest.raises(ValueError, match=r"cifar-10-python\.tar\.gz: .*data_batch_1 .*calls \w+\.system"):
        SOURCES["cifar10"].open(fetched("cifar10", cifar_files(10, batch=pickle.dumps(Malice(), 2))), "train")
    for evil in (b"c__builtin__\neval\n.", b"cnumpy\nload\n.", b"cnumpy.core.multiarray\nfrombuffer\n."):
        with pytest.raises(pickle.UnpicklingError, match="which no official file does"):
            ArraysOnly(io.BytesIO(evil), encoding="bytes").load()


def test_a_changed_archive_is_not_even_opened(fetched):
    raw = fetched("cifar10", cifar_files(10))
    (raw / "cifar-10-python.tar.gz").write_bytes(
        cifar_files(10, batch=pickle.dumps(Malice(), 2)).popitem()[1]
    )
    with pytest.raises(ValueError, match="its md5 is"):
        SOURCES["cifar10"].open(raw, "train")


def stl10_files(images=20):
    folder, files = "stl10_binary", {}
    for name, labelled in (("train", True), ("test", True), ("unlabeled", False)):
        files[f"{folder}/{name}_X.bin"] = pictures((images, 3, 96, 96)).tobytes()
        if labelled:
            files[f"{folder}/{name}_y.bin"] = bytes(i % 10 + 1 for i in range(images))
    names = "airplane bird car cat deer dog horse monkey ship truck"
    files[f"{folder}/class_names.txt"] = names.replace(" ", "\n").encode()
    folds = "\n".join(f"{k} {k + 10} " for k in range(10)) + "\n"
    files[f"{folder}/fold_indices.txt"] = folds.encode()
    return {"stl10_binary.tar.gz": tar_of(files, "w:gz")}


def test_stl10_is_read_column_by_column_with_its_folds(fetched):
    raw, source = fetched("stl10", stl10_files()), SOURCES["stl10"]
    split, rest = source.open(raw, "train"), source.open(raw, "unlabelled")
    assert split.folds == [[k, k + 10] for k in range(10)]
    assert np.array_equal(split[3].image, pictures((20, 3, 96, 96))[3].transpose(2, 1, 0))
    assert (split[9].label, split.classes[9]) == (9, "truck")
    assert (len(rest), rest[0].label, rest.folds, source.open(raw, "test").folds) == (20, None, None, None)


def test_an_stl10_file_that_was_cut_short_is_refused(fetched):
    raw = fetched("stl10", stl10_files())
    file = raw / "unpacked" / "stl10_binary" / "test_X.bin"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"test_X\.bin is cut short"):
        SOURCES["stl10"].open(raw, "test")
    file.write_bytes(file.read_bytes()[: 19 * 27648])
    with pytest.raises(ValueError, match="19 images and 20 labels"):
        SOURCES["stl10"].open(raw, "test")
