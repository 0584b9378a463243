"""export: a trained encoder for other code: images in [0, 1] become a map of features.

Plain torch reads the file in three lines:

    import torch
    encoder = torch.export.load("results/backbones/….pt2").module()
    features = encoder(pictures)
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline.data.images import mean_and_deviation
from pipeline.runner.cli import run_stage
from pipeline.system.files import RESULTS, write_whole
from pipeline.training.weights import manifest_of, trained
from pipeline.work.graph import Graph
from pipeline.work.identity import Training


class Backbone(nn.Module):
    """A backbone as torchvision's detectors take it."""

    mean: Tensor
    std: Tensor

    def __init__(self, encoder: nn.Module, *, mean: Tensor, std: Tensor, side: int) -> None:
        super().__init__()
        self.encoder = encoder.eval()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        with torch.inference_mode():
            self.out_channels = self(torch.zeros(1, mean.shape[1], side, side)).shape[1]

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] -> (N, out_channels, h, w)"""
        return self.encoder((255 * pictures - self.mean) / self.std)


def training_of(graph: Graph, label: str, seed: int) -> Training:
    stage, _, name = label.partition(".")
    return graph.training(stage, name, seed)


def backbone(graph: Graph, label: str, seed: int) -> Backbone:
    """The encoder of stage.run, preceded by the standardisation of its pixels."""
    training = training_of(graph, label, seed)
    manifest = manifest_of(training)
    encoder = trained(training, manifest).encoder
    assert isinstance(encoder, nn.Module)
    mean, std = mean_and_deviation(manifest, raw=training.spec.data.raw)
    return Backbone(encoder, mean=mean, std=std, side=training.spec.augment.crop)


def example_of(model: Backbone, training: Training) -> Tensor:
    """Pictures larger than the crops trained on: for a single place torch.export makes another program."""
    side = 4 * training.spec.augment.crop
    return torch.rand(2, model.mean.shape[1], side, side)


def export(graph: Graph, label: str, seed: int) -> None:
    """Write results/backbones/<scale>/<stage.run>/<seed>-<key>.pt2.

    It takes any number of images of any size whose feature map has more than one place.
    """
    model = backbone(graph, label, seed)
    training = training_of(graph, label, seed)
    any_size = torch.export.Dim.AUTO
    example = example_of(model, training)
    shapes = {"pictures": {0: any_size, 2: any_size, 3: any_size}}
    program = torch.export.export(model, (example,), dynamic_shapes=shapes)
    path = RESULTS / "backbones" / training.scale / training.label / f"{seed}-{training.key}.pt2"
    write_whole(path, lambda beside: _save(program, beside))
    print(path)


def _save(program: torch.export.ExportedProgram, path: Path) -> None:
    with path.open("wb") as file:
        torch.export.save(program, file)


if __name__ == "__main__":
    run_stage("export", export)
