"""A split that a device holds whole and cuts batches from."""

import numpy as np
import torch
from torch import Tensor

from pipeline.data.crops import Boxes
from pipeline.data.window import Window


class Resident:
    """Images of one size on a device, cut there to the same pixels as `Images.crops` cuts."""

    def __init__(self, windows: list[Window], device: torch.device) -> None:
        images = [window.alike for window in windows if window.alike is not None]
        self.images = torch.cat([torch.from_numpy(some).to(device) for some in images])
        self.labels = torch.cat([window.labels for window in windows]).to(device)

    def places(self, indices: np.ndarray, boxes: Boxes) -> Tensor:
        """(N, 4) on the device: image, first row, first column, whether mirrored."""
        _, height, width, _ = self.images.shape
        columns = (indices, boxes.starts(height, boxes.top), boxes.starts(width, boxes.left), boxes.flip)
        return torch.from_numpy(np.stack(columns, axis=1)).to(self.images.device)

    def crops(self, places: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """The crops and labels of these places; nothing is copied from the host."""
        _, height, width, _ = self.images.shape
        image, top, left, mirrored = places.unbind(dim=1)
        line = torch.arange(size, device=places.device)
        rows = top[:, None] + line
        columns = left[:, None] + torch.where(mirrored[:, None] > 0, size - 1 - line, line)
        outside = ((rows < 0) | (rows >= height))[:, :, None] | ((columns < 0) | (columns >= width))[:, None]
        rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
        crops = self.images[image[:, None, None], rows[:, :, None], columns[:, None]]
        return crops.masked_fill(outside[..., None], 0), self.labels[image]
