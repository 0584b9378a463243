"""shard: a data set as deterministic WebDataset tars and a manifest, written last."""

import hashlib
import io
import json
import math
import tarfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.datasets import SOURCES, Sample, Split
from pipeline.files import need_room, seal, write_json, write_whole
from pipeline.graph import Shards
from pipeline.progress import Progress

SHARD_BYTES = 64 << 20  # a shard is closed at the first sample past this
FORMATS = ("BMP", "JPEG", "PNG", "WEBP")  # of images; some other readers of Pillow's call programs
MOST_PIXELS = 178_956_970  # of an image; Pillow refuses more
VOID = 255  # of a mask: no class
PROBES = 8  # samples that tell how much room a split needs
QUALITY = 95  # of photographs that are re-sized, hence encoded anew


def shard(shards: Shards) -> None:
    """Write every split of the data set; the same input gives the same bytes on any machine."""
    source = SOURCES[shards.dataset.source]
    splits: dict[str, Any] = {}
    classes: tuple[str, ...] = ()
    for name in shards.dataset.splits:
        split = open_split(shards, name)
        need_room(shards.folder, _estimated(shards, name, split), what=f"{shards.name}, split {name!r},")
        splits[name] = write_split(shards, name, split)
        classes = classes or tuple(split.classes)
    manifest = {
        "dataset": shards.name,
        "shown": shards.shown,
        "key": shards.key,
        "labels": source.labels,
        "channels": source.channels,
        "side": shards.dataset.side,
        "classes": list(classes),
        "splits": splits,
    }
    write_json(shards.manifest, {**manifest, "seal": seal(manifest)})


def open_split(shards: Shards, name: str) -> Split:
    dataset, source = shards.dataset, SOURCES[shards.dataset.source]
    from pipeline.datasets.synsets import SYNSETS

    if shards.procedural:
        from pipeline.datasets.procedural import open_procedural

        cap = shards.test_images if name == "test" else dataset.images
        count = min(each for each in (cap, source.splits.get(name)) if each is not None)
        only = None
        if dataset.synsets:  # each list of classes is stood in for by drawn classes of its own
            only = range(list(SYNSETS).index(dataset.synsets), source.classes or 0, len(SYNSETS))
        assert dataset.side is not None
        return open_procedural(source, name, count=count, side=dataset.side, only=only)
    synsets = SYNSETS[dataset.synsets] if dataset.synsets else None
    path = Path(dataset.path).expanduser() if dataset.path else None
    return source.open(shards.raw, name, path=path, synsets=synsets)


def chosen(shards: Shards, name: str, total: int) -> np.ndarray:
    """A split's samples in a fixed random order, as many as the cap allows.

    Sources list class by class. In this order every window of a streamed set, and the first N of any split,
    is a random draw.
    """
    cap = shards.test_images if name == "test" else shards.dataset.images
    return np.random.default_rng(0).permutation(total)[:cap]


def write_split(shards: Shards, name: str, split: Split) -> dict[str, Any]:
    if not len(split):
        raise ValueError(f"{shards.name}: split {name!r} has no image")
    taken = chosen(shards, name, len(split))
    histogram = np.zeros((SOURCES[shards.dataset.source].channels, 256), dtype=np.int64)
    shapes: set[tuple[int, int]] = set()

    progress = Progress(len(taken), f"{name}: image")

    def samples() -> Iterator[tuple[str, dict[str, bytes]]]:
        for i, index in enumerate(taken):
            where, sample = _sample(shards, name, split, int(index))
            parts, pixels = encode(sample, shards, where=where)
            mask = from_netpbm(parts["mask.pgm"], where=where) if "mask.pgm" in parts else None
            try:
                check_classes(sample.label, mask, len(split.classes))
            except ValueError as error:
                raise ValueError(f"{where}: {error}; mend it or take it away") from None
            shapes.add(pixels.shape[:2])
            for channel, counts in enumerate(histogram):
                counts += np.bincount(pixels[:, :, channel].ravel(), minlength=256)
            progress.say(i + 1)
            yield f"{i:08d}", parts
        progress.end()

    listed = [
        _write_tar(shards.folder, f"{name}-{i:05d}.tar", part) for i, part in enumerate(_parts(samples()))
    ]
    values, pixels = np.arange(256), histogram.sum(axis=1)
    mean = histogram @ values / pixels
    std = np.sqrt(histogram @ values**2 / pixels - mean**2)
    record = {
        "count": len(taken),
        "shards": listed,
        "mean": mean.tolist(),
        "std": std.tolist(),
        "shape": list(shapes.pop()) if len(shapes) == 1 else None,
    }
    if split.folds is not None:
        place = {int(index): i for i, index in enumerate(taken)}
        record["folds"] = [[place[i] for i in fold if i in place] for fold in split.folds]
    return record


