"""A folder of the user's own: DIR/<split>/<class>/<image>, or DIR/<split>/<image> without labels."""

from pathlib import Path

from pipeline.datasets.splits import Files

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
OF_THE_SYSTEM = ("Thumbs.db", "desktop.ini")


def fetch(raw: Path, *, mirror: Path | None, path: Path | None = None) -> None:
    """Copy nothing; check the layout before any shard is written."""
    for folder in _folders(_root(path)):
        _listed(folder)


def open_split(
    raw: Path, split: str, *, path: Path | None = None, synsets: tuple[str, ...] | None = None
) -> Files:
    root = _root(path)
    if not (root / split).is_dir():
        names = ", ".join(folder.name for folder in _folders(root))
        raise ValueError(f"{root} has no split {split!r}; its folders are {names}")
    # From all splits, so that a class missing in one split does not shift the numbers of others.
    classes = sorted({path.name for folder in _folders(root) for path in _folders(folder)})
    number = {name: k for k, name in enumerate(classes)}
    paths = _listed(root / split)
    labels = [None if file.parent == root / split else number[file.parent.name] for file in paths]
    return Files(paths, labels.__getitem__, tuple(classes))


def images_in(folder: Path) -> list[Path]:
    """The files of a folder; refuse any that is not an image."""
    files = sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
    files = [file for file in files if file.name not in OF_THE_SYSTEM]
    for file in files:
        if file.suffix.lower() not in SUFFIXES:
            raise ValueError(f"{file} is not an image; {', '.join(SUFFIXES)} are; convert or remove it")
    return files


def _root(path: Path | None) -> Path:
    assert path is not None, "params.yaml's reader asks for it"
    if not path.is_dir():
        raise ValueError(f"{path} is not a folder; a data set's 'path' holds SPLIT/CLASS/IMAGE")
    if not _folders(path):
        raise ValueError(f"{path} has no folders; a data set's 'path' holds SPLIT/CLASS/IMAGE")
    return path


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _listed(split: Path) -> list[Path]:
    flat, folders = images_in(split), _folders(split)
    if flat and folders:
        raise ValueError(
            f"{split} holds both images ({flat[0].name}, …) and folders ({folders[0].name}, …); "
            "either all its images lie in folders of their classes, or none"
        )
    paths = list(flat)
    for folder in folders:
        if deeper := _folders(folder):
            raise ValueError(f"{folder} holds the folder {deeper[0].name}; a class holds images only")
        if not (images := images_in(folder)):
            raise ValueError(f"{folder} is empty; put that class's images there, or remove it")
        paths += images
    if not paths:
        raise ValueError(f"{split} is empty; it holds CLASS/IMAGE, or images without labels")
    return paths
