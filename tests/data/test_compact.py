"""A shard travels smaller and is the same to the byte where it arrives."""

import numpy as np
import pytest

from pipeline.config.reading import load
from pipeline.data import compact
from pipeline.data.writer import _write_tar, shard
from pipeline.datasets.pixels import netpbm
from pipeline.work.graph import Graph


@pytest.mark.parametrize("name", ["mnist", "cifar10"])  # one channel, three
def test_a_shard_of_one_size_is_restored_to_the_byte_from_fewer_bytes(workplace, monkeypatch, name):
    monkeypatch.setattr(
        compact, "TALLEST", 19 * 20
    )  # 48 images of 19 pixels: three strips, the last one short
    shards = Graph(load()).shards(name)
    shard(shards)
    tar = (shards.folder / "train-00000.tar").read_bytes()
    files = compact.compacted(tar)
    assert list(files) == ["frame.xz", "000.webp", "001.webp", "002.webp"]
    assert compact.restored(files) == tar
    assert sum(map(len, files.values())) < len(tar) / 2


def test_random_pixels_are_restored_to_the_bit(workplace, monkeypatch):
    shards = Graph(load()).shards("cifar10")
    shard(shards)
    tar = bytearray((shards.folder / "train-00000.tar").read_bytes())
    rng = np.random.default_rng(0)
    for image in compact.pixels_of(tar):
        image[:] = rng.integers(0, 256, image.shape)
    assert compact.restored(compact.compacted(bytes(tar))) == bytes(tar)


def test_a_shard_of_several_sizes_or_of_photographs_stays_as_it_is(tmp_path):
    small, large = (netpbm(np.zeros((side, side, 3), np.uint8)) for side in (4, 5))
    for images in ([("ppm", small), ("ppm", large)], [("jpg", b"\xff\xd8")]):
        samples = [(f"{i:08d}", dict([image])) for i, image in enumerate(images)]
        _write_tar(tmp_path / "train-00000.tar", samples)
        assert compact.compacted((tmp_path / "train-00000.tar").read_bytes()) == {}
