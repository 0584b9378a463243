"""Nothing is lost and nothing let in: a few injections of every fault of `make torture`."""

from random import Random

import pytest
from torture import faults

FAULTS = {name: fault for name, fault in faults().items() if fault.few}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.graph] * fault.graph) for name, fault in FAULTS.items()]
)
def test_nothing_is_lost_by(workplace, name):
    fault = FAULTS[name]
    outcomes = list(fault.inject(workplace, fault.few, Random(name)))
    assert outcomes
    assert not [each for each in outcomes if each]
