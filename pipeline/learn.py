"""What pretrain and finetune share: a run of params.yaml becomes weights and a record of how."""

import json
import platform
import subprocess
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline import ranks, track
from pipeline.balance import balanced
from pipeline.data import Batches, Images, Manifest, Mixed, held_out, open_manifest, subset
from pipeline.devices import device_at_hand, prepare
from pipeline.engine import compiles, on_device, precision
from pipeline.files import need_room, write_json
from pipeline.graph import Graph, Training
from pipeline.models import zhang
from pipeline.models.layers import initialise
from pipeline.objectives import LOSSES, MODELS
from pipeline.params import Engine
from pipeline.train import (
    State,
    chance,
    fit,
    fits,
    load_tensors,
    save_tensors,
)
from pipeline.typed import plain
from pipeline.winograd import taken_over


def learn(graph: Graph, stage: str, name: str, seed: int) -> None:
    """Train one run with one seed, or go on with it; its weights, then its record, are written last."""
    training, engine = graph.training(stage, name, seed), graph.params.engine
    prepare(engine.threads)
    began, device = time.time(), device_at_hand()
    manifest = open_manifest(training.shards.manifest, training.spec.data.split)
    model = beginning(training, manifest).to(device).to(memory_format=torch.channels_last)
    size = sum(each.numel() * each.element_size() for each in model.state_dict().values())
    # A checkpoint holds the weights and two moments of each; a new one is written before the old one goes.
    need_room(training.folder, 6 * size + (1 << 16), what=training.identity)
    loss = LOSSES[training.spec.objective.name]
    owner = {"identity": training.identity}
    files = [training.record, training.weights]
    story = track.run(training, manifest, commit=commit(), files=files) if ranks.FIRST else nullcontext()
    with ranks.joined(device), story as events:
        state, spec, labelled = State(), training.spec, np.array([], int)
        if spec.epochs:
            on = device if on_device(engine, device) else None
            images = Images(manifest, stream_above_gb=engine.stream_above_gb, raw=spec.data.raw, on=on)
            labelled = subset(images, spec.data, seed=seed)
            batches = batches_of(training, images, labelled)
            spec = balanced(model, batches, spec, seed=seed, device=device)
            state = fit(
                model,
                lambda batch, generator: loss(model, batch, spec, generator),
                batches,
                spec,
                seed=seed,
                owner=owner,
                folder=training.folder,
                engine=engine,
                device=device,
                **({"log": events.log} if events else {}),
            )
        if not ranks.FIRST:
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
    """Of labelled images; or half of these, half of all images of a split, whose labels are not looked at."""
    data, batch, seed = training.spec.data, training.spec.batch, training.seed
    if data.unlabelled is None:
        return Batches(images, labelled, training.spec.augment, batch=batch, seed=seed)
    if data.unlabelled == data.split:
        others = np.setdiff1d(np.arange(images.manifest.count), held_out(images, data, seed=seed)[0])
        held = images
    else:
        manifest = open_manifest(training.shards.manifest, data.unlabelled)
        held = Images(
            manifest,
            stream_above_gb=images.stream_above_gb,
            statistics=images.manifest,
            raw=data.raw,
            on=images.on,
        )
        others = np.arange(manifest.count)
    half, apart = batch // 2, chance(seed, "unlabelled")
    return Mixed(
        Batches(images, labelled, training.spec.augment, batch=half, seed=seed),
        Batches(held, others, training.spec.augment, batch=batch - half, seed=apart),
    )


def beginning(training: Training, manifest: Manifest) -> nn.Module:
    """The run's network at its first step: drawn by its seed, then the parts that it takes over."""
    model = MODELS[training.spec.objective.name](training.spec, manifest)
    initialise(
        model, training.spec.init, generator=torch.Generator().manual_seed(chance(training.seed, "init"))
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
            with fits(training.start.weights):
                getattr(model, part).load_state_dict(parts[part])
    return model


def _take_weights(model: nn.Module, path: Path, manifest: Manifest, *, where: str) -> None:
    assert isinstance(model, zhang.Classifier)
    if not path.exists():
        raise ValueError(
            f"{where}: {path} is missing; put torchvision's VGG-16 there, vgg16-397923af.pth of "
            "https://download.pytorch.org/models/, or take 'weights' away to train the network here"
        )
    mean, std = (torch.tensor(manifest.record[name]) for name in ("mean", "std"))
    try:
        model.load_state_dict(zhang.from_torchvision(load_tensors(path), model, mean=mean, std=std))
    except ValueError as error:
        raise ValueError(f"{where}: {path}: {error}") from None


def trained(training: Training, manifest: Manifest) -> nn.Module:
    """The run's network with the weights that it ended with."""
    model = MODELS[training.spec.objective.name](training.spec, manifest)
    for name, tensors in load_parts(training).items():
        with fits(training.weights):
            getattr(model, name).load_state_dict(tensors)
    return model.eval()


def load_weights(training: Training) -> dict[str, Any]:
    content = load_tensors(training.weights)
    if content.get("identity") != training.identity:
        raise ValueError(f"{training.weights} holds the weights of {content.get('identity')!r}; remove it")
    return content


def load_parts(training: Training) -> dict[str, dict[str, torch.Tensor]]:
    content = load_weights(training)
    with fits(training.weights):
        return content["parts"]


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
    identity = {"identity": training.identity, "spec": json.dumps(plain(training.spec)), "commit": commit()}
    save_tensors(training.weights, {"parts": parts, **identity})
    write_json(
        training.record,
        {
            **describe(training, manifest),
            "commit": commit(),
            "spec": plain(training.spec),
            "parameters": sum(each.numel() for each in model.parameters()),
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
            "images_on": "device" if on_device(engine, device) else "host",
            "machine": machine(device),
        },
    )


def describe(training: Training, manifest: Manifest) -> dict[str, Any]:
    """Who a run is, for its record and for MLflow."""
    return {
        "identity": training.identity,
        "stage": training.stage,
        "run": training.name,
        "seed": training.seed,
        "scale": training.scale,
        "key": training.key,
        "dataset": training.shards.shown,
        "data_sha256": manifest.sha256,
        "start": training.start.identity if training.start else None,
    }


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def machine(device: torch.device) -> dict[str, Any]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {
        "device": name,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "CPU")


def commit() -> str:
    """The last commit that touched pipeline/, with a `+` where it has been edited since."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words, "--", "pipeline"], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    return (git("log", "-1", "--format=%h", "--abbrev=12") or "unknown") + (
        "+" if git("status", "--porcelain") else ""
    )
