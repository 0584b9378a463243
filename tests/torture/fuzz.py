"""Fuzz: whatever params.yaml, a manifest or a shard holds, it is taken or refused in one line, soon, in its place."""

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from pipeline.data import open_manifest, read_shard
from pipeline.files import seal, sha256
from pipeline.graph import Graph
from pipeline.params import STAGES, load
from torture import Fault, refused
from torture.damage import leaves, made, short_params

SECONDS = 10  # in which any input must be answered

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
    """With other values at some places."""
    document = json.loads(json.dumps(document))
    for number, value in edits:
        places = [path for path in leaves(document) if path]
        if not places:
            break
        *parents, last = places[number % len(places)]
        inner = document
        for each in parents:
            inner = inner[each]
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
    """Taken or refused; not a traceback, not a hang."""

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


def fuzzed(one: Callable[..., str], times: int, chance: Random, **inputs: st.SearchStrategy) -> Iterator[str]:
    outcomes: list[str] = []

    def each(**drawn: object) -> None:
        outcomes.append(one(**drawn))

    run = given(**inputs)(each)
    run = settings(
        max_examples=times,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )(run)
    seeded(chance.getrandbits(32))(run)()
    yield from outcomes


def params(place: Path, times: int, chance: Random) -> Iterator[str]:
    """One short document, with values and characters changed; what is taken is resolved, too."""
    path = place / "params.yaml"
    document = short_params(place)

    def resolve() -> None:
        graph = Graph(load())
        for name in graph.params.datasets:
            graph.shards(name)
        for stage in STAGES:
            for name in graph.params.runs(stage):
                graph.training(stage, name, 0)

    def one(edits: list, cuts: list) -> str:
        text = yaml.safe_dump(edited(document, edits)).encode()
        path.write_bytes(cut(text, cuts))
        return answered_soon(resolve)

    yield from fuzzed(one, times, chance, edits=EDITS, cuts=st.just([]) | CUTS)


def manifests(place: Path, times: int, chance: Random) -> Iterator[str]:
    """Manifests that say something else, under a checksum that is right."""
    short_params(place)
    shards = made("voc2012", images=2)
    document = json.loads(shards.manifest.read_bytes())

    def one(edits: list) -> str:
        other = edited(document, edits)
        shards.manifest.write_text(json.dumps({**other, "seal": seal(other)}))
        return answered_soon(lambda: read_all(shards.manifest))

    before = _outside(place)
    yield from fuzzed(one, times, chance, edits=EDITS)
    if _outside(place) != before:
        yield f"files appeared: {_outside(place) - before}"


def read_all(manifest: Path) -> None:
    opened = open_manifest(manifest, "train")
    for number in range(len(opened.record["shards"])):
        tar = opened.folder / opened.record["shards"][number]["name"]
        kept, said = tar.read_bytes() if tar.exists() else None, manifest.read_bytes()
        try:
            list(read_shard(opened, number))
        finally:  # what was set aside comes back for the next input
            if kept is not None:
                tar.write_bytes(kept)
            manifest.write_bytes(said)


def tars(place: Path, times: int, chance: Random) -> Iterator[str]:
    """Shards that hold something else, under checksums that are right."""
    short_params(place)
    shards = made("voc2012", images=2)
    tar, document = shards.folder / "train-00000.tar", json.loads(shards.manifest.read_bytes())
    content = tar.read_bytes()

    def one(cuts: list) -> str:
        tar.write_bytes(cut(content, cuts))
        document["splits"]["train"]["shards"][0]["sha256"] = sha256(tar)
        shards.manifest.write_text(json.dumps({**document, "seal": seal(document)}))
        return answered_soon(lambda: read_all(shards.manifest))

    before = _outside(place)
    yield from fuzzed(one, times, chance, cuts=CUTS)
    if _outside(place) != before:
        yield f"files appeared: {_outside(place) - before}"


def _outside(place: Path) -> set[str]:
    """Names of what lies beside the project, and in it but for its data."""
    data = place / "data"
    return {
        str(each)
        for each in place.parent.rglob("*")
        if data not in each.parents and ".hypothesis" not in str(each)
    }


FAULTS = {
    "fuzz: params.yaml": Fault(params, 3000, few=100),
    "fuzz: manifests": Fault(manifests, 3500, few=150),
    "fuzz: the tar reader": Fault(tars, 3500, few=150),
}
