"""Options of optimisers and learning-rate schedules."""

from dataclasses import dataclass

from pipeline.config.typed import Positive


@dataclass(frozen=True, kw_only=True)
class Adam:
    lr: float
    weight_decay: float = 0.0  # times the weights, added to the gradient


@dataclass(frozen=True, kw_only=True)
class Sgd:
    lr: float
    momentum: float
    weight_decay: float = 0.0


OPTIMISERS = {"adam": Adam, "sgd": Sgd}


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Multiply the rate by `factor` after each of these epochs."""

    at: tuple[float, ...]
    factor: float


@dataclass(frozen=True, kw_only=True)
class Plateau:
    """Multiply the rate by `factor` once the epoch's loss has not dropped for `after` epochs."""

    after: Positive
    factor: float


@dataclass(frozen=True, kw_only=True)
class Constant:
    """One rate throughout."""


SCHEDULES = {"steps": Steps, "plateau": Plateau, "constant": Constant}
