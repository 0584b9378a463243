"""The baseline: a script that a competent researcher would write for the same work.

ImageFolder, DataLoader with two persistent workers, torchvision's v2 transforms and a corruption for each
image, fp32, NCHW, torch.optim.Adam, the same network and batch. RESULTS.md says what was tried to better it.
"""

import argparse
import math
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from pipeline.models.dong import NETWORKS, AutoEncoder, Encoder

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def pixel_gaussian(x: Tensor) -> Tensor:
    return x + torch.randn_like(x) * random.uniform(10, 50)


def patch_gaussian(x: Tensor, patch: int = 8) -> Tensor:
    channels, height, width = x.shape
    noise = torch.randn(channels, math.ceil(height / patch), math.ceil(width / patch)) * random.uniform(
        10, 50
    )
    return x + noise.repeat_interleave(patch, 1).repeat_interleave(patch, 2)[:, :height, :width]


def block(x: Tensor, side: int) -> None:
    top, left = random.randint(0, x.shape[1] - side), random.randint(0, x.shape[2] - side)
    x[:, top : top + side, left : left + side] = 0


def big_block(x: Tensor) -> Tensor:
    x = x.clone()
    block(x, random.randint(math.ceil(x.shape[1] / 4), x.shape[1] // 2))
    return x


def small_blocks(x: Tensor, count: int = 21) -> Tensor:
    x = x.clone()
    for _ in range(count):
        block(x, round(x.shape[1] / 8))
    return x


CORRUPTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "pixel_gaussian": pixel_gaussian,
    "patch_gaussian": patch_gaussian,
    "big_block": big_block,
    "small_blocks": small_blocks,
}


class Corrupted(Dataset):
    """An image as the network's input, and its target."""

    def __init__(self, folder: Path, *, crop: int, corruption: str) -> None:
        augment = [v2.ToImage(), v2.RandomCrop(crop), v2.RandomHorizontalFlip(), v2.ToDtype(torch.float32)]
        self.images = ImageFolder(str(folder), v2.Compose(augment))
        self.mean, self.std = (255 * torch.tensor(numbers).view(3, 1, 1) for numbers in (MEAN, STD))
        self.corrupt = CORRUPTIONS[corruption]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        centred = self.images[index][0] - self.mean
        return self.corrupt(centred) / self.std, centred / self.std


def forever(loader: DataLoader) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        yield from loader


def loader(folder: Path, *, crop: int, corruption: str, batch: int, workers: int = 2) -> DataLoader:
    dataset = Corrupted(folder, crop=crop, corruption=corruption)
    return DataLoader(
        dataset,
        batch,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
    )


class Peer:
    def __init__(self, folder: Path, *, network: str, options: dict, crop: int, batch: int) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        encoder = Encoder(NETWORKS[network](**options), eps=1e-3)
        self.model = AutoEncoder(encoder, shortcuts="full").to(self.device)
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=1e-4)
        self.batches = forever(loader(folder, crop=crop, corruption="pixel_gaussian", batch=batch))

    def train(self, steps: int) -> float:
        """Return the last loss; reading it synchronises, so a good script does it once per epoch."""
        for _ in range(steps):
            seen, target = (tensor.to(self.device, non_blocking=True) for tensor in next(self.batches))
            loss = nn.functional.mse_loss(self.model(seen), target)
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            self.optimiser.step()
        return loss.item()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peer", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="CLASS/IMAGE")
    parser.add_argument("--n", type=int, default=64)
    parser.add_argument("--crop", type=int, default=29)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=100)
    given = parser.parse_args()
    options = {"n": given.n, "m": (5, 5, 5, 0)}
    peer = Peer(given.folder, network="network-1", options=options, crop=given.crop, batch=given.batch)
    began = time.perf_counter()
    loss = peer.train(given.steps)
    seconds = time.perf_counter() - began
    print(f"loss {loss:.4f}, {given.steps * given.batch / seconds:.0f} images/s")


if __name__ == "__main__":
    main()
