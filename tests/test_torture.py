"""A few injections of every fault of `make torture`."""

import socket
from random import Random

import pytest
from conftest import reserved_port

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


def test_a_reserved_port_is_free_for_its_server():
    with reserved_port() as port, socket.create_server(("127.0.0.1", 0)) as other:
        own = ("127.0.0.1", port)
        with pytest.raises(OSError, match="in use"):
            socket.create_connection(other.getsockname(), source_address=own)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(own)
        with socket.create_server(own), socket.create_connection(own):  # sets SO_REUSEADDR
            pass
