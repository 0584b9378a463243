"""Fuzz: any params.yaml, manifest or shard is accepted or refused in one line, fast, with no file elsewhere."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from random import Random

import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from pipeline.config.reading import load
from pipeline.config.runs import STAGES
from pipeline.data.manifest import open_manifest
from pipeline.data.reader import read_shards
from pipeline.system.files import seal, sha256
from pipeline.work.graph import Graph
from torture import Fault, refused
from torture.damage import leaves, made, short_params

SECONDS = 10  # time limit for any input

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(
        [-1, 0, 1, 2**31, 2**63, 10**30, 10**400, 1.0e308, -0.0, float("nan"), float("inf"), "../x", "", "/"]
    )
    | st.floats()
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
EDITS = st.lists(st.tuples(st.integers(0, 2**31), VALUES | st.just("take away")), min_size=1, max_size=3)
CUTS = st.lists(st.tuples(st.integers(0, 2**31), st.integers(0, 40), st.binary(max_size=40)), max_size=4)


def edited(document: dict, edits: list[tuple[int, object]]) -> dict:
    """Replace values at some places."""
    document = json.loads(json.dumps(document))
    for number, value in edits:
        places = [path for path in leaves(document) if path]
        if not places:
            break
        *parents, last = places[number % len(places)]
        inner = document
        for parent in parents:
            inner = inner[parent]
        if value == "take away":
            del inner[last]
        else:
            inner[last] = value
    return document


def cut(content: bytes, cuts: list[tuple[int, int, bytes]]) -> bytes:
    for number, length, other in cuts:
        at = number % (len(content) + 1)
        content = content[:at] + other + content[at + length :]
    return content


def answered_soon(act: Callable) -> str:
    """Check that the input is accepted or refused, without traceback or hang."""

    def late(number: int, frame: object) -> None:
        raise TimeoutError(f"no answer in {SECONDS} s")

    old = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        lost = refused(act)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)
    return "" if lost == "it was taken" else lost


@dataclass(frozen=True)
class Target:
    """A file to fuzz: its correct content, other contents to try, and the check that reads given bytes."""

    content: bytes
    variants: st.SearchStrategy[bytes]
    answer: Callable[[bytes], str]


def params(place: Path) -> Target:
    """Accepted params are resolved, too."""
    path, document = place / "params.yaml", short_params(place)

    def text(edits: list) -> bytes:
        return yaml.safe_dump(edited(document, edits)).encode()

    def resolve() -> None:
        graph = Graph(load())
        for name in graph.params.datasets:
            graph.shards(name)
        for stage in STAGES:
            for name in graph.params.runs(stage):
                graph.training(stage, name, 0)

    def answer(content: bytes) -> str:
        path.write_bytes(content)
        return answered_soon(resolve)

    return Target(text([]), st.builds(cut, EDITS.map(text), st.just([]) | CUTS), answer)


def manifest(place: Path) -> Target:
    """Manifests with a correct checksum where possible."""
    short_params(place)
    path = made("voc2012", images=2).manifest
    document = json.loads(path.read_bytes())

    def text(edits: list) -> bytes:
        return json.dumps(edited(document, edits)).encode()

    def answer(content: bytes) -> str:
        with suppress(ValueError, TypeError, RecursionError, AttributeError):
            said = json.loads(content)
            content = json.dumps({**said, "seal": seal(said)}).encode()
        path.write_bytes(content)
        return answered_soon(lambda: read_all(path))

    return Target(text([]), EDITS.map(text), answer)


def shard(place: Path) -> Target:
    """Shards with correct checksums."""
    short_params(place)
    shards = made("voc2012", images=2)
    tar, document = shards.folder / "train-00000.tar", json.loads(shards.manifest.read_bytes())
    content = tar.read_bytes()

    def answer(content: bytes) -> str:
        tar.write_bytes(content)
        document["splits"]["train"]["shards"][0]["sha256"] = sha256(tar)
        shards.manifest.write_text(json.dumps({**document, "seal": seal(document)}))
        return answered_soon(lambda: read_all(shards.manifest))

    return Target(content, CUTS.map(lambda cuts: cut(content, cuts)), answer)


def read_all(manifest: Path) -> None:
    opened = open_manifest(manifest, "train")
    for number in range(len(opened.record["shards"])):
        tar = opened.folder / opened.record["shards"][number]["name"]
        kept, said = tar.read_bytes() if tar.exists() else None, manifest.read_bytes()
        try:
            list(read_shards(opened, [number]))
        finally:  # restore moved files for the next input
            if kept is not None:
                tar.write_bytes(kept)
            manifest.write_bytes(said)


TARGETS: dict[str, Callable[[Path], Target]] = {
    "params.yaml": params,
    "manifests": manifest,
    "the tar reader": shard,
}


def fuzzed(name: str, place: Path, times: int, rng: Random) -> Iterator[str]:
    """Inputs drawn by hypothesis."""
    target, outcomes = TARGETS[name](place), []

    @seeded(rng.getrandbits(32))
    @settings(
        max_examples=times,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(target.variants)
    def try_content(content: bytes) -> None:
        outcomes.append(target.answer(content))

    yield from nothing_appears(place, lambda: try_content() or outcomes)


def led(name: str, place: Path, times: int, rng: Random) -> Iterator[str]:
    """Coverage-guided inputs by atheris, in a child process, since atheris ends its process."""
    script, outcomes = Path(__file__).with_name("led.py"), place / "data" / "outcomes"
    outcomes.parent.mkdir(exist_ok=True)
    words = [sys.executable, "-P", script, name, str(times), str(rng.getrandbits(31)), outcomes]
    root = script.parents[1]
    path = os.pathsep.join(map(str, (root, root / "tests")))

    def run() -> list[str]:
        done = subprocess.run(
            words, env={**os.environ, "PYTHONPATH": path}, cwd=place, capture_output=True, text=True
        )
        lost = [f"atheris ended with {done.returncode}: {done.stderr[-600:]}"] if done.returncode else []
        return [json.loads(line) for line in outcomes.read_text().splitlines()] + lost

    yield from nothing_appears(place, run)


def nothing_appears(place: Path, run: Callable[[], list[str]]) -> Iterator[str]:
    """Yield losses, and files that appeared outside the project's data."""
    before = _outside(place)
    yield from run()
    if _outside(place) != before:
        yield f"files appeared: {_outside(place) - before}"


def _outside(place: Path) -> set[str]:
    """All files in and beside the project, except its data."""
    data = place / "data"
    return {
        str(file)
        for file in place.parent.rglob("*")
        if data not in file.parents and ".hypothesis" not in str(file)
    }


LED = find_spec("atheris") is not None  # without atheris, hypothesis draws all inputs
FAULTS = {f"fuzz: {name}": Fault(partial(fuzzed, name), 2000 if LED else 3500, few=100) for name in TARGETS}
if LED:
    FAULTS |= {f"fuzz: {name}, led by coverage": Fault(partial(led, name), 1500, few=100) for name in TARGETS}
