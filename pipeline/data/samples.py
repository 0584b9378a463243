"""A sample as the members of a tar, and back."""

import io
import json
from typing import Any

import numpy as np

from pipeline.config.typed import build
from pipeline.data.manifest import Manifest
from pipeline.datasets import SOURCES, VOID, Object, Sample
from pipeline.datasets.pixels import decode, netpbm, resized
from pipeline.work.identity import Shards

QUALITY = 95  # of photographs that are re-encoded, because they are resized or cropped


def encode(sample: Sample, shards: Shards, *, where: str) -> tuple[dict[str, bytes], np.ndarray]:
    """The members of a sample by extension, and its pixels (H, W, C)."""
    pixels, image = _image(sample, shards, where=where)
    members = dict([image])
    if isinstance(sample.label, list):
        members["json"] = json.dumps(sample.label).encode()
    elif sample.label is not None:
        members["cls"] = str(sample.label).encode()
    if sample.mask is not None:
        mask = decode(sample.mask, channels=None, where=where)[:, :, 0]
        if mask.shape != pixels.shape[:2]:
            mask = resized(mask, pixels.shape[:2], nearest=True)
        members["mask.pgm"] = netpbm(mask[:, :, None])
    if shards.dataset.objects:
        members["objects.json"] = json.dumps(sample.objects).encode()
    return members, pixels


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


def decoded(members: dict[str, Any], manifest: Manifest) -> Sample:
    """A sample as webdataset groups it: by extension, beside `__key__` and `__url__`."""
    image = mask = None
    label: int | list[int] | None = None
    objects: tuple[Object, ...] = ()
    for extension, content in members.items():
        if extension == "cls":
            label = int(bytes(content))
        elif extension == "json":
            label = list(build(tuple[int, ...], json.loads(bytes(content)), "its label"))
        elif extension == "objects.json":
            objects = build(tuple[Object, ...], json.loads(bytes(content)), "its objects")
        elif extension == "mask.pgm":
            mask = decode(content, channels=None, where=extension)[:, :, 0]
        elif not extension.startswith("__"):
            image = decode(content, channels=manifest.channels, where=extension)
    if image is None or image.shape[2] != manifest.channels:
        raise ValueError(f"it has no image of {manifest.channels} channels")
    if mask is not None and mask.shape != image.shape[:2]:
        raise ValueError(f"its mask is {mask.shape}, its image {image.shape[:2]}")
    check_classes(label, mask, len(manifest.classes))
    check_classes([number for number, *_ in objects], None, len(manifest.classes))
    for _, left, top, right, bottom in objects:
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            raise ValueError(f"it has the box {(left, top, right, bottom)}; 0 to 1 is the image")
    return Sample(image, label, mask, list(objects))


def check_classes(label: int | list[int] | None, mask: np.ndarray | None, classes: int) -> None:
    numbers = [] if label is None else label if isinstance(label, list) else [label]
    if mask is not None:
        numbers = [*numbers, *np.unique(mask[mask != VOID]).tolist()]
    if wrong := [number for number in numbers if not 0 <= number < classes]:
        raise ValueError(f"it has the class {wrong[0]}; {classes} are known")
