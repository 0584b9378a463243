"""PASCAL VOC: 2007 for the classes in an image, 2012 for the class of each pixel."""

from functools import cache
from pathlib import Path
from xml.etree import ElementTree

from pipeline.datasets import Object
from pipeline.datasets.archives import place, unpack
from pipeline.datasets.splits import Files

CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train"),
    "tvmonitor",
)
# Our split -> (the unpacked archive's folder in raw, the official image set).
SETS = {
    "2007": {"train": ("trainval", "trainval"), "test": ("test", "test")},
    "2012": {
        "train": ("trainval", "train"),
        "test": ("trainval", "val"),
    },  # the masks of 2012's test set are not public
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
    def objects_of(i: int) -> list[Object]:
        return _objects(Path(listed.annotations[i]))

    def classes_of(i: int) -> list[int]:
        return sorted({number for number, *_ in objects_of(i)})

    return Files([Path(name) for name in listed.images], classes_of, CLASSES, objects_of=objects_of)


def open_2012(
    raw: Path, split: str, *, path: Path | None = None, synsets: tuple[str, ...] | None = None
) -> Files:
    from torchvision.datasets import VOCSegmentation

    folder, image_set = SETS["2012"][split]
    listed = VOCSegmentation(_unpacked(raw, folder), year="2012", image_set=image_set)
    paths, masks = ([Path(name) for name in names] for names in (listed.images, listed.masks))
    return Files(paths, lambda i: None, ("background", *CLASSES), masks)


def _unpacked(raw: Path, folder: str) -> Path:
    if not (raw / folder).is_dir():
        raise ValueError(f"{raw / folder} is missing; python -m pipeline.fetch {raw.name} gets it")
    return raw / folder


def _objects(annotation: Path) -> list[Object]:
    """The objects of an image that are not marked difficult."""
    try:
        root = ElementTree.parse(annotation).getroot()
        width, height = (int(root.findtext(f"size/{side}", "")) for side in ("width", "height"))
        return [
            (CLASSES.index(element.findtext("name", "").strip()), left, top, right, bottom)
            for element in root.findall("object")
            if element.findtext("difficult", "0") != "1"
            for left, right in [_span(element, "x", width)]
            for top, bottom in [_span(element, "y", height)]
        ]
    except (OSError, ElementTree.ParseError, ValueError) as error:
        raise ValueError(f"{annotation} cannot be read: {error}; delete its folder and fetch again") from None


def _span(element: ElementTree.Element, axis: str, length: int) -> tuple[float, float]:
    """Low and high ends of a box, as fractions of the image's side; VOC counts pixels from 1, inclusively."""
    first, last = (float(element.findtext(f"bndbox/{axis}{end}", "")) for end in ("min", "max"))
    low, high = max(first - 1, 0), min(last, length)
    if not low < high:
        raise ValueError(f"a box has the pixels {first:g} to {last:g} of {length}")
    return low / length, high / length
