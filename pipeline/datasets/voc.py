"""PASCAL VOC: 2007 for the classes that a picture shows, 2012 for the class of each pixel."""

from functools import cache
from pathlib import Path
from xml.etree import ElementTree

from pipeline.datasets.archives import place, unpack
from pipeline.datasets.splits import Files

CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train"),
    "tvmonitor",
)
# Our split -> the archive's folder in raw, the official image set.
SETS = {
    "2007": {"train": ("trainval", "trainval"), "test": ("test", "test")},
    "2012": {
        "train": ("trainval", "train"),
        "test": ("trainval", "val"),
    },  # no masks of 2012's test are public
}
ARCHIVES = {
    "2007": {"trainval": "VOCtrainval_06-Nov-2007.tar", "test": "VOCtest_06-Nov-2007.tar"},
    "2012": {"trainval": "VOCtrainval_11-May-2012.tar"},
}


def fetch_2007(raw: Path, *, mirror: Path | None, path: Path | None = None) -> None:
    for folder, archive in ARCHIVES["2007"].items():
        unpack(place(archive, raw, mirror), raw / folder)


def fetch_2012(raw: Path, *, mirror: Path | None, path: Path | None = None) -> None:
    for folder, archive in ARCHIVES["2012"].items():
        unpack(place(archive, raw, mirror), raw / folder)


def open_2007(
    raw: Path, split: str, *, path: Path | None = None, synsets: tuple[str, ...] | None = None
) -> Files:
    from torchvision.datasets import VOCDetection

    folder, image_set = SETS["2007"][split]
    listed = VOCDetection(_unpacked(raw, folder), year="2007", image_set=image_set)

    @cache
    def shown(i: int) -> list[int]:
        """The classes of the objects that are not marked difficult."""
        return _shown(Path(listed.annotations[i]))

    return Files([Path(each) for each in listed.images], shown, CLASSES)


def open_2012(
    raw: Path, split: str, *, path: Path | None = None, synsets: tuple[str, ...] | None = None
) -> Files:
    from torchvision.datasets import VOCSegmentation

    folder, image_set = SETS["2012"][split]
    listed = VOCSegmentation(_unpacked(raw, folder), year="2012", image_set=image_set)
    paths, masks = ([Path(each) for each in several] for several in (listed.images, listed.masks))
    return Files(paths, lambda i: None, ("background", *CLASSES), masks)


def _unpacked(raw: Path, folder: str) -> Path:
    if not (raw / folder).is_dir():
        raise ValueError(f"{raw / folder} is missing; python -m pipeline.fetch {raw.name} gets it")
    return raw / folder


def _shown(annotation: Path) -> list[int]:
    try:
        objects = ElementTree.parse(annotation).getroot().findall("object")
        kept = {
            each.findtext("name", "").strip() for each in objects if each.findtext("difficult", "0") != "1"
        }
        return sorted(CLASSES.index(name) for name in kept)
    except (OSError, ElementTree.ParseError, ValueError) as error:
        raise ValueError(f"{annotation} cannot be read: {error}; delete its folder and fetch again") from None
