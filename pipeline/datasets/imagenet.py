"""ImageNet (ILSVRC 2012), which users have to get themselves: official archives, or unpacked trees."""

import re
import tarfile
from functools import partial
from pathlib import Path

from pipeline.datasets.archives import bounded, find, unpack, verify
from pipeline.datasets.folder import images_in
from pipeline.datasets.splits import Files

ARCHIVES = {
    "train": ("ILSVRC2012_img_train.tar",),
    "val": ("ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12.tar.gz"),  # the devkit has the images' classes
}
FOLDERS = {"train": "train", "test": "val"}  # the official test labels are not public
WNID = re.compile(r"n\d{8}")


def wanted(raw: Path) -> list[str]:
    """The archives whose images are not unpacked yet."""
    return [name for folder, names in ARCHIVES.items() if not _wnids(raw / folder) for name in names]


def missing(raw: Path, mirror: Path | None) -> str:
    """Say which archives are nowhere, and where to put them; empty if none is."""
    absent = [name for name in wanted(raw) if find(name, raw, mirror) is None]
    if not absent:
        return ""
    return (
        f"ImageNet has to be requested at image-net.org: {', '.join(absent)} "
        f"{'is' if len(absent) == 1 else 'are'} neither in {raw} nor in the folder that params.yaml "
        f"names under 'mirror:'; put them there, or {raw}/train/<wnid>/*.JPEG and {raw}/val/<wnid>/*.JPEG"
    )


def fetch(raw: Path, *, mirror: Path | None, path: Path | None = None) -> None:
    """Unpack archives of this size from where they are, without copying them to `raw`."""
    if slip := missing(raw, mirror):
        raise ValueError(slip)
    files = {name: find(name, raw, mirror) for name in wanted(raw)}
    archives = {name: verify(file, name) for name, file in files.items() if file is not None}
    if ARCHIVES["train"][0] in archives:
        unpack(archives[ARCHIVES["train"][0]], raw / "train", _extract_train)
    if ARCHIVES["val"][0] in archives:
        unpack(archives[ARCHIVES["val"][0]], raw / "val", partial(_extract_val, archives[ARCHIVES["val"][1]]))


def open_split(
    raw: Path, split: str, *, path: Path | None = None, synsets: tuple[str, ...] | None = None
) -> Files:
    """Open a split, or only the classes `synsets` of it, which keep their numbers."""
    folder = raw / FOLDERS[split]
    present = _wnids(folder)
    if not present:
        raise ValueError(f"{folder} has no image; python -m pipeline.fetch {raw.name} says what to put there")
    # From both splits, so that a class missing in one split does not shift the numbers of others.
    classes = sorted({wnid for name in FOLDERS.values() for wnid in _wnids(raw / name)})
    if lacking := sorted(set(synsets or ()) - set(present)):
        raise ValueError(
            f"{folder} lacks {len(lacking)} of the classes in 'synsets': {', '.join(lacking[:5])}, …"
        )
    number = {wnid: k for k, wnid in enumerate(classes)}
    paths = [image for wnid in sorted(synsets or present) for image in images_in(folder / wnid)]
    return Files(paths, lambda i: number[paths[i].parent.name], tuple(classes))


def _wnids(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if WNID.fullmatch(path.name))


def _extract_train(path: Path, folder: Path) -> None:
    """Unpack an archive of archives, one per class; the inner ones are never written to disk."""
    take = bounded(path)
    with tarfile.open(path) as classes:
        for member in classes:
            name, inner = Path(member.name).stem, classes.extractfile(member)
            if inner is None or not WNID.fullmatch(name):
                raise tarfile.TarError(f"its member {member.name} is not the archive of a class")
            (folder / name).mkdir(parents=True)
            with tarfile.open(fileobj=inner) as images:
                images.extractall(folder / name, filter=take)


def _extract_val(devkit: Path, path: Path, folder: Path) -> None:
    from torchvision.datasets.imagenet import parse_devkit_archive, parse_val_archive

    raw = folder.parent
    parse_devkit_archive(raw, str(devkit.absolute()))
    parse_val_archive(raw, str(path.absolute()), folder=folder.name)
