"""Damage: bits flipped, files truncated, values edited; detected before use, repaired by the next run."""

import io
import json
import math
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
import yaml
from conftest import params_of, set_params
from PIL import Image

from pipeline.config.reading import load
from pipeline.data.manifest import open_manifest
from pipeline.data.window import Window
from pipeline.data.writer import shard
from pipeline.datasets.archives import Archive, official
from pipeline.datasets.archives import place as placed
from pipeline.datasets.pixels import decode, netpbm
from pipeline.system.files import seal, sha256
from pipeline.training.run import train
from pipeline.training.weights import load_parts
from pipeline.work.graph import Graph
from pipeline.work.identity import Shards
from torture import Fault, refused

FULL = "imagenet-full"


def short_params(place: Path) -> dict[str, Any]:
    """Cut params.yaml to two runs and what they need, to read it fast."""
    document = params_of(place)
    kept = {
        "pretrain": [FULL],
        "finetune": [f"voc2007-{FULL}"],
        "datasets": ["imagenet", "voc2007", "voc2012", "cifar10", "stl10"],
    }
    for section, names in kept.items():
        document[section] = {name: document[section][name] for name in names}
    document |= {"templates": {}, "scales": {"smoke": {**document["scales"]["smoke"], "substitutes": {}}}}
    (place / "params.yaml").write_text(yaml.safe_dump(document))
    return document


def made(name: str, images: int = 4) -> Shards:
    """Shard a data set of a few images."""
    set_params(Path(), scales__smoke__images=images, scales__smoke__test_images=images)
    shards = Graph(load()).shards(name)
    shard(shards)
    return shards


def read(shards: Shards, split: str = "train") -> Window:
    return Window(open_manifest(shards.manifest, split), [0])


def spoilt(content: bytes, rng: Random) -> bytes:
    """Flip a bit, cut the end, write zeros or noise, or repeat a part."""
    at = rng.randrange(len(content))
    to = min(len(content), at + rng.randrange(1, 2000))
    other = rng.choice(
        [
            lambda: content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :],
            lambda: content[:at],
            lambda: content[:at] + bytes(to - at) + content[to:],
            lambda: content[:at] + rng.randbytes(to - at) + content[to:],
            lambda: content[:to] + content[at:],
        ]
    )()
    return other if other != content else content[:-1]


def every_byte(place: Path, times: int, rng: Random) -> Iterator[str]:
    """Change every byte of a shard in turn."""
    short_params(place)
    shards = made("cifar10", images=2)
    tar, manifest = shards.folder / "train-00000.tar", shards.manifest.read_bytes()
    content = tar.read_bytes()
    for at in range(len(content)) if times > len(content) else rng.sample(range(len(content)), times):
        changed = bytearray(content)
        changed[at] ^= 1 << rng.randrange(8)
        tar.write_bytes(changed)
        shards.manifest.write_bytes(manifest)
        yield refused(partial(read, shards), "train-00000.tar")


def shards_spoilt(place: Path, times: int, rng: Random) -> Iterator[str]:
    """Damage shards of classes, of lists of classes and of masks anywhere; the next run repairs them."""
    short_params(place)
    every = [made(name) for name in ("cifar10", "voc2007", "voc2012")]
    for _ in range(times):
        shards, split = rng.choice(every), rng.choice(["train", "test"])
        tar = shards.folder / f"{split}-00000.tar"
        content, manifest = tar.read_bytes(), shards.manifest.read_bytes()
        tar.unlink() if rng.random() < 0.1 else tar.write_bytes(spoilt(content, rng))
        lost = refused(partial(read, shards, split), tar.name)
        if not lost and shards.manifest.exists():
            lost = "the damaged manifest was not moved away"
        shard(shards)
        if (tar.read_bytes(), shards.manifest.read_bytes()) != (content, manifest):
            lost = lost or f"{tar} was not mended"
        yield lost


def leaves(value: Any, path: tuple = ()) -> Iterator[tuple]:
    if isinstance(value, dict | list):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(child, (*path, key))
    yield path


def manifests_edited(place: Path, times: int, rng: Random) -> Iterator[str]:
    """Change or remove a value, or corrupt the text."""
    short_params(place)
    shards = made("stl10", images=10)
    text = shards.manifest.read_bytes()
    for _ in range(times):
        document = json.loads(text)
        *parents, last = rng.choice([path for path in leaves(document) if path])
        inner = document
        for parent in parents:
            inner = inner[parent]
        if rng.random() < 0.2:
            del inner[last]
        else:
            old = inner[last]
            inner[last] = old + 1 if isinstance(old, int | float) else f"{old}x"
        shards.manifest.write_bytes(
            spoilt(text, rng) if rng.random() < 0.3 else json.dumps(document).encode()
        )
        with_same_content = _parses_to(shards.manifest, json.loads(text))
        lost = "" if with_same_content else refused(partial(read, shards), "manifest.json")
        if not lost and not with_same_content and shards.manifest.exists():
            lost = "the damaged manifest was not moved away"
        yield lost


