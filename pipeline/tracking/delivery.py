"""Deliver event logs to MLflow while the runs go on."""

import os
import sys
import threading
import time

from pipeline.system.locks import hold, holder
from pipeline.tracking.delivered import Delivered, file_of, is_file, vouched
from pipeline.tracking.events import EVENTS
from pipeline.tracking.store import Store, connect, masked, pending, uri

LOOK_SECONDS = 2.0
MANY = 50  # pending event logs of which a delivery says how many they are, as after `dvc pull`
PATIENCE = 10.0  # seconds with a failing store, after the last run has ended


def waits() -> bool:
    """Whether an event log is pending, as far as that is known without MLflow."""
    store = masked(uri())
    memory = Delivered(store)
    if is_file(store):
        memory.trust(vouched(store, memory.tag))
    else:
        memory.believe()
    return any(pending(memory.known))


def deliver(*, until: threading.Event, patience: float) -> None:
    """Deliver until `until` is set, then all that is pending; then retry a failing store for `patience`."""
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
                _announce(sum(1 for _ in pending(store.read)))
            if store is not None:
                store.deliver(last=last)
            looked.touch()
            os.utime(looked, (looking, looking))
            fault = ""
            if last:
                return
        except Exception as error:  # no fault of the store may stop the runs
            if not fault:
                print(f"MLflow at {masked(uri())} does not accept events: {_reason(error)}", file=sys.stderr)
            fault = _reason(error)
            if last and time.monotonic() - ended > patience:
                raise _undelivered(fault) from None
        until.wait(LOOK_SECONDS)
        if last:
            time.sleep(0.2)


def _announce(logs: int) -> None:
    if logs > MANY:
        print(f"delivering {logs} runs to MLflow at {masked(uri())}", file=sys.stderr)


def _undelivered(fault: str) -> ValueError:
    return ValueError(
        f"NOT DELIVERED to MLflow at {masked(uri())}: {fault}; the events are kept in the runs' folders "
        f"({EVENTS}), and `python -m pipeline.track` delivers them"
    )


def _reason(error: Exception) -> str:
    return masked(" ".join(str(error).split()))[:200] or type(error).__name__


def deliver_in_turn(*, until: threading.Event, patience: float) -> None:
    """Deliver, or let another process that holds the lock deliver the events of this one, too."""
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
                raise _undelivered(f"{holder(lock_file)} is delivering and has not reached these events")
            time.sleep(0.2)
        until.wait(LOOK_SECONDS)


def await_end(until: threading.Event) -> None:
    sys.stdin.read()
    until.set()
