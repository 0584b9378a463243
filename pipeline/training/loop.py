"""The training loop of all objectives."""

import sys
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.compute import distributed
from pipeline.compute.engine import by_winograd, compiled, compiles, precision
from pipeline.compute.seeds import seed_from
from pipeline.compute.winograd import take_over
from pipeline.config.params import Engine
from pipeline.config.runs import Run
from pipeline.data.batches import Batch, Batches, Mixed
from pipeline.system.progress import Progress
from pipeline.system.signals import Stopped
from pipeline.training.capture import Captured, captures
from pipeline.training.checkpoint import State, finite, resume, save_checkpoint
from pipeline.training.optimisers import OPTIMISERS, SCHEDULES

LOGGED = 500  # points on a run's curve


def steps(
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
    stopping: Sequence[int],
    log: Callable[[int, dict[str, float]], None] = lambda step, metrics: None,
) -> Generator[None, None, State]:
    """Train for `spec.epochs` and yield after each step, so that a process can alternate between trainings.

    Interrupted anywhere, the same call resumes and ends with the same weights. Once `stopping` is not empty,
    the next step is the last: it leaves a checkpoint and raises Stopped.
    """
    for part in spec.freeze:
        getattr(model, part).requires_grad_(False)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = OPTIMISERS[spec.optimiser.name](parameters, spec.optimiser.options)
    checkpoint, state = folder / "checkpoint.pt", State()
    if checkpoint.exists():
        state = resume(checkpoint, model, optimiser, owner)
    total, half = spec.epochs * batches.steps, precision(engine, device) == "bf16"
    if state.step and distributed.FIRST:
        print(f"resumes at step {state.step}/{total}", file=sys.stderr, flush=True)
    progress, saved = Progress(total, done=state.step), time.monotonic()
    unread: list[Tensor] = []
    read_every = 1 if device.type == "cpu" else 50  # reading a loss synchronises with the device
    distributed.synced(model).train()
    if compiles(engine, device, spec, total):
        loss_of = compiled(model, loss_of, device)
    elif by_winograd(engine, device):
        take_over(model)
    frozen: set[str] | None = None
    generator = torch.Generator(device)

    def update(batch: Batch) -> Tensor:
        """Take a step of the optimiser; return the loss before it."""
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
            loss = loss_of(batch, generator)
        model.zero_grad(set_to_none=True)
        loss.backward()
        loss = distributed.shared(loss.detach(), parameters, len(batch.index) / batch.whole)
        if spec.clip is not None:
            for group in clipped_together(model, spec):
                nn.utils.clip_grad_norm_(group, spec.clip)
        optimiser.step()
        return loss

    captured = Captured(update, optimiser, generator) if captures(engine, device) else None

    def save() -> None:
        if distributed.FIRST:
            save_checkpoint(checkpoint, model, optimiser, state, owner)

    while state.step < total:
        epoch = state.step // batches.steps
        if frozen != (parts := frozen_parts(spec, epoch)):
            freeze(model, frozen := parts)
        rate = SCHEDULES[spec.schedule.name](spec.schedule.options, epoch, state.losses)
        rate *= spec.optimiser.options.lr
        for settings in optimiser.param_groups:  # loading a checkpoint replaces them
            settings["lr"] = rate
        # for layers that draw, such as dropout
        torch.manual_seed(seed_from(seed, state.step) + distributed.RANK)
        generator.manual_seed(seed_from(seed, state.step, "corruption"))
        batch = batches.at(state.step, device)
        loss = captured(batch, (rate, frozenset(frozen))) if captured else update(batch)
        stop = distributed.any_of(bool(stopping), device)
        unread.append(loss)
        state.step += 1
        ends = state.step % batches.steps == 0
        late = time.monotonic() - saved > engine.checkpoint_seconds
        if len(unread) >= read_every or ends or late or stop:
            _read(unread, state, log, every=max(1, total // LOGGED))
            if distributed.FIRST:
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
        yield
    progress.end()
    if not finite(model.state_dict()):
        raise ValueError(
            f"the weights are not finite after step {total}; set a lower lr, or engine.precision: fp32"
        )
    return state


def clipped_together(model: nn.Module, spec: Run) -> list[list[nn.Parameter]]:
    """Groups of parameters clipped by one norm: each child of `clip_each`, and the others together."""
    apart = [list(child.parameters()) for part in spec.clip_each for child in getattr(model, part).children()]
    taken = {id(parameter) for group in apart for parameter in group}
    return [*apart, [parameter for parameter in model.parameters() if id(parameter) not in taken]]


def frozen_parts(spec: Run, epoch: int) -> set[str]:
    """Parts frozen during this epoch."""
    return {*spec.freeze, *(spec.transfer if epoch < spec.warmup else ())}


def freeze(model: nn.Module, parts: set[str]) -> None:
    """Freeze the weights and batch statistics of these parts; unfreeze the others."""
    for name, part in model.named_children():
        part.requires_grad_(name not in parts).train(name not in parts)


def _read(unread: list[Tensor], state: State, log: Callable, *, every: int) -> None:
    """Copy the last losses from the device and log them; stop the run if one is not finite."""
    first = state.step - len(unread)
    for step, loss in enumerate(torch.stack(unread).float().tolist(), start=first + 1):
        if loss != loss or loss in (float("inf"), float("-inf")):
            raise ValueError(
                f"the loss is {loss} at step {step}; set a lower lr, 'clip', or engine.precision: fp32"
            )
        state.pending.append(loss)
        if step % every == 0:
            log(step, {"loss": loss})
    unread.clear()
