"""Train a run of params.yaml, for pretrain and finetune; write its weights and its record."""

import json
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline.compute import distributed
from pipeline.compute.device import device_at_hand, peak_memory, prepare
from pipeline.compute.engine import compiles, on_device, precision
from pipeline.compute.seeds import seed_from
from pipeline.compute.winograd import taken_over
from pipeline.config.params import Engine
from pipeline.config.typed import plain
from pipeline.data.batches import Batches, Mixed
from pipeline.data.images import Images, images_of
from pipeline.data.manifest import Manifest
from pipeline.data.subsets import held_out, subset
from pipeline.models import classifiers
from pipeline.models.layers import initialise
from pipeline.objectives import objective_of
from pipeline.system.files import need_room, write_json
from pipeline.tracking.events import tracked
from pipeline.tracking.follower import followed
from pipeline.tracking.provenance import commit, machine, now
from pipeline.training.checkpoint import State, load_tensors, reading, save_tensors
from pipeline.training.loop import steps
from pipeline.training.turns import Steps, take_turns
from pipeline.training.weights import load_parts
from pipeline.work.graph import Graph
from pipeline.work.identity import Training


def train(graph: Graph, stage: str, name: str, *seeds: int) -> None:
    """Train a run, or resume it; several seeds take turns in this process, each as if alone."""
    if distributed.RANKS > 1 and len(seeds) > 1:
        raise ValueError("torchrun's processes share one training; give one seed")
    prepare(graph.params.engine, one_shape=True)
    trainings = [graph.training(stage, name, seed) for seed in dict.fromkeys(seeds)]
    device, stopping, engine = device_at_hand(), list[int](), graph.params.engine
    with followed("train") if len(trainings) > 1 else nullcontext():
        take_turns(
            {each.seed: _steps(each, engine, device, stopping) for each in trainings}, device, stopping
        )


def _steps(training: Training, engine: Engine, device: torch.device, stopping: list[int]) -> Steps:
    """Yield when the data are read and after each step; write the weights and then the record at the end."""
    began = time.time()
    on = device if on_device(engine, device) else None
    images = images_of(training, stream_above_gb=engine.stream_above_gb, on=on)
    manifest = images.manifest
    model = beginning(training, manifest).to(device).to(memory_format=torch.channels_last)
    size = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    # A checkpoint holds each weight and two moments; the new one is written before the old one is deleted.
    need_room(training.folder, 6 * size + (1 << 16), what=training.identity)
    objective = objective_of(training.spec)
    owner = {"identity": training.identity}
    files = [training.record, training.weights]
    log = tracked(training, manifest, commit=commit(), files=files) if distributed.FIRST else nullcontext()
    with distributed.joined(device), log as events:
        state, spec, labelled = State(), training.spec, np.array([], int)
        if spec.epochs:
            labelled = subset(images, spec.data, seed=training.seed)
            batches = batches_of(training, images, labelled)
            spec = objective.prepare(model, batches, spec, seed=training.seed, device=device)
            yield
            state = yield from steps(
                model,
                lambda batch, generator: objective.loss(model, batch, spec, generator),
                batches,
                spec,
                seed=training.seed,
                owner=owner,
                folder=training.folder,
                engine=engine,
                device=device,
                stopping=stopping,
                **({"log": events.log} if events else {}),
            )
        else:
            yield
        if not distributed.FIRST:
            return
        _write(
            training,
            model,
            manifest,
            state,
            labelled,
            loss_weights=list(getattr(spec.objective.options, "weights", ())),
            seconds=time.time() - began,
            engine=engine,
            device=device,
        )
        (training.folder / "checkpoint.pt").unlink(missing_ok=True)


def batches_of(training: Training, images: Images, labelled: np.ndarray) -> Batches | Mixed:
    """Batches of labelled images, or mixed ones: half labelled, half from a whole split without labels."""
    data, batch, seed = training.spec.data, training.spec.batch, training.seed
    if data.unlabelled is None:
        return Batches(images, labelled, training.spec.augment, batch=batch, seed=seed)
    if data.unlabelled == data.split:
        others = np.setdiff1d(np.arange(images.manifest.count), held_out(images, data, seed=seed)[0])
        unlabelled = images
    else:
        unlabelled = images_of(
            training, data.unlabelled, stream_above_gb=images.stream_above_gb, on=images.on
        )
        others = np.arange(unlabelled.manifest.count)
    half, other_seed = batch // 2, seed_from(seed, "unlabelled")
    return Mixed(
        Batches(images, labelled, training.spec.augment, batch=half, seed=seed),
        Batches(unlabelled, others, training.spec.augment, batch=batch - half, seed=other_seed),
    )


