"""Runs as the page shows them: measured how, trained with which values, on which data and machine."""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.config.typed import plain
from pipeline.papers import papers
from pipeline.results.kept import record_of
from pipeline.results.page import pictures
from pipeline.system.files import RESULTS
from pipeline.tracking.addresses import addresses
from pipeline.tracking.events import flat
from pipeline.work.graph import Graph
from pipeline.work.identity import Measurement, Training, licence_of, short_hash

FEW = 6  # metrics that are seen at once; of more, as of each class of VOC, the others on demand
WIDTH, HEIGHT = 460.0, 130.0  # of a curve


@dataclass(frozen=True)
class Link:
    text: str
    href: str


@dataclass(kw_only=True)
class Curve:
    """The mean loss of each epoch as points of an SVG, a line a seed."""

    lines: list[str]
    low: str
    high: str
    epochs: int


@dataclass(kw_only=True)
class Schedule:
    """How long the paper trains at which rate, and how long the run did; places in percent of the longer."""

    paper: list[tuple[float, float, str]]  # place, width, rate
    ours: list[tuple[float, float, str]]
    epochs: int
    of: int  # the paper's

    @property
    def alike(self) -> bool:
        return self.paper == self.ours


@dataclass(kw_only=True)
class Run:
    """A run of params.yaml under a protocol, or as it was trained, with all its seeds."""

    anchor: str
    label: str
    scale: str
    used_by: list[Link]
    seeds: list[str]
    metrics: dict[str, list[float]] = field(default_factory=dict)
    curve: Curve | None = None
    schedule: Schedule | None = None
    pictures: dict[str, str] = field(default_factory=dict)  # strips of images
    pages: list[Link] = field(default_factory=list)  # in MLflow, of each seed
    starts: list[Link] = field(default_factory=list)
    params: dict[str, str] = field(default_factory=dict)
    trained: dict[str, str] = field(default_factory=dict)
    measured: dict[str, str] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)  # files that should be there
    outdated: bool = False
    commands: list[str] = field(default_factory=list)

    @property
    def few(self) -> int:
        return FEW if len(self.metrics) > FEW + 2 else len(self.metrics)


class Runs:
    """Every run that something on the page links to, once."""

    def __init__(self, graph_of: Callable[[str], Graph | None], *, whole: str = "") -> None:
        self.graph_of = graph_of
        self.whole = whole  # the scale that caps nothing
        self.asked: dict[tuple[str, ...], list[Link]] = {}

    def links(self, identities: str, *, by: Link) -> list[Link]:
        """Identities as a CSV's `runs` has them: a link for each run, whatever the number of its seeds."""
        runs: dict[str, list[str]] = {}
        for each in identities.split():
            runs.setdefault(each.rpartition("/")[0], []).append(each)
        return [self.link(each, by=by) for each in runs.values()]

    def link(self, identities: Sequence[str], *, by: Link) -> Link:
        users = self.asked.setdefault(tuple(identities), [])
        if by not in users:
            users.append(by)
        return Link(label_of(identities[0]), f"#{anchor_of(identities)}")

    def shown(self) -> list[Run]:
        """All of them; what one of them starts from is linked to, too, and so is one of them."""
        self.addresses = addresses()
        shown: list[Run] = []
        while len(shown) < len(self.asked):
            identities = list(self.asked)[len(shown)]
            shown.append(self._run(identities, self.asked[identities]))
        return shown

    def _run(self, identities: tuple[str, ...], users: list[Link]) -> Run:
        scale = identities[0].split("/")[0]
        works = [self._work(each) for each in identities]
        trainings = [each.training if isinstance(each, Measurement) else each for each in works]
        run = Run(
            anchor=anchor_of(identities),
            label=label_of(identities[0]),
            scale=scale,
            used_by=users,
            seeds=[each.rpartition("/")[2].partition("-")[0] for each in identities],
            outdated=None in works,
        )
        measured = identities[0].split("/")[1] == "evaluate"
        if measured:
            records = self._read(run, identities, "metrics.json")
            shown = shown_in_tables(run.label)
            every = dict.fromkeys(name for each in records for name in each["metrics"])
            names = sorted(every, key=lambda name: name not in shown)
            run.metrics = {name: [each["metrics"].get(name, math.nan) for each in records] for name in names}
            run.curve = curve([each["epoch_losses"] for each in records])
            run.measured = facts(records)
            records = self._read(run, [each.identity for each in trainings if each is not None], "run.json")
        else:
            records = self._read(run, identities, "run.json")
            run.curve = curve([each["epoch_losses"] for each in records])
        if records:
            run.params, run.trained = flat(records[0]["spec"]), facts(records)
            run.schedule = self._schedule(records[0]["spec"], trainings[0])
        if works[0] is not None:
            rows = run.measured if measured else run.trained
            rows["licence of the images"] = licence_of(works[0].shards)["license"]
        own = Link(run.label, f"#{run.anchor}")
        run.starts = self.links(
            " ".join(dict.fromkeys(each["start"] for each in records if each["start"])), by=own
        )
        if measured:
            run.pictures = pictures.kept(RESULTS / "runs" / identities[0] / "arrays.npz")
        run.pages = [
            Link(f"seed {seed}", self.addresses[identity])
            for seed, identity in zip(run.seeds, identities, strict=True)
            if identity in self.addresses
        ]
        made = "metrics.json" if measured else "weights.pt"
        targets = [str(RESULTS / "runs" / each / made) for each in identities]
        run.commands = [f"snakemake --cores all {each} --config scale={scale}" for each in targets]
        return run

    def _schedule(self, spec: dict[str, Any], training: Training | None) -> Schedule | None:
        """Beside the paper's; none for a run that params.yaml names no more, or that trains nothing."""
        graph = self.graph_of(self.whole)
        if training is None or graph is None or not spec.get("epochs"):
            return None
        asked = plain(graph.training(training.stage, training.name, training.seed).spec)
        longest = max(asked["epochs"], spec["epochs"])
        return Schedule(
            paper=rates(asked, longest), ours=rates(spec, longest), epochs=spec["epochs"], of=asked["epochs"]
        )

    def _work(self, identity: str) -> Training | Measurement | None:
        """What params.yaml now makes under that name; None where it asks for something else."""
        graph = self.graph_of(identity.split("/")[0])
        try:
            found = graph.of_path(RESULTS / "runs" / identity / "any") if graph else None
        except ValueError:
            return None
        return found if isinstance(found, Training | Measurement) else None

    @staticmethod
    def _read(run: Run, identities: Iterable[str], name: str) -> list[dict[str, Any]]:
        found = []
        for path in (record_of(each, name) for each in identities):
            try:
                found.append(json.loads(path.read_text(encoding="utf-8")))
            except (OSError, ValueError):
                run.gone.append(str(path))
        return found


