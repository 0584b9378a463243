"""Images as bytes and as pixels: JPEG, PNG and raw Netpbm; resizing."""

import io
import math
from functools import lru_cache

import numpy as np

FORMATS = ("BMP", "JPEG", "PNG", "WEBP")  # of images; some other readers of Pillow's call programs
MOST_PIXELS = 178_956_970  # of an image; Pillow refuses more


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
    try:
        import simplejpeg
    except ModuleNotFoundError:  # on a lent machine: docs/paper-scale.md
        return None
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
