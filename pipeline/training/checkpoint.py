"""Checkpoints and weights as files: written atomically, verified when read."""

import io
import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from pipeline.system.files import damaged, write_whole


@dataclass
class State:
    """The progress of a training; a checkpoint holds it with the weights and the optimiser's state."""

    step: int = 0
    losses: list[float] = field(default_factory=list)  # of finished epochs
    pending: list[float] = field(default_factory=list)  # of the steps of the current epoch


def save_checkpoint(path: Path, model: nn.Module, optimiser: Optimizer, state: State, owner: dict) -> None:
    content = {
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "step": state.step,
        "losses": list(state.losses),
        "pending": list(state.pending),
        "owner": owner,
    }
    save_tensors(path, content)


def resume(path: Path, model: nn.Module, optimiser: Optimizer, owner: dict) -> State:
    content = load_tensors(path)
    if content.get("owner") != owner:
        raise ValueError(f"{path} is a checkpoint of another specification or seed; remove it to start over")
    with reading(path):
        model.load_state_dict(content["model"])
        optimiser.load_state_dict(content["optimiser"])
        return State(content["step"], content["losses"], content["pending"])


def save_tensors(path: Path, content: dict[str, Any]) -> None:
    """Equal content gives equal bytes: given a path, torch would also write the partial file's name."""

    def write(beside: Path) -> None:
        with beside.open("wb") as file:
            torch.save(content, file)

    try:
        write_whole(path, write)
    except RuntimeError as error:  # how torch reports a failed write
        reason = str(error).split("\n")[0][:120]
        raise OSError(f"{path} could not be written ({reason}); is the disk full?") from None


def load_tensors(path: Path) -> dict[str, Any]:
    """Load tensors and plain values, never code; refuse wrong checksums and values that are not finite."""
    try:
        written = path.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"{path} is missing; make it: snakemake --cores all {path}") from None
    with reading(path):
        with zipfile.ZipFile(io.BytesIO(written)) as parts:
            if sum(part.file_size for part in parts.infolist()) > len(written):
                raise ValueError("its parts unpack to more than the file's size")
            if changed := parts.testzip():
                raise ValueError(f"{changed} has a wrong checksum")
        content = torch.load(io.BytesIO(written), map_location="cpu", weights_only=True)
        if not isinstance(content, dict):
            raise ValueError("it is not a mapping")
        if not finite(content):
            raise ValueError("it holds values that are not finite")
        return content


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Report every failure of this block as a damaged file."""
    try:
        yield
    except (MemoryError, OSError):
        raise
    except Exception as error:  # torch raises a dozen kinds of error for a damaged file
        raise damaged(path, str(error).split("\n")[0][:120]) from None


def finite(content: Any) -> bool:
    """Whether all numbers in nested mappings and lists are finite."""
    if isinstance(content, Tensor):
        return bool(content.isfinite().all())
    if isinstance(content, dict | list | tuple):
        return all(map(finite, content.values() if isinstance(content, dict) else content))
    return not isinstance(content, float) or math.isfinite(content)