def label_of(identity: str) -> str:
    """stage.run, or stage.run.protocol."""
    _, stage, name, _ = identity.split("/")
    return name if stage == "evaluate" else f"{stage}.{name}"


def shown_in_tables(label: str) -> set[str]:
    """The metrics of a measurement that some table shows."""
    layouts = (layout for facts in papers().values() for layout in facts.tables.values())
    return {
        cell.metric for layout in layouts for _, _, cell in layout.cells() if cell.of == label and cell.metric
    }


def anchor_of(identities: Sequence[str]) -> str:
    return f"run-{short_hash(list(identities))}"


def curve(told: list[list[float]]) -> Curve | None:
    told = [losses for losses in told if len(losses) > 1]
    if not told:
        return None
    every = [loss for losses in told for loss in losses]
    low, high, epochs = min(every), max(every), max(map(len, told))
    lines = [
        " ".join(
            f"{WIDTH * i / (epochs - 1):.1f},{HEIGHT * (high - loss) / ((high - low) or 1):.1f}"
            for i, loss in enumerate(losses)
        )
        for losses in told
    ]
    digits = max(3, 2 - math.floor(math.log10((high - low) / max(abs(high), abs(low))))) if high > low else 3
    return Curve(lines=lines, low=f"{low:.{digits}g}", high=f"{high:.{digits}g}", epochs=epochs)


def rates(spec: dict[str, Any], longest: int) -> list[tuple[float, float, str]]:
    """The parts of a training with one rate each: place and width in percent of the longest, and the rate."""
    epochs, rate = spec["epochs"], next(iter(spec["optimiser"].values()))["lr"]
    name, options = next(iter(spec["schedule"].items()))
    steps = [at for at in options["at"] if at < epochs] if name == "steps" else []
    bounds = [0, *steps, epochs]
    tail = (
        f", × {options['factor']:g} where the loss stays {options['after']} epochs"
        if name == "plateau"
        else ""
    )
    return [
        (100 * begin / longest, 100 * (end - begin) / longest, f"{rate * factor:.3g}{tail}")
        for begin, end, factor in zip(
            bounds,
            bounds[1:],
            ((options or {}).get("factor", 1.0) ** i for i in range(len(steps) + 1)),
            strict=False,
        )
    ]


FACTS: dict[str, Callable[[dict[str, Any]], str]] = {
    "data": lambda each: f"{each['dataset']}, sha256 {each['data_sha256'][:16]}",
    "images": lambda each: f"{each['images']:,} of the split {each['split']}" if "images" in each else "",
    "commit": lambda each: each["commit"],
    "date": lambda each: each.get("ended", "").partition("T")[0],
    "machine": lambda each: each["machine"]["device"],
    "system": lambda each: "torch {torch}, Python {python}, {system}".format(**each["machine"]),
    "precision": lambda each: each.get("precision", ""),
    "weights": lambda each: f"{each['parameters']:,}" if "parameters" in each else "",
    "steps": lambda each: f"{each['steps']:,}" if "steps" in each else "",
}


def facts(records: list[dict[str, Any]]) -> dict[str, str]:
    """What all seeds have in common, once; where they differ, each."""
    found = {name: "; ".join(dict.fromkeys(tell(each) for each in records)) for name, tell in FACTS.items()}
    if records:
        together = f", {len(records)} seeds together" if len(records) > 1 else ""
        found["time"] = duration(sum(each["seconds"] for each in records)) + together
    return {name: told for name, told in found.items() if told}


def duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
