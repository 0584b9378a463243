"""The one loop: every objective is trained by it, whatever its paper."""

import hashlib
import io
import math
import signal
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline import ranks
from pipeline.command import Stopped
from pipeline.data import Batch, Batches, Mixed
from pipeline.engine import by_winograd, compiled, compiles, precision
from pipeline.files import damaged, write_whole
from pipeline.optimise import OPTIMISERS, SCHEDULES, Optimiser
from pipeline.params import Engine, Run
from pipeline.progress import Progress
from pipeline.winograd import take_over

LOGGED = 500  # points on a run's curve


def chance(*numbers: int | str) -> int:
    """A seed that follows from who is drawing, and for what."""
    return int.from_bytes(hashlib.blake2b(repr(numbers).encode(), digest_size=7).digest())


@dataclass
class State:
    """Where a training stands; with the weights, all that a checkpoint holds."""

    step: int = 0
    losses: list[float] = field(default_factory=list)  # of whole epochs
    pending: list[float] = field(default_factory=list)  # of the steps of the epoch that is under way


def fit(
    model: nn.Module,
    loss_of: Callable[[Batch, torch.Generator], Tensor],
    batches: Batches | Mixed,
    spec: Run,
    *,
    seed: int,
    owner: dict[str, Any],
    folder: Path,
    engine: Engine,
    device: torch.device,
    log: Callable[[int, dict[str, float]], None] = lambda step, metrics: None,
) -> State:
    """Train for `spec.epochs`; interrupted at any moment, the same call goes on to the same end."""
    for part in spec.freeze:
        getattr(model, part).requires_grad_(False)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = OPTIMISERS[spec.optimiser.name](parameters, spec.optimiser.options)
    checkpoint, state = folder / "checkpoint.pt", State()
    if checkpoint.exists():
        state = _resume(checkpoint, model, optimiser, owner)
    total, half = spec.epochs * batches.steps, precision(engine, device) == "bf16"
    if state.step and ranks.FIRST:
        print(f"goes on at step {state.step}/{total}", file=sys.stderr, flush=True)
    progress, saved = Progress(total, done=state.step), time.monotonic()
    unread: list[Tensor] = []
    read_every = 1 if device.type == "cpu" else 50  # reading a loss makes the device wait
    ranks.synced(model).train()
    if compiles(engine, device, spec, total):
        compiled(model, device)
    elif by_winograd(engine, device):
        take_over(model)
    resting: set[str] | None = None

    def save() -> None:
        if ranks.FIRST:
            _save(checkpoint, model, optimiser, state, owner)

    with stop_signals() as stopping:
        while state.step < total:
            epoch = state.step // batches.steps
            if resting != (now := at_rest(spec, epoch)):
                rest(model, resting := now)
            rate = SCHEDULES[spec.schedule.name](spec.schedule.options, epoch, state.losses)
            rate *= spec.optimiser.options.lr
            torch.manual_seed(chance(seed, state.step) + ranks.RANK)  # for layers that draw, as dropout does
            generator = torch.Generator(device).manual_seed(chance(seed, state.step, "corruption"))
            batch = batches.at(state.step, device)
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
                loss = loss_of(batch, generator)
            model.zero_grad(set_to_none=True)
            loss.backward()
            share = len(batch.index) / batch.whole
            loss, stop = ranks.shared(loss.detach(), parameters, share, stop=bool(stopping))
            if spec.clip is not None:
                for group in clipped_together(model, spec):
                    nn.utils.clip_grad_norm_(group, spec.clip)
            optimiser.step(rate)
            unread.append(loss)
            state.step += 1
            ends = state.step % batches.steps == 0
            late = time.monotonic() - saved > engine.checkpoint_seconds
            if len(unread) >= read_every or ends or late or stop:
                _read(unread, state, log, every=max(1, total // LOGGED))
                if ranks.FIRST:
                    progress.say(state.step, f"loss {state.pending[-1]:.4g}")
            if ends:
                state.losses.append(sum(state.pending) / len(state.pending))
                state.pending.clear()
                log(state.step, {"epoch loss": state.losses[-1], "lr": rate, "epoch": len(state.losses)})
            if late or stop:
                save()
                saved = time.monotonic()
            if stop:
                raise Stopped
    progress.end()
    if not finite(model.state_dict()):
        raise ValueError(
            f"the weights are not finite after step {total}; a lower lr, or engine.precision: fp32"
        )
    return state


def clipped_together(model: nn.Module, spec: Run) -> list[list[nn.Parameter]]:
    """Parameters whose gradients share a norm: those of each child of `clip_each`, and all others."""
    apart = [list(child.parameters()) for part in spec.clip_each for child in getattr(model, part).children()]
    taken = {id(parameter) for group in apart for parameter in group}
    return [*apart, [parameter for parameter in model.parameters() if id(parameter) not in taken]]


def at_rest(spec: Run, epoch: int) -> set[str]:
    """The parts that stay as they are in an epoch."""
    return {*spec.freeze, *(spec.transfer if epoch < spec.warmup else ())}


def rest(model: nn.Module, parts: set[str]) -> None:
    """These parts neither learn nor move their batch statistics; the others do."""
    for name, part in model.named_children():
        part.requires_grad_(name not in parts).train(name not in parts)


def _read(unread: list[Tensor], state: State, log: Callable, *, every: int) -> None:
    """Bring the losses of the last steps over from the device; one that is not finite ends the run."""
    first = state.step - len(unread)
    for step, loss in enumerate(torch.stack(unread).float().tolist(), start=first + 1):
        if loss != loss or loss in (float("inf"), float("-inf")):
            raise ValueError(
                f"the loss is {loss} at step {step}; a lower lr, 'clip', or engine.precision: fp32"
            )
        state.pending.append(loss)
        if step % every == 0:
            log(step, {"loss": loss})
    unread.clear()


def _save(path: Path, model: nn.Module, optimiser: Optimiser, state: State, owner: dict) -> None:
    content = {
        "model": model.state_dict(),
        "optimiser": optimiser.state(),
        "step": state.step,
        "losses": list(state.losses),
        "pending": list(state.pending),
        "owner": owner,
    }
    save_tensors(path, content)


def _resume(path: Path, model: nn.Module, optimiser: Optimiser, owner: dict) -> State:
    content = load_tensors(path)
    if content.get("owner") != owner:
        raise ValueError(f"{path} is a checkpoint of another specification or seed; remove it to train anew")
    with fits(path):
        model.load_state_dict(content["model"])
        optimiser.restore(content["optimiser"])
        return State(content["step"], content["losses"], content["pending"])


def save_tensors(path: Path, content: dict[str, Any]) -> None:
    try:
        write_whole(path, lambda beside: torch.save(content, beside))
    except RuntimeError as error:  # torch's own word for a write that failed
        reason = str(error).split("\n")[0][:120]
        raise OSError(f"{path} could not be written ({reason}); is the disk full?") from None


def load_tensors(path: Path) -> dict[str, Any]:
    """Tensors and plain values, never code; as they were written, and all of them numbers."""
    try:
        written = path.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"{path} is missing; make it: snakemake --cores all {path}") from None
    with fits(path):
        with zipfile.ZipFile(io.BytesIO(written)) as parts:
            if sum(part.file_size for part in parts.infolist()) > len(written):
                raise ValueError("it would unpack to more than it is")
            if changed := parts.testzip():
                raise ValueError(f"{changed} is not what was written")
        content = torch.load(io.BytesIO(written), map_location="cpu", weights_only=True)
        if not isinstance(content, dict):
            raise ValueError("it holds no mapping")
        if not finite(content):
            raise ValueError("it holds values that are not numbers")
        return content


@contextmanager
def fits(path: Path) -> Iterator[None]:
    """Whatever fails here fails by what is in the file."""
    try:
        yield
    except (MemoryError, OSError):
        raise
    except Exception as error:  # torch has a dozen kinds of error for a damaged file
        raise damaged(path, str(error).split("\n")[0][:120]) from None


def finite(content: Any) -> bool:
    """Whether every number in nested mappings and lists is one."""
    if isinstance(content, Tensor):
        return bool(content.isfinite().all())
    if isinstance(content, dict | list | tuple):
        return all(map(finite, content.values() if isinstance(content, dict) else content))
    return not isinstance(content, float) or math.isfinite(content)


@contextmanager
def stop_signals():
    """A list that is no longer empty once Ctrl-C or SIGTERM came: the loop stops between two steps."""
    came: list[int] = []
    old = {
        number: signal.signal(number, lambda received, frame: came.append(received))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield came
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