def _parses_to(path: Path, content: Any) -> bool:
    try:
        return json.loads(path.read_bytes()) == content
    except ValueError:
        return False


def weights_spoilt(place: Path, times: int, rng: Random) -> Iterator[str]:
    """Damage weights that other runs load."""
    short_params(place)
    made("imagenet", images=16)
    train(Graph(load()), "pretrain", FULL, 0)
    training = Graph(load()).training("pretrain", FULL, 0)
    content, whole = training.weights.read_bytes(), load_parts(training)
    for number in range(times):
        if number % 5 == 4:
            _with_nan(training.weights, rng)
        else:
            training.weights.write_bytes(spoilt(content, rng))
        taken: list = []
        lost = refused(lambda taken=taken: taken.append(load_parts(training)), "weights.pt")
        if lost == "it was taken" and _equal(taken[0], whole):
            lost = ""  # only padding between tensors was changed
        training.weights.write_bytes(content)
        yield lost


def _with_nan(path: Path, rng: Random) -> None:
    content = torch.load(path, weights_only=True)
    floats = [tensor for tensor in _tensors(content) if tensor.is_floating_point() and tensor.numel()]
    tensor = rng.choice(floats)
    place = tuple(rng.randrange(length) for length in tensor.shape)
    tensor[place] = rng.choice([math.nan, math.inf, -math.inf])
    torch.save(content, path)


def _tensors(content: Any) -> Iterator[torch.Tensor]:
    if isinstance(content, torch.Tensor):
        yield content
    elif isinstance(content, dict | list):
        for part in content.values() if isinstance(content, dict) else content:
            yield from _tensors(part)


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    return one == other


def checkpoints_spoilt(place: Path, times: int, rng: Random) -> Iterator[str]:
    """Damage a checkpoint or make it NaN: it is refused, and retraining gives the same result."""
    short_params(place)
    made("imagenet", images=16)
    graph = Graph(load())
    training = graph.training("pretrain", FULL, 0)
    checkpoint = training.folder / "checkpoint.pt"
    train(graph, "pretrain", FULL, 0)
    whole = load_parts(training)
    set_params(place, engine__checkpoint_seconds=-1)  # write one after every step
    kept = _checkpoint_of(training)
    for number in range(times):
        checkpoint.write_bytes(kept)
        if number % 2:
            checkpoint.write_bytes(spoilt(kept, rng))
        else:
            _with_nan(checkpoint, rng)
        training.weights.unlink(missing_ok=True)
        lost = refused(lambda: train(Graph(load()), "pretrain", FULL, 0), "checkpoint.pt")
        if lost != "it was taken":  # with only padding changed it may be, but must give the same result
            train(Graph(load()), "pretrain", FULL, 0)
        else:
            lost = ""
        if not _equal(load_parts(training), whole):
            lost = lost or "the run that was mended ends with other weights"
        yield lost


def _checkpoint_of(training: Any) -> bytes:
    """Return a checkpoint from the middle of a run."""
    kept: list[bytes] = []
    unlink = Path.unlink

    def keep(path: Path, missing_ok: bool = False) -> None:
        if path.name == "checkpoint.pt":
            kept.append(path.read_bytes())
        unlink(path, missing_ok=missing_ok)

    Path.unlink = keep  # type: ignore[method-assign]
    try:
        train(Graph(load()), "pretrain", FULL, 0)
    finally:
        Path.unlink = unlink  # type: ignore[method-assign]
    return kept[0]


@contextmanager
def counts_as_official(name: str, content: bytes) -> Iterator[None]:
    """Make this content's checksum the official one."""
    import hashlib

    old = official()[name]
    official()[name] = Archive(hashlib.md5(content, usedforsecurity=False).hexdigest())
    try:
        yield
    finally:
        official()[name] = old


def archives_spoilt(place: Path, times: int, rng: Random) -> Iterator[str]:
    """Flip a bit in official files of every kind."""
    raw, mirror = place / "data" / "raw" / "some", place / "mirror"
    raw.mkdir(parents=True)
    mirror.mkdir()
    names = sorted(official())
    for _ in range(times):
        name = rng.choice(names)
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz" if name.endswith("gz") else "w") as tar:
            info = tarfile.TarInfo("member")
            info.size = 3000
            tar.addfile(info, io.BytesIO(rng.randbytes(3000)))
        content = bytearray(buffer.getvalue())
        with counts_as_official(name, bytes(content)):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            (mirror / name).write_bytes(content)
            lost = refused(partial(placed, name, raw, mirror), name)
        yield lost or (f"{name} was copied" if list(raw.iterdir()) else "")


