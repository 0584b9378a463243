"""Images as data addresses: figures that were drawn, and what measurements keep to be looked at."""

import base64
import io
from pathlib import Path
from typing import Any

FEW = 5  # images of a run


def webp(image: Any) -> str:
    """Without loss, at about half the bytes of a PNG."""
    written = io.BytesIO()
    image.save(written, "WEBP", lossless=True, method=1)
    return f"data:image/webp;base64,{base64.b64encode(written.getvalue()).decode()}"


def of_file(path: Path) -> tuple[str, int, int]:
    """A figure's address, width and height."""
    from PIL import Image

    with Image.open(path) as image:
        return webp(image.convert("RGB")), *image.size


def kept(path: Path) -> dict[str, str]:
    """A strip of the first images of each array that holds images: (K, H, W, 1 or 3) of bytes."""
    import numpy as np
    from PIL import Image

    if not path.exists():
        return {}
    with np.load(path, allow_pickle=False) as arrays:
        found = {name: arrays[name] for name in arrays.files}
    strips = {}
    for name, images in found.items():
        if images.dtype == np.uint8 and images.ndim == 4 and images.shape[3] in (1, 3):
            strip = np.concatenate(list(images[:FEW]), axis=1).squeeze()
            strips[name] = webp(Image.fromarray(strip))
    return strips