def _sample(shards: Shards, name: str, split: Split, index: int) -> tuple[str, Sample]:
    """A sample, and how messages name it."""
    sample = split[index]
    return f"{shards.name} {name} {index}" + (f" ({sample.origin})" if sample.origin else ""), sample


def _estimated(shards: Shards, name: str, split: Split) -> int:
    """Bytes of a split's tars, by some of its samples; what lies there already will give way."""
    taken = chosen(shards, name, len(split))
    probes = taken[:: max(1, len(taken) // PROBES)]
    sizes = [
        sum(1024 + len(content) for content in encode(sample, shards, where=where)[0].values())
        for where, sample in (_sample(shards, name, split, int(index)) for index in probes)
    ]
    there = sum(file.stat().st_size for file in shards.folder.glob(f"{name}-*.tar"))
    return sum(sizes) * len(taken) // max(1, len(sizes)) - there


def check_classes(label: int | list[int] | None, mask: np.ndarray | None, classes: int) -> None:
    shown = [] if label is None else label if isinstance(label, list) else [label]
    if mask is not None:
        shown = [*shown, *np.unique(mask[mask != VOID]).tolist()]
    if wrong := [each for each in shown if not 0 <= each < classes]:
        raise ValueError(f"it has the class {wrong[0]}; {classes} are known")


def encode(sample: Sample, shards: Shards, *, where: str) -> tuple[dict[str, bytes], np.ndarray]:
    """A sample as the members of a tar, and its pixels (H, W, C)."""
    pixels, image = _image(sample, shards, where=where)
    parts = dict([image])
    if isinstance(sample.label, list):
        parts["json"] = json.dumps(sample.label).encode()
    elif sample.label is not None:
        parts["cls"] = str(sample.label).encode()
    if sample.mask is not None:
        mask = decode(sample.mask, channels=None, where=where)[:, :, 0]
        if mask.shape != pixels.shape[:2]:
            mask = resized(mask, pixels.shape[:2], nearest=True)
        parts["mask.pgm"] = netpbm(mask[:, :, None])
    if shards.dataset.objects:
        parts["objects.json"] = json.dumps(sample.objects).encode()
    return parts, pixels


def _image(sample: Sample, shards: Shards, *, where: str) -> tuple[np.ndarray, tuple[str, bytes]]:
    channels, side = SOURCES[shards.dataset.source].channels, shards.dataset.side
    pixels = decode(sample.image, channels=channels, where=where)
    original = sample.image if isinstance(sample.image, bytes) else b""
    if shards.dataset.square and pixels.shape[0] != pixels.shape[1]:
        short = min(pixels.shape[:2])
        top, left = ((length - short) // 2 for length in pixels.shape[:2])
        pixels, original = pixels[top : top + short, left : left + short], b""
    if side is not None and min(pixels.shape[:2]) != side:
        factor = side / min(pixels.shape[:2])
        shape = tuple(max(side, round(length * factor)) for length in pixels.shape[:2])
        pixels, original = resized(pixels, shape), b""
    if shards.dataset.encoding == "raw":
        return pixels, ("ppm" if channels == 3 else "pgm", netpbm(pixels))
    if original[:2] == b"\xff\xd8":
        return pixels, ("jpg", original)
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(buffer, "JPEG", quality=QUALITY)
    return decode(buffer.getvalue(), channels=channels, where=where), ("jpg", buffer.getvalue())


def decode(image: np.ndarray | bytes | memoryview, *, channels: int | None, where: str) -> np.ndarray:
    """Pixels (H, W, C); of a palette picture the indices, where no number of channels is asked for."""
    if isinstance(image, np.ndarray):
        return image if image.ndim == 3 else image[:, :, None]
    if image[:1] == b"P":
        return from_netpbm(image, where=where)  # a view: raw pixels are not copied
    if channels == 3 and image[:2] == b"\xff\xd8" and (pixels := from_jpeg(image)) is not None:
        return pixels
    from PIL import Image

    try:
        with Image.open(io.BytesIO(image), formats=FORMATS) as opened:  # refuses more than 179 million pixels
            picture = opened if channels is None else opened.convert("RGB" if channels == 3 else "L")
            pixels = np.asarray(picture)
    except MemoryError:
        raise
    except Exception as error:  # Pillow's readers have a dozen kinds of error for a damaged image
        raise ValueError(f"{where}: the image does not decode ({error}); replace or remove it") from None
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def from_jpeg(image: bytes | memoryview) -> np.ndarray | None:
    """What Pillow would give, to the bit, in a quarter of its time; None where Pillow is to say."""
    import simplejpeg

    try:
        height, width, kind, _ = simplejpeg.decode_jpeg_header(image)
        usual = kind in ("YCbCr", "Gray", "RGB") and height * width <= MOST_PIXELS
        return simplejpeg.decode_jpeg(image, "RGB") if usual else None
    except ValueError:
        return None


def netpbm(pixels: np.ndarray) -> bytes:
    """Raw pixels behind a header that every viewer knows: PPM for colour, PGM for grey."""
    height, width, channels = pixels.shape
    return b"P%d\n%d %d\n255\n" % (6 if channels == 3 else 5, width, height) + pixels.tobytes()


def from_netpbm(image: bytes | memoryview, *, where: str) -> np.ndarray:
    try:
        head = bytes(image[:64])
        end = head.index(b"\n", head.index(b"\n", 3) + 1) + 1
        shape = _shape(head[:end])
        if len(image) - end != math.prod(shape):
            raise ValueError
        return np.ndarray(shape, np.uint8, image, end)
    except (ValueError, KeyError):
        raise ValueError(f"{where}: not the raw image that its header says") from None


@lru_cache(maxsize=16)
def _shape(head: bytes) -> tuple[int, int, int]:
    kind, size, depth, _ = head.split(b"\n")
    width, height = map(int, size.split())
    if depth != b"255" or min(height, width) < 1:
        raise ValueError
    return height, width, {b"P6": 3, b"P5": 1}[kind]


def resized(pixels: np.ndarray, shape: tuple[int, ...], *, nearest: bool = False) -> np.ndarray:
    from PIL import Image

    how = Image.Resampling.NEAREST if nearest else Image.Resampling.BICUBIC  # antialiased when shrinking
    resized = np.asarray(Image.fromarray(pixels.squeeze()).resize((shape[1], shape[0]), how))
    return resized if nearest or resized.ndim == 3 else resized[:, :, None]


def _parts(samples: Iterator) -> Iterator[list]:
    """Groups of samples of about a shard's size each."""
    part: list = []
    size = 0
    for key, members in samples:
        part.append((key, members))
        size += sum(512 + len(content) for content in members.values())
        if size >= SHARD_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def _write_tar(folder: Path, name: str, samples: list[tuple[str, dict[str, bytes]]]) -> dict[str, Any]:
    def write(beside: Path) -> None:
        with tarfile.open(beside, "w", format=tarfile.USTAR_FORMAT) as tar:
            for key, members in samples:
                for extension, content in members.items():
                    info = tarfile.TarInfo(f"{key}.{extension}")
                    info.size, info.mtime = len(content), 0
                    tar.addfile(info, io.BytesIO(content))

    path = folder / name
    write_whole(path, write)
    content = path.read_bytes()
    return {
        "name": name,
        "count": len(samples),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


if __name__ == "__main__":
    from pipeline.command import run_stage

    run_stage("shard", lambda graph, name, seed: shard(graph.shards(name)))
