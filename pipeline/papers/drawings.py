"""Figures of the papers: the kind of drawing, and the measurements behind it."""

from dataclasses import dataclass, field

from pipeline.config.typed import Choice, choice, nearest


@dataclass(frozen=True, kw_only=True)
class Curves:
    """The mean loss of each epoch, by run."""

    epochs: int | None = None  # draw only so many, from the first
    loss: str = "training loss (nats)"
    logarithmic: bool = False


@dataclass(frozen=True, kw_only=True)
class Bars:
    """One metric, by run."""

    metric: str
    unit: str


@dataclass(frozen=True, kw_only=True)
class Trend:
    """One metric against a number: several lines, each a list of (number, run)."""

    metric: str
    unit: str
    x: str
    lines: dict[str, dict[str, str]]  # line -> number -> stage.run.protocol
    panels: dict[str, tuple[str, ...]] = field(default_factory=dict)  # panel -> its lines; none: all in one

    def __post_init__(self) -> None:
        for panel, names in self.panels.items():
            for name in names:
                if name not in self.lines:
                    raise ValueError(f"panel {panel!r} has the line {name!r}; {nearest(name, self.lines)}")


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Images kept by measurements: a row for each run and array."""

    arrays: tuple[str, ...]
    once: tuple[str, ...] = ()  # arrays that runs share: drawn only where they differ from the rows above


@dataclass(frozen=True, kw_only=True)
class Filters:
    """A panel of kept filters for each run, and metrics under it."""

    columns: int
    numbers: dict[str, str]  # metric -> its unit


@dataclass(frozen=True, kw_only=True)
class Responses:
    """`what` and `where` of shifted images against those of the unshifted images."""

    pixels: int  # of the shift


@dataclass(frozen=True, kw_only=True)
class Layers:
    """A panel for each metric of the layers, a line for each run."""

    panels: dict[str, str]  # metric -> its axis's label


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """Images decoded from every layer, a row for each line, and their PSNR."""

    lines: dict[str, dict[str, str]]  # line -> layer -> stage.run.protocol


@dataclass(frozen=True, kw_only=True)
class Networks:
    """Networks layer by layer, with their shortcuts and switches; they are built, not trained."""

    networks: dict[str, str]  # as the figure names it -> stage.run


DRAWINGS = {
    "curves": Curves,
    "bars": Bars,
    "trend": Trend,
    "pictures": Pictures,
    "filters": Filters,
    "responses": Responses,
    "layers": Layers,
    "decoded": Decoded,
    "networks": Networks,
}


@dataclass(frozen=True, kw_only=True)
class Figure:
    title: str
    says: str  # what it shows, according to the paper
    draw: Choice = choice(DRAWINGS)
    runs: dict[str, str] = field(default_factory=dict)  # as the figure names it -> stage.run.protocol

    @property
    def networks(self) -> dict[str, str]:
        """The networks that the figure draws without a measurement: their names -> stage.run."""
        return getattr(self.draw.options, "networks", {})

    def labels(self) -> list[str]:
        """The measurements that the figure shows."""
        lines = getattr(self.draw.options, "lines", {})
        return list(
            dict.fromkeys([*self.runs.values(), *(of for line in lines.values() for of in line.values())])
        )
