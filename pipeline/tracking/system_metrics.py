"""What the machine does during a run, under MLflow's own names, sampled beside the run by a thread."""

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

EVERY = 10.0  # seconds; a shorter run has no sample, and imports nothing for it
GPU = {  # nvidia-smi's names -> MLflow's, after gpu_<number>_
    "utilization.gpu": "utilization_percentage",
    "memory.used": "memory_usage_megabytes",
    "power.draw": "power_usage_watts",
}


@contextmanager
def sampled(log: Callable[[dict[str, float]], None]) -> Iterator[None]:
    """Log a sample every ten seconds; a sample that fails ends the sampling, never the run."""
    stop = threading.Event()

    def sample() -> None:
        if stop.wait(EVERY):
            return
        import psutil

        process, gpus = psutil.Process(), True
        psutil.cpu_percent(), process.cpu_percent()  # the next call counts from here
        while not stop.wait(EVERY):
            try:
                found = _of_gpus() if gpus else {}
                log(_of_machine(process) | found)
            except (OSError, psutil.Error):  # such as a full disk, which the run's next event reports
                return
            gpus = bool(found)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _of_machine(process: Any) -> dict[str, float]:
    import psutil

    memory = psutil.virtual_memory()
    return {
        "cpu_utilization_percentage": psutil.cpu_percent(),
        "system_memory_usage_megabytes": round(memory.used / 1e6, 1),
        "system_memory_usage_percentage": memory.percent,
        "process_cpu_percentage": process.cpu_percent(),
        "process_memory_megabytes": round(process.memory_info().rss / 1e6, 1),
    }


def _of_gpus() -> dict[str, float]:
    """By nvidia-smi, which comes with the driver; nothing where there is none."""
    words = ["nvidia-smi", f"--query-gpu={','.join(GPU)}", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(words, capture_output=True, text=True, timeout=3, check=True).stdout
        return read_gpus(said)
    except (OSError, ValueError, subprocess.SubprocessError):
        return {}


def read_gpus(said: str) -> dict[str, float]:
    """A line a card; a value that it does not have, as [N/A], is left out."""
    metrics: dict[str, float] = {}
    for number, line in enumerate(said.splitlines()):
        for name, value in zip(GPU.values(), line.split(","), strict=True):
            with suppress(ValueError):
                metrics[f"gpu_{number}_{name}"] = float(value)
    return metrics