def beginning(training: Training, manifest: Manifest) -> nn.Module:
    """The run's network before its first step: drawn by its seed, then with transferred parts loaded."""
    model = objective_of(training.spec).build(training.spec, manifest)
    initialise(
        model, training.spec.init, generator=torch.Generator().manual_seed(seed_from(training.seed, "init"))
    )
    for key in ("freeze", "clip_each"):
        for part in getattr(training.spec, key):
            if not hasattr(model, part):
                names = ", ".join(name for name, _ in model.named_children())
                raise ValueError(f"{training.label}.{key} names {part!r}; its network has {names}")
    if training.spec.weights is not None:
        _take_weights(model, Path(training.spec.weights), manifest, where=f"{training.label}.weights")
    if training.start is not None:
        parts = load_parts(training.start)
        for part in training.spec.transfer:
            if part not in parts or not hasattr(model, part):
                raise ValueError(
                    f"{training.label}.transfer names {part!r}; {training.start.label} has {', '.join(parts)}"
                )
            with reading(training.start.weights):
                getattr(model, part).load_state_dict(parts[part])
    return model


def _take_weights(model: nn.Module, path: Path, manifest: Manifest, *, where: str) -> None:
    assert isinstance(model, classifiers.Classifier)
    if not path.exists():
        raise ValueError(
            f"{where}: {path} is missing; put torchvision's VGG-16 there, vgg16-397923af.pth of "
            "https://download.pytorch.org/models/, or remove 'weights' to train the network here"
        )
    mean, std = (torch.tensor(manifest.record[name]) for name in ("mean", "std"))
    try:
        model.load_state_dict(classifiers.from_torchvision(load_tensors(path), model, mean=mean, std=std))
    except ValueError as error:
        raise ValueError(f"{where}: {path}: {error}") from None


def _write(
    training: Training,
    model: nn.Module,
    manifest: Manifest,
    state: State,
    labelled: np.ndarray,
    *,
    loss_weights: list[float],
    seconds: float,
    engine: Engine,
    device: torch.device,
) -> None:
    model.to(memory_format=torch.contiguous_format).cpu()
    parts = {name: part.state_dict() for name, part in model.named_children()}
    origin = {
        "identity": training.identity,
        "spec": json.dumps(plain(training.spec)),
        "data": json.dumps(manifest.outline),
        "commit": commit(),
    }
    save_tensors(training.weights, {"parts": parts, **origin})
    write_json(
        training.record,
        {
            **describe(training, manifest),
            "commit": commit(),
            "spec": plain(training.spec),
            "parameters": sum(weights.numel() for weights in model.parameters()),
            "pairs": [list(pair) for pair in getattr(model, "pairs", ())],
            "loss_weights": loss_weights,
            "steps": state.step,
            "epoch_losses": state.losses,
            **({"labelled": labelled.tolist()} if training.spec.data.labels else {}),
            "seconds": round(seconds, 2),
            "ended": now(),
            "precision": precision(engine, device),
            "compiled": compiles(engine, device, training.spec, state.step),
            "convolution": "winograd" if taken_over(model) else "torch",
            "peak_memory": peak_memory(device),
            "images_on": "device" if on_device(engine, device) else "host",
            "machine": machine(device),
        },
    )


def describe(training: Training, manifest: Manifest) -> dict[str, Any]:
    """The identity of a run, for its record and for MLflow."""
    return {
        "identity": training.identity,
        "stage": training.stage,
        "run": training.name,
        "seed": training.seed,
        "scale": training.scale,
        "key": training.key,
        "dataset": training.shards.displayed_name,
        "data_sha256": manifest.sha256,
        "start": training.start.identity if training.start else None,
    }
