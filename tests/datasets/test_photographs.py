"""VOC, ImageNet and folders: photographs keep their bytes."""

import hashlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from test_archives import offer, tar_of

from pipeline.datasets import SOURCES
from pipeline.datasets.archives import official
from pipeline.datasets.pixels import decode


def jpeg(seed=0, kind="JPEG"):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def annotation(*objects, box=(1, 1, 6, 9)):
    """Of an image of 12 x 9 pixels; a box names its first and last columns and rows, counted from 1."""
    place = "".join(
        f"<{name}>{value}</{name}>" for name, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    each = "".join(
        f"<object><name>{name}</name><difficult>{difficult}</difficult>"
        f"<part><name>head</name><bndbox><xmin>7</xmin></bndbox></part><bndbox>{place}</bndbox></object>"
        for name, difficult in objects
    )
    size = "<size><width>12</width><height>9</height><depth>3</depth></size>"
    return f"<annotation><folder>VOC</folder>{size}{each}</annotation>".encode()


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "raw" / "here"
    folder.mkdir(parents=True)
    return folder


def test_voc2007_leaves_difficult_objects_out(monkeypatch, tmp_path, raw):
    base, source = "VOCdevkit/VOC2007", SOURCES["voc2007"]
    shown = {
        "000005": annotation(("person", 0), ("dog", 0), ("person", 0), ("cat", 1)),
        "000007": annotation(("car", 1)),
    }
    for name, image_set in (("trainval", "trainval"), ("test", "test")):
        files = {f"{base}/ImageSets/Main/{image_set}.txt": b"000005\n000007\n"}
        files |= {f"{base}/Annotations/{each}.xml": content for each, content in shown.items()}
        files |= {f"{base}/JPEGImages/{each}.jpg": jpeg(int(each) + len(name)) for each in shown}
        offer(monkeypatch, tmp_path / "mirror", f"VOC{name}_06-Nov-2007.tar", tar_of(files))
    source.fetch(raw, mirror=tmp_path / "mirror")
    train, test = source.open(raw, "train"), source.open(raw, "test")
    assert [train.classes[k] for k in train[0].label] == ["dog", "person"]
    assert (len(train), train[1].label, len(train.classes)) == (2, [], 20)
    assert (train[0].image, test[0].image) == (jpeg(5 + 8), jpeg(5 + 4))
    half = (0.0, 0.0, 0.5, 1.0)  # the left half, in parts of the image
    assert train[0].objects == [(14, *half), (11, *half), (14, *half)]
    assert train[1].objects == []
    annotations = raw / "trainval" / base / "Annotations"
    (annotations / "000005.xml").write_bytes(annotation(("dog", 0), box=(13, 1, 14, 9)))
    with pytest.raises(ValueError, match=r"000005\.xml cannot be read: a box has the pixels 13 to 14 of 12"):
        source.open(raw, "train")[0]


def test_voc2012_gives_palette_masks_and_its_val_as_test(monkeypatch, tmp_path, raw):
    base, source = "VOCdevkit/VOC2012", SOURCES["voc2012"]
    classes = np.array([[0, 15, 255], [20, 20, 0]], np.uint8)
    mask = Image.fromarray(classes, mode="P")
    mask.putpalette(list(range(256)) * 3)
    buffer = io.BytesIO()
    mask.save(buffer, "PNG")
    names = {"train": "2007_000032", "val": "2007_000033"}
    files = {
        f"{base}/ImageSets/Segmentation/{each}.txt": f"{name}\n".encode() for each, name in names.items()
    }
    for k, name in enumerate(names.values()):
        files[f"{base}/JPEGImages/{name}.jpg"] = jpeg(k)
        files[f"{base}/SegmentationClass/{name}.png"] = buffer.getvalue()
    offer(monkeypatch, tmp_path / "mirror", "VOCtrainval_11-May-2012.tar", tar_of(files))
    source.fetch(raw, mirror=tmp_path / "mirror")
    sample = source.open(raw, "test")[0]
    assert sample.image == jpeg(1)
    with Image.open(io.BytesIO(sample.mask)) as opened:
        assert np.array_equal(np.asarray(opened), classes)
    assert sample.label is None
    assert source.open(raw, "train").classes[15] == "person"


WNIDS = ("n01440764", "n02119789", "n04612504")


def devkit():
    """The inner node that the official one has too, and classes out of the order of their names."""
    from scipy.io import savemat

    kind = [(name, object) for name in ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children")]
    synsets = [(3, WNIDS[0], "tench, Tinca tinca", "fish", 0), (1, WNIDS[1], "kit fox", "fox", 0)]
    synsets += [(2, WNIDS[2], "yawl", "boat", 0), (4, "n00001740", "entity", "all", 3)]
    meta = io.BytesIO()
    savemat(meta, {"synsets": np.array(synsets, dtype=kind)[:, None]})
    truth = {"data/meta.mat": meta.getvalue(), "data/ILSVRC2012_validation_ground_truth.txt": b"2\n3\n1\n"}
    return tar_of({f"ILSVRC2012_devkit_t12/{name}": content for name, content in truth.items()}, "w:gz")


def test_imagenet_unpacks_from_its_official_archives(monkeypatch, tmp_path, raw):
    from torchvision.datasets.imagenet import ARCHIVE_META

    inner = {
        f"{w}.tar": tar_of({f"{w}_{i}.JPEG": jpeg(10 * k + i) for i in (1, 2)}) for k, w in enumerate(WNIDS)
    }
    val = {f"ILSVRC2012_val_{i:08d}.JPEG": jpeg(100 + i) for i in (1, 2, 3)}
    for part, content in (("train", tar_of(inner)), ("val", tar_of(val)), ("devkit", devkit())):
        name = ARCHIVE_META[part][0]
        offer(monkeypatch, tmp_path / "mirror", name, content)
        monkeypatch.setitem(ARCHIVE_META, part, (name, official()[name].md5))
    source = SOURCES["imagenet"]
    source.fetch(raw, mirror=tmp_path / "mirror")
    train, test = source.open(raw, "train"), source.open(raw, "test")
    assert train.classes == test.classes == WNIDS
    assert [(train[i].image, train[i].label) for i in (0, 5)] == [(jpeg(1), 0), (jpeg(22), 2)]
    assert {test[i].image: test[i].label for i in range(3)} == {jpeg(101): 2, jpeg(102): 0, jpeg(103): 1}
    some = source.open(raw, "train", synsets=(WNIDS[2], WNIDS[1]))
    assert [some[i].label for i in range(4)] == [1, 1, 2, 2]
    with pytest.raises(ValueError, match="lacks 1 of the classes in 'synsets': n09999999"):
        source.open(raw, "train", synsets=("n09999999",))
    source.fetch(raw, mirror=None)  # what is unpacked is not asked for again


def test_missing_imagenet_is_reported_in_one_line(raw):
    with pytest.raises(ValueError, match="ILSVRC2012_img_train.tar, .*_val.tar, .*devkit.*mirror") as refusal:
        SOURCES["imagenet"].fetch(raw, mirror=None)
    assert "\n" not in str(refusal.value)
    (raw / "train" / WNIDS[0]).mkdir(parents=True)
    with pytest.raises(ValueError, match=r"image-net\.org: ILSVRC2012_img_val\.tar, ILSVRC2012_devkit"):
        SOURCES["imagenet"].fetch(raw, mirror=None)


def fill(root, *names):
    for k, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(jpeg(k, "PNG" if name.endswith("png") else "JPEG"))


def test_a_folder_numbers_its_classes_alike_in_every_split(tmp_path, raw):
    fill(
        tmp_path / "my", "train/bee/1.jpg", "train/ant/2.png", "test/bee/3.JPEG", "more/4.jpg", "more/.hidden"
    )
    source = SOURCES["folder"]
    source.fetch(raw, mirror=None, path=tmp_path / "my")
    train, test, more = (source.open(raw, split, path=tmp_path / "my") for split in ("train", "test", "more"))
    assert train.classes == test.classes == ("ant", "bee")
    assert [train[0].label, train[1].label, test[0].label, more[0].label] == [0, 1, 1, None]
    assert (train[0].image, train[0].origin) == (jpeg(1, "PNG"), str(tmp_path / "my/train/ant/2.png"))
    assert len(more) == 1


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([], "has no folders"),
        (["train/"], "train is empty"),
        (["train/ant/"], "ant is empty"),
        (["train/ant/1.jpg", "train/2.jpg"], "both images"),
        (["train/ant/1.jpg", "train/ant/deep/2.jpg"], "holds the folder deep"),
        (["train/ant/1.jpg", "train/ant/notes.txt"], r"notes\.txt is not an image"),
    ],
)
def test_a_folder_with_a_slip_is_refused_before_it_is_read(tmp_path, raw, files, said):
    (tmp_path / "my").mkdir()
    fill(tmp_path / "my", *(name for name in files if not name.endswith("/")))
    for name in files:
        if name.endswith("/"):
            (tmp_path / "my" / name).mkdir(parents=True)
    with pytest.raises(ValueError, match=said):
        SOURCES["folder"].fetch(raw, mirror=None, path=tmp_path / "my")


