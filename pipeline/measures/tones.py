"""How contrast and saturation differ between two images: pure functions of pixels (N, C, H, W)."""

import torch
from torch import Tensor

WINDOWS = 8  # to a side of an image, since contrast and saturation are local
TINY = torch.finfo(torch.float64).tiny
WHOLE = (1, 2, 3)
WINDOW = (2, 3)


def tones(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Of each y, clipped to [0, 255]: the share of its squared error that is tones, and what it keeps of x's.

    Tones are fitted by least squares: contrast between windows by a factor for the image, contrast within a
    window by one, a window's saturation by one. The share goes once y's are scaled to x's, or x's to y's,
    whichever leaves more: shapes that are lost or added stay, and so do brightness and hue. It is NaN where y
    equals x. What is kept is one factor over all: 1 for x, 0 for a grey image or an unrelated one.
    """
    (image, *parts), (image_y, *parts_y) = _parts(x), _parts(y.clamp(0, 255))
    error = (image_y - image).square().mean(dim=WHOLE)
    left, along, energy = error.clone(), torch.zeros_like(error), torch.zeros_like(error)
    for over, a, b in zip((WHOLE, WINDOW, WINDOW), parts, parts_y, strict=True):
        aa, bb, ab = ((p * q).mean(dim=over, keepdim=True) for p, q in ((a, a), (b, b), (a, b)))
        apart = aa + bb - 2 * ab
        scaled = torch.maximum(aa, bb) - ab.square() / torch.minimum(aa, bb).clamp(min=TINY)
        rest = torch.where(ab > 0, scaled, apart)  # a negative factor would invert contrast
        for total, value in ((error, apart), (left, rest), (along, ab), (energy, aa)):
            total += value.mean(dim=WHOLE)
    return 1 - left / error, along / energy


def _parts(x: Tensor) -> list[Tensor]:
    """Orthogonal parts whose sum is x: brightness, contrast between windows and within, colour.

    Shapes broadcast to (N, windows, pixels, C), so a mean over a part's own values is one over all.
    """
    count = min(WINDOWS, *x.shape[2:])
    height, width = (side // count for side in x.shape[2:])
    x = x.double()[..., : height * count, : width * count].unfold(2, height, height).unfold(3, width, width)
    x = x.flatten(4).flatten(2, 3).movedim(1, 3)
    grey = x.mean(dim=3, keepdim=True)
    window = grey.mean(dim=2, keepdim=True)
    image = window.mean(dim=1, keepdim=True)
    return [image, window - image, grey - window, x - grey]
