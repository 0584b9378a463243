"""Runs on the page: protocol, parameters, curves, data, machine and pictures."""

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

FEW = 6  # metrics shown at once; more (VOC has 20 classes) unfold on demand
WIDTH, HEIGHT = 460.0, 130.0  # a curve's size in pixels


@dataclass(frozen=True)
class Link:
    text: str
    href: str


@dataclass(kw_only=True)
class Curve:
    """Mean losses by epoch as SVG points, one line a seed."""

    lines: list[str]
    low: str
    high: str
    epochs: int


@dataclass(kw_only=True)
class Schedule:
    """Epochs at each learning rate, in the paper and in the run; positions in percent of the longer one."""

    paper: list[tuple[float, float, str]]  # position, width, rate
    ours: list[tuple[float, float, str]]
    epochs: int
    of: int  # epochs of the paper

    @property
    def alike(self) -> bool:
        return self.paper == self.ours


@dataclass(kw_only=True)
class Run:
    """A training, or its measurement by a protocol, with all seeds."""

    anchor: str
    label: str
    scale: str
    used_by: list[Link]
    seeds: list[str]
    metrics: dict[str, list[float]] = field(default_factory=dict)
    curve: Curve | None = None
    schedule: Schedule | None = None
    pictures: dict[str, str] = field(default_factory=dict)  # strips of images by array
    pages: list[Link] = field(default_factory=list)  # in MLflow, one a seed
    starts: list[Link] = field(default_factory=list)
    params: dict[str, str] = field(default_factory=dict)
    trained: dict[str, str] = field(default_factory=dict)
    measured: dict[str, str] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)  # missing files
    outdated: bool = False
    commands: list[str] = field(default_factory=list)

    @property
    def few(self) -> int:
        return FEW if len(self.metrics) > FEW + 2 else len(self.metrics)


class Runs:
    """All runs that the page links to."""

    def __init__(self, graph_of: Callable[[str], Graph | None], *, whole: str = "") -> None:
        self.graph_of = graph_of
        self.whole = whole  # scale without caps
        self.asked: dict[tuple[str, ...], list[Link]] = {}

    def links(self, identities: str, *, by: Link) -> list[Link]:
        """Links for identities of a CSV's `runs` column, one for all seeds of a run."""
        runs: dict[str, list[str]] = {}
        for each in identities.split():
            runs.setdefault(each.rpartition("/")[0], []).append(each)
        return [self.link(each, by=by) for each in runs.values()]

    def link(self, identities: Sequence[str], *, by: Link) -> Link:
        users = self.asked.setdefault(tuple(identities), [])
        if by not in users:
            users.append(by)
        return Link(label_of(identities[0]), f"#{anchor_of(identities)}")

    def listed(self) -> list[Run]:
        """All linked runs; rendering one may link to more, such as its pre-training."""
        self.addresses = addresses()
        listed: list[Run] = []
        while len(listed) < len(self.asked):
            identities = list(self.asked)[len(listed)]
            listed.append(self._run(identities, self.asked[identities]))
        return listed

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
        """Schedule beside the paper's; None if params.yaml no longer names the run or it trains nothing."""
        graph = self.graph_of(self.whole)
        if training is None or graph is None or not spec.get("epochs"):
            return None
        asked = plain(graph.training(training.stage, training.name, training.seed).spec)
        longest = max(asked["epochs"], spec["epochs"])
        return Schedule(
            paper=rates(asked, longest), ours=rates(spec, longest), epochs=spec["epochs"], of=asked["epochs"]
        )

    def _work(self, identity: str) -> Training | Measurement | None:
        """The piece of work that params.yaml has under this identity; None if its key differs."""
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
    """Metrics of a measurement that a table shows."""
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
    """Segments of a training with a constant rate: position and width in percent of the longest, and rate."""
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
    """A value that all seeds share, once; otherwise the value of every seed."""
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