def test_a_split_that_a_folder_lacks_is_refused_with_those_it_has(tmp_path, raw):
    fill(tmp_path, "train/ant/1.jpg")
    with pytest.raises(ValueError, match="no split 'test'; its folders are raw, train"):
        SOURCES["folder"].open(raw, "test", path=tmp_path)


@pytest.mark.parametrize("content", [b"", b"no picture", jpeg()[:3]])
def test_a_file_that_is_no_image_is_refused_by_name(tmp_path, raw, content):
    fill(tmp_path / "my", "train/ant/1.jpg", "train/ant/2.jpg")
    (tmp_path / "my/train/ant/2.jpg").write_bytes(content)
    split = SOURCES["folder"].open(raw, "train", path=tmp_path / "my")
    assert hashlib.md5(split[0].image).digest() == hashlib.md5(jpeg()).digest()
    with pytest.raises(ValueError, match=r"ant/2\.jpg is not an image"):
        split[1]
    (tmp_path / "my/train/ant/2.jpg").unlink()
    with pytest.raises(ValueError, match=r"ant/2\.jpg is not an image"):
        split[1]


def by_pillow(image):
    with Image.open(io.BytesIO(image)) as opened:
        return np.asarray(opened.convert("RGB"))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from(["RGB", "L", "CMYK"]),
    st.fixed_dictionaries(
        {
            "quality": st.integers(1, 100),
            "subsampling": st.sampled_from([0, 1, 2]),
            "progressive": st.booleans(),
            "optimize": st.booleans(),
        }
    ),
)
def test_every_kind_of_jpeg_decodes_as_in_pillow(height, width, mode, options):
    channels = len(mode)
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, channels), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze(2) if channels == 1 else pixels, mode=mode).save(buffer, "JPEG", **options)
    image = buffer.getvalue()
    assert np.array_equal(decode(image, channels=3, where=""), by_pillow(image))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_damaged_jpeg_decodes_as_in_pillow_or_is_refused(data):
    whole = jpeg(seed=1)
    at = data.draw(st.integers(2, len(whole) - 1))
    image = data.draw(
        st.sampled_from([whole[:at], whole[:at] + b"\xff" + whole[at + 1 :], whole[:at] + whole[at + 2 :]])
    )
    try:
        found = decode(image, channels=3, where="it")
    except ValueError as error:
        assert "it: the image does not decode" in str(error)
    else:
        assert np.array_equal(found, by_pillow(image))


def test_a_jpeg_that_lies_about_its_size_is_refused():
    whole = jpeg()
    at = whole.index(b"\xff\xc0") + 5  # of the frame's header: its height and width
    with pytest.raises(ValueError, match="it: the image does not decode"):
        decode(whole[:at] + b"\xff\xff\xff\xff" + whole[at + 4 :], channels=3, where="it")
