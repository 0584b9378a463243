"""pictures: write a data set's images as files, data/pictures/<set>/<split>/<class>/<number>.png."""

import numpy as np

from pipeline.data.writer import open_split
from pipeline.datasets.pixels import decode
from pipeline.runner.cli import run_stage
from pipeline.system.files import DATA, need_room
from pipeline.system.progress import Progress
from pipeline.work.graph import Graph


def pictures(graph: Graph, name: str) -> None:
    """Write images of one class each to folders by class; images without classes to the split's folder."""
    from PIL import Image

    shards, tree = graph.shards(name), DATA / "pictures" / name
    for split in shards.dataset.splits:
        opened, place = open_split(shards, split), tree / split
        need_room(place, 4096 * len(opened), what=f"{name}, split {split!r}, as files")
        progress = Progress(len(opened), "image")
        for number in range(len(opened)):
            sample = opened[number]
            if isinstance(sample.label, list):
                raise ValueError(f"{name} has several classes per image; a tree of folders needs one")
            pixels = decode(sample.image, channels=None, where=sample.origin)
            folder = place if sample.label is None else place / opened.classes[sample.label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.ascontiguousarray(pixels.squeeze())).save(folder / f"{number:06d}.png")
            progress.say(number + 1)
        progress.end()
    print(tree)


if __name__ == "__main__":
    run_stage("pictures", lambda graph, name, seed: pictures(graph, name))