def _png(side: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.arange(side * side * 3, dtype=np.uint8).reshape(side, side, 3)).save(buffer, "PNG")
    return buffer.getvalue()


def _images_that_lie(rng: Random) -> bytes:
    """An image whose header gives another size."""
    import zlib

    width, height = (rng.choice([0, 1, 7, 9, 20_000, 60_000, 2**31 - 1]) for _ in range(2))
    kind = rng.choice(["png", "bmp", "raw", "cut"])
    if kind == "raw":
        pixels = netpbm(np.zeros((8, 8, 3), np.uint8)).split(b"\n", 3)[3]
        width, height = width or -8, height or -1
        return b"P6\n%d %d\n255\n" % (width, height) + pixels
    if kind == "bmp":
        buffer = io.BytesIO()
        Image.new("RGB", (8, 8)).save(buffer, "BMP")
        content = bytearray(buffer.getvalue())
        content[18:26] = min(max(width, 9), 2**31 - 1).to_bytes(4, "little") + max(height, 9).to_bytes(
            4, "little"
        )
        return bytes(content)
    png = _png(8)
    if kind == "cut":
        return png[: rng.randrange(1, len(png) - 20)]
    head = b"IHDR" + max(width, 9).to_bytes(4, "big") + max(height, 9).to_bytes(4, "big") + png[24:29]
    return png[:12] + head + zlib.crc32(head).to_bytes(4, "big") + png[33:]


def images_lie(place: Path, times: int, rng: Random) -> Iterator[str]:
    for _ in range(times):
        image = _images_that_lie(rng)
        yield refused(partial(decode, image, channels=3, where="picture 7"), "picture 7")


def _sealed(shards: Shards, members: dict[str, bytes]) -> None:
    """Replace train's shard, with a manifest that matches the replacement."""
    tar = shards.folder / "train-00000.tar"
    with tarfile.open(tar, "w", format=tarfile.USTAR_FORMAT) as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    document = json.loads(shards.manifest.read_bytes())
    samples = len({name.partition(".")[0] for name in members})
    document["splits"]["train"]["count"] = samples
    document["splits"]["train"]["shards"] = [
        {"name": tar.name, "count": samples, "bytes": tar.stat().st_size, "sha256": sha256(tar)}
    ]
    shards.manifest.write_text(json.dumps({**document, "seal": seal(document)}))


def labels_out_of_range(place: Path, times: int, rng: Random) -> Iterator[str]:
    """Put bad samples into shards with correct checksums."""
    short_params(place)
    every = {"cifar10": "cls", "voc2007": "json", "voc2012": "mask.pgm"}
    shards = {name: made(name) for name in every}
    picture = netpbm(np.zeros((4, 4, 3), np.uint8))
    for _ in range(times):
        name, extension = rng.choice(list(every.items()))
        number = rng.choice([-1, -(10**9), 21, 100, 254, 10**9, 10**30])
        label = str(number).encode() if extension == "cls" else f"[1, {number}]".encode()
        if extension == "mask.pgm":
            label = netpbm(np.full((4, 4, 1), rng.choice([21, 100, 254]), np.uint8))
        elif rng.random() < 0.2:
            label = rng.choice([b"", b"x", b"null", b"{}", b"1.5", b"\xff", b"[[1]]", b'["0"]'])
        _sealed(shards[name], {"00000000.ppm": picture, f"00000000.{extension}": label})
        yield refused(partial(read, shards[name]), "train-00000.tar")
        shard(shards[name])


FAULTS = {
    "damage: each byte of a shard turned": Fault(every_byte, 10**6, few=200),
    "damage: a shard spoilt, cut or gone": Fault(shards_spoilt, 200, few=15),
    "damage: a manifest edited or spoilt": Fault(manifests_edited, 400, few=100),
    "damage: weights spoilt, cut, not numbers": Fault(weights_spoilt, 200, few=20),
    "damage: a checkpoint spoilt, cut, not numbers": Fault(checkpoints_spoilt, 20, few=2),
    "damage: an archive with one bit changed": Fault(archives_spoilt, 200, few=20),
    "damage: an image that lies about its size": Fault(images_lie, 400, few=60),
    "damage: labels out of range, checksums right": Fault(labels_out_of_range, 200, few=20),
}
