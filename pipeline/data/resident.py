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

    def crops(self, indices: np.ndarray, boxes: Boxes) -> tuple[Tensor, Tensor]:
        _, height, width, _ = self.images.shape
        across = boxes.lines(width, boxes.left)
        lines = (
            indices,
            boxes.lines(height, boxes.top),
            np.where(boxes.flip[:, None], across[:, ::-1], across),
        )
        image, rows, columns = (torch.from_numpy(line).to(self.images.device) for line in lines)
        outside = ((rows < 0) | (rows >= height))[:, :, None] | ((columns < 0) | (columns >= width))[:, None]
        rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
        crops = self.images[image[:, None, None], rows[:, :, None], columns[:, None]]
        return crops.masked_fill(outside[..., None], 0), self.labels[image]
