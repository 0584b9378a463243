"""ImageNet (ILSVRC 2012), which its users get themselves: the official archives, or the trees of them."""

import re
import tarfile
from functools import partial
from pathlib import Path

from pipeline.datasets.archives import bounded, find, unpack, verify
from pipeline.datasets.folder import images_in
from pipeline.datasets.splits import Files

ARCHIVES = {
    "train": ("ILSVRC2012_img_train.tar",),
    "val": ("ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12.tar.gz"),  # the latter says the images' classes
}
FOLDERS = {"train": "train", "test": "val"}  # the official test labels are not public
WNID = re.compile(r"n\d{8}")


def wanted(raw: Path) -> list[str]:
    """The archives whose pictures are not there yet."""
    return [name for folder, names in ARCHIVES.items() if not _wnids(raw / folder) for name in names]


def fetch(raw: Path, *, mirror: Path | None, path: Path | None = None) -> None:
    """Archives of this size are unpacked from where they lie."""
    found = {name: find(name, raw, mirror) for name in wanted(raw)}
    if missing := [name for name, file in found.items() if file is None]:
        raise ValueError(
            f"ImageNet is got from image-net.org by its users: {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} neither in {raw} nor in the folder that params.yaml "
            f"names under 'mirror:'; put them there, or {raw}/train/<wnid>/*.JPEG and {raw}/val/<wnid>/*.JPEG"
        )
    archives = {name: verify(file, name) for name, file in found.items() if file is not None}
    if ARCHIVES["train"][0] in archives:
        unpack(archives[ARCHIVES["train"][0]], raw / "train", _extract_train)
    if ARCHIVES["val"][0] in archives:
        unpack(archives[ARCHIVES["val"][0]], raw / "val", partial(_extract_val, archives[ARCHIVES["val"][1]]))


def open_split(
    raw: Path, split: str, *, path: Path | None = None, synsets: tuple[str, ...] | None = None
) -> Files:
    """`synsets` takes the images of these classes alone; a class keeps its number."""
    folder = raw / FOLDERS[split]
    present = _wnids(folder)
    if not present:
        raise ValueError(f"{folder} has no image; python -m pipeline.fetch {raw.name} says what to put there")
    # Of both splits, so that a class that one of them lacks does not shift the others.
    classes = sorted({wnid for each in FOLDERS.values() for wnid in _wnids(raw / each)})
    if lacking := sorted(set(synsets or ()) - set(present)):
        raise ValueError(
            f"{folder} lacks {len(lacking)} of the classes asked for: {', '.join(lacking[:5])}, …"
        )
    number = {wnid: k for k, wnid in enumerate(classes)}
    paths = [image for wnid in sorted(synsets or present) for image in images_in(folder / wnid)]
    return Files(paths, lambda i: number[paths[i].parent.name], tuple(classes))


def _wnids(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(each.name for each in folder.iterdir() if WNID.fullmatch(each.name))


def _extract_train(path: Path, folder: Path) -> None:
    """An archive of archives, one a class; the inner ones never touch the disk."""
    take = bounded(path)
    with tarfile.open(path) as classes:
        for member in classes:
            name, inner = Path(member.name).stem, classes.extractfile(member)
            if inner is None or not WNID.fullmatch(name):
                raise tarfile.TarError(f"its member {member.name} is no class")
            (folder / name).mkdir(parents=True)
            with tarfile.open(fileobj=inner) as images:
                images.extractall(folder / name, filter=take)


def _extract_val(devkit: Path, path: Path, folder: Path) -> None:
    from torchvision.datasets.imagenet import parse_devkit_archive, parse_val_archive

    raw = folder.parent
    parse_devkit_archive(raw, str(devkit.absolute()))
    parse_val_archive(raw, str(path.absolute()), folder=folder.name)
