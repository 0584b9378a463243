"""Claims of the papers, as tests of measurements."""

from dataclasses import dataclass

from pipeline.config.typed import Choice, choice


@dataclass(frozen=True, kw_only=True)
class Order:
    """The runs' metric falls from the first to the last."""

    metric: str
    of: tuple[str, ...]
    lower: bool = False  # rises, as errors do


@dataclass(frozen=True, kw_only=True)
class Best:
    """One run's metric lies above that of every other."""

    metric: str
    of: str
    than: tuple[str, ...]
    lower: bool = False


@dataclass(frozen=True, kw_only=True)
class Above:
    """A metric lies above a value."""

    metric: str
    of: str
    value: float
    lower: bool = False  # below it


@dataclass(frozen=True, kw_only=True)
class Gain:
    """The first pair gains more than the second; a pair is (after, before)."""

    metric: str
    of: tuple[str, str]
    than: tuple[str, str]
    lower: bool = False  # the gain is a fall, as of errors


@dataclass(frozen=True, kw_only=True)
class Concordant:
    """Of any two runs, the one with more of the first metric has more of the second."""

    metrics: tuple[str, str]
    of: tuple[tuple[str, str], ...]  # measurements of the first metric and of the second


@dataclass(frozen=True, kw_only=True)
class Close:
    """Two runs' metrics lie within a margin of each other, or of a difference."""

    metric: str
    of: tuple[str, str]
    within: float
    by: float = 0.0  # the first lies above the second by about this


@dataclass(frozen=True, kw_only=True)
class Changed:
    """One run's metric lies above or below another's."""

    metric: str
    of: tuple[str, str]
    by: float  # by more than this fraction of the second's


@dataclass(frozen=True, kw_only=True)
class Steadier:
    """One run's metric spreads less over seeds than another's."""

    metric: str
    of: tuple[str, str]  # the steadier one first


CLAIMS = {
    "order": Order,
    "best": Best,
    "above": Above,
    "gain": Gain,
    "concordant": Concordant,
    "close": Close,
    "changed": Changed,
    "steadier": Steadier,
}


@dataclass(frozen=True, kw_only=True)
class Claim:
    says: str
    where: str  # the table, figure or section
    test: Choice = choice(CLAIMS)
    ours: bool = False  # not a sentence of the paper, but what its claims rest on

    def labels(self) -> list[str]:
        options = self.test.options
        others = [label for label, _ in options.of] if isinstance(options, Concordant) else []
        return [*others, *(label for group in self.arms() for label in group)]

    def arms(self) -> list[tuple[str, ...]]:
        """Groups of measurements of one metric, compared within the group or with a value."""
        options = self.test.options
        if isinstance(options, Gain):
            return [options.of, options.than]
        if isinstance(options, Best):
            return [(options.of, *options.than)]
        if isinstance(options, Above):
            return [(options.of,)]
        if isinstance(options, Concordant):
            return [tuple(label for _, label in options.of)]
        return [options.of]
