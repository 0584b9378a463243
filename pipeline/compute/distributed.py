"""Data-parallel training under torchrun: each process computes one part of every batch.

Gradients and BatchNorm statistics are those of the whole batch, so that the weights equal those of a single
process up to rounding. `torch.nn.SyncBatchNorm` runs on GPUs only.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn

RANK = int(os.environ.get("RANK", 0))  # set by torchrun
RANKS = int(os.environ.get("WORLD_SIZE", 1))
FIRST = RANK == 0  # this process writes files and reports
LOCAL = int(os.environ.get("LOCAL_RANK", 0))  # rank on this machine


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Join the process group; report a lost process in one line."""
    if RANKS == 1:
        yield
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    except RuntimeError as error:
        if not any(sign in str(error) for sign in ("Connection", "peer", "Socket", "NCCL", "Timed out")):
            raise
        raise ValueError(
            f"process {RANK} of {RANKS} lost the others ({str(error).splitlines()[-1][:120]}); "
            "the same command resumes from the last checkpoint"
        ) from None
    finally:
        dist.destroy_process_group()


def part(count: int, *, rank: int = RANK, ranks: int = RANKS) -> slice:
    """The slice of `count` images that this process computes."""
    if count < ranks:
        raise ValueError(
            f"a batch of {count} is too small for {ranks} processes; start fewer, or raise the batch"
        )
    return slice(count * rank // ranks, count * (rank + 1) // ranks)


def synced(model: nn.Module) -> nn.Module:
    """Make BatchNorm layers use the statistics of the whole batch."""
    if RANKS > 1:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.__class__ = BatchNorm
    return model


class Summed(torch.autograd.Function):
    """Sum x over all processes. The gradient is summed too, since every process uses the sum."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return total(x.clone())

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return total(gradient.clone())


def total(x: Tensor) -> Tensor:
    dist.all_reduce(x)
    return x


class BatchNorm(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        assert self.num_batches_tracked is not None
        whole = x.float()
        count = total(torch.tensor(float(whole[:, 0].numel()), device=x.device))
        mean = Summed.apply(whole.sum(dim=(0, 2, 3))) / count
        centred = whole - mean.view(1, -1, 1, 1)
        var = Summed.apply(centred.square().sum(dim=(0, 2, 3))) / count
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * count / (count - 1), self.momentum)
            self.num_batches_tracked.add_(1)
        scale = self.weight * torch.rsqrt(var + self.eps)
        return (centred * scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)).to(x.dtype)


def shared(loss: Tensor, parameters: list[nn.Parameter], share: float) -> Tensor:
    """Reduce the gradients to the whole batch's; return its loss."""
    if RANKS == 1:
        return loss
    for parameter in parameters:
        if parameter.grad is not None:
            total(parameter.grad.mul_(share))
    return total(loss.float() * share)


def any_of(told: bool, device: torch.device) -> bool:
    """Whether any process was told to stop."""
    return told if RANKS == 1 else bool(total(torch.tensor(float(told), device=device)))
