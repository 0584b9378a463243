"""Hand stories over to MLflow beside the runs."""

import os
import sys
import threading
import time

from pipeline.system.locks import hold, holder
from pipeline.tracking.delivered import Delivered, file_of, is_file, vouched
from pipeline.tracking.events import EVENTS
from pipeline.tracking.store import Store, connect, masked, pending, uri

LOOK_SECONDS = 2.0
PATIENCE = 10.0  # with a store that takes nothing, once all is told


def waits() -> bool:
    """Whether a story is not delivered, as far as that is known without MLflow."""
    store = masked(uri())
    memory = Delivered(store)
    if is_file(store):
        memory.trust(vouched(store, memory.tag))
    else:
        memory.believe()
    return any(pending(memory.known))


def deliver(*, until: threading.Event, patience: float) -> None:
    """Hand over until the end and all that is left then; `patience` is for a store that takes nothing."""
    memory, looked = Delivered(masked(uri())), file_of(masked(uri()), "looked")
    memory.trust(vouched(memory.store, memory.tag))
    store, fault, ended = None, "", 0.0
    while True:
        last = until.is_set()
        ended = ended or (time.monotonic() if last else 0.0)
        try:
            looking = time.time()
            if store is None and (not memory.trusted or any(pending(memory.known))):
                store = Store(connect())
            if store is not None:
                store.hand_over(last=last)
            looked.touch()
            os.utime(looked, (looking, looking))
            fault = ""
            if last:
                return
        except Exception as error:  # whatever trouble the store is in, the runs go on
            if not fault:
                print(f"MLflow at {masked(uri())} takes nothing: {_reason(error)}", file=sys.stderr)
            fault = _reason(error)
            if last and time.monotonic() - ended > patience:
                raise _undelivered(fault) from None
        until.wait(LOOK_SECONDS)
        if last:
            time.sleep(0.2)


def _undelivered(fault: str) -> ValueError:
    return ValueError(
        f"NOT DELIVERED to MLflow at {masked(uri())}: {fault}; what the runs told waits in their folders "
        f"({EVENTS}), and `python -m pipeline.track` delivers it"
    )


def _reason(error: Exception) -> str:
    return masked(" ".join(str(error).split()))[:200] or type(error).__name__


def deliver_in_turn(*, until: threading.Event, patience: float) -> None:
    """As `deliver`; while another process hands over, it may do so for this one too, up to the end."""
    lock_file, looked = (file_of(masked(uri()), kind) for kind in ("lock", "looked"))
    ended = 0.0
    while True:
        if lock := hold(lock_file):
            with lock:
                return deliver(until=until, patience=patience)
        if until.is_set():
            ended = ended or time.time()
            if looked.exists() and looked.stat().st_mtime > ended:
                return None
            if time.time() - ended > patience + LOOK_SECONDS:
                raise _undelivered(f"{holder(lock_file)} hands over, and does not come to it")
            time.sleep(0.2)
        until.wait(LOOK_SECONDS)


def await_end(until: threading.Event) -> None:
    sys.stdin.read()
    until.set()
