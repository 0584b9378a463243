"""A tape stands on a CPU for the CUDA graph that records a step.

It repeats the operations of one call on the tensors of that call. What the host computed in between is not computed
again, as in a graph.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pipeline.data.batches import Batch


class Tape(TorchDispatchMode):
    """Record the operations of a call, undo what they wrote to older tensors, and repeat them at each replay."""

    def __init__(self, update: Callable[[Batch], Tensor], batch: Batch, generator: torch.Generator) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, Any]] = []
        # by storage: older tensors that the call wrote, and their values before
        self.older: dict[int, tuple[Tensor, Tensor]] = {}
        self.own: set[int] = set()  # storages that the call allocated
        self.generator = generator
        states = generator.get_state(), torch.get_rng_state()
        try:
            with self:
                self.loss = update(batch)
        finally:
            generator.set_state(states[0])
            torch.set_rng_state(states[1])
            with torch.no_grad():
                for tensor, value in self.older.values():
                    tensor.copy_(value)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if (drawing := kwargs.get("generator")) is not None and drawing._cdata != self.generator._cdata:
            raise RuntimeError("a graph refuses a generator that it does not know")
        for tensor in written(func, args, kwargs):
            if storage(tensor) not in self.own | self.older.keys():
                self.older[storage(tensor)] = tensor, tensor.clone()
        result = func(*args, **kwargs)
        self.operations.append((func, args, kwargs, result))
        self.own |= storages(result) - storages((args, kwargs))
        return result

    @torch.no_grad()
    def replay(self) -> Tensor:
        for func, args, kwargs, result in self.operations:
            given = storages((args, kwargs))
            for to, again in zip(tree_leaves(result), tree_leaves(func(*args, **kwargs)), strict=True):
                if isinstance(to, Tensor) and storage(to) not in given:
                    to.copy_(again)
        return self.loss.clone()


def written(func: Any, args: Any, kwargs: Any) -> list[Tensor]:
    """The tensors that an operation writes; batch normalisation does not declare its running statistics."""
    names = [argument.name for argument in func._schema.arguments]
    given = dict(zip(names, args, strict=False)) | kwargs
    declared = [argument.name for argument in func._schema.arguments if argument.is_write]
    undeclared = [name for name in names if name.startswith("running_")]
    values = tree_leaves([given.get(name) for name in declared + undeclared])
    return [value for value in values if isinstance(value, Tensor)]


def storages(values: Any) -> set[int]:
    return {storage(each) for each in tree_leaves(values) if isinstance(each, Tensor)}


def storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
