"""Images as data URLs: figures, and arrays of images kept by measurements."""

import base64
import io
from pathlib import Path
from typing import Any

FEW = 5  # images shown for a run


def webp(image: Any) -> str:
    """Encode losslessly as WebP, about half as large as PNG."""
    written = io.BytesIO()
    image.save(written, "WEBP", lossless=True, method=1)
    return f"data:image/webp;base64,{base64.b64encode(written.getvalue()).decode()}"


def of_file(path: Path) -> tuple[str, int, int]:
    """Return a figure's data URL, width and height."""
    from PIL import Image

    with Image.open(path) as image:
        return webp(image.convert("RGB")), *image.size


def kept(path: Path) -> dict[str, str]:
    """Map arrays of images, (K, H, W, 1 or 3) of bytes, to strips of their first images."""
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
