"""Measures that a protocol names in place of the objective's."""

from collections.abc import Callable
from typing import Any

from pipeline.objectives import objective_of
from pipeline.protocols.activations import activations
from pipeline.protocols.contents import contents
from pipeline.protocols.decode import decode, tones
from pipeline.protocols.shift import shift
from pipeline.protocols.svm import svm
from pipeline.protocols.weights import weights
from pipeline.work.identity import Measurement

MEASURES: dict[str, Callable[..., dict[str, Any]]] = {
    "activations": activations,
    "svm": svm,
    "shift": shift,
    "decode": decode,
    "tones": tones,
    "contents": contents,
    "weights": weights,
}


def measure_of(measurement: Measurement) -> Callable[..., dict[str, Any]]:
    """The measure that the protocol names, or else that of the run's objective."""
    other = measurement.spec.measure
    return MEASURES[other.name] if other else objective_of(measurement.training.spec).measure
