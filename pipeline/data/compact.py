"""A shard of raw images for a transfer: its pixels as lossless WebP, and the same bytes again from that."""

import io
import lzma

import numpy as np

from pipeline.data.reader import members
from pipeline.datasets.pixels import decode, from_netpbm

TALLEST = 16_383  # pixels of a WebP image
FRAME = "frame.xz"  # the shard with its pixels zeroed


def compacted(tar: bytes) -> dict[str, bytes]:
    """The shard as smaller files by name; none unless all its images are raw and of one size.

    Images one above the other share WebP's tables: CIFAR-10 takes 54 % of its pixels, one by one 57 %.
    """
    from PIL import Image

    frame = bytearray(tar)
    images = pixels_of(frame)
    if len({image.shape for image in images}) != 1:
        return {}
    height, width, channels = images[0].shape
    strips = {}
    for number, at in enumerate(range(0, len(images), TALLEST // height)):
        strip = np.stack(images[at : at + TALLEST // height]).reshape(-1, width, channels)
        file = io.BytesIO()
        Image.fromarray(strip.squeeze(axis=2) if channels == 1 else strip).save(file, "WEBP", lossless=True)
        strips[f"{number:03}.webp"] = file.getvalue()
    for image in images:
        image[:] = 0
    return {FRAME: lzma.compress(frame, preset=1), **strips}


def restored(files: dict[str, bytes]) -> bytes:
    tar = bytearray(lzma.decompress(files[FRAME]))
    images = pixels_of(tar)
    height, width, channels = images[0].shape
    strips = [decode(files[name], channels=channels, where=name) for name in sorted(files) if name != FRAME]
    pictures = np.concatenate(strips).reshape(-1, height, width, channels)
    for image, picture in zip(images, pictures, strict=True):
        image[:] = picture
    return bytes(tar)


def pixels_of(tar: bytearray) -> list[np.ndarray]:
    """Views of a shard's raw images (H, W, C), in order; writing to one changes the shard."""
    raw = [member for member in members(tar) if member["fname"].endswith((".ppm", ".pgm"))]
    return [from_netpbm(member["data"], where=member["fname"]) for member in raw]
