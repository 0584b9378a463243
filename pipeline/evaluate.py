"""evaluate: measure a trained run under a protocol; the only stage that opens a test split."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline import metrics, track
from pipeline.command import run_stage
from pipeline.corrupt import MASKS
from pipeline.data import Batch, Images, central_boxes, cut, held_out, open_manifest
from pipeline.files import read_json, write_json, write_whole
from pipeline.graph import Graph, Measurement
from pipeline.learn import commit, machine, trained
from pipeline.models import zhang
from pipeline.objectives import corrupted
from pipeline.train import chance, device_at_hand, precision

BATCH = 100  # images at once; no result depends on it


def evaluate(graph: Graph, name: str, seed: int) -> None:
    """Write metrics.json: percentages, and PSNR in dB."""
    measurement, engine = graph.measurement(name, seed), graph.params.engine
    training, protocol = measurement.training, measurement.spec
    torch.set_num_threads(engine.threads)
    began, device = time.time(), device_at_hand()
    learnt_from = open_manifest(training.shards.manifest, training.spec.data.split)
    if protocol.split == "validation":
        manifest = learnt_from
        images = Images(manifest, stream_above_gb=engine.stream_above_gb)
        indices = held_out(images, training.spec.data)[0]
    else:
        manifest = open_manifest(training.shards.manifest, protocol.split)
        images = Images(manifest, stream_above_gb=engine.stream_above_gb, statistics=learnt_from)
        indices = np.arange(manifest.count)
    indices = indices[: protocol.images]
    if protocol.drawn is not None:
        order = np.random.default_rng(6).permutation(len(indices))
        indices = indices[np.sort(order[: protocol.drawn])]
    model = trained(training, learnt_from).to(device).to(memory_format=torch.channels_last)
    files = [measurement.metrics]
    with track.run(measurement, manifest, commit=commit(), files=files) as events, torch.inference_mode():
        with torch.autocast(device.type, torch.bfloat16, enabled=precision(engine, device) == "bf16"):
            measured = MEASURES[training.spec.objective.name](model, images, indices, measurement, device)
        figures = {metric: value for metric, value in measured.items() if not isinstance(value, np.ndarray)}
        kept = {name: value for name, value in measured.items() if isinstance(value, np.ndarray)}
        if protocol.drawn is not None:
            kept["drawn"] = indices
        if kept:
            write_whole(measurement.folder / "arrays.npz", lambda beside: _save_arrays(beside, kept))
        record = read_json(
            training.record, way_out=f"make it again: snakemake --cores all {training.weights}"
        )
        content = {
            "identity": measurement.identity,
            "protocol": measurement.protocol,
            "dataset": training.shards.shown,
            "split": manifest.split,
            "images": len(indices),
            "data_sha256": manifest.sha256,
            "commit": commit(),
            "metrics": figures,
            "epoch_losses": record["epoch_losses"],
            "seconds": round(time.time() - began, 2),
            "machine": machine(device),
        }
        write_json(measurement.metrics, content)
        events.log(0, figures)


def _save_arrays(path: Path, kept: dict[str, np.ndarray]) -> None:
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **kept)


def batches(images: Images, indices: np.ndarray, size: int, device: torch.device) -> Iterator[Batch]:
    """Central crops, in the order of the split."""
    for first in range(0, len(indices), BATCH):
        own = indices[first : first + BATCH]
        yield cut(images, own, central_boxes(len(own), size), device)


def restore(
    model: nn.Module, images: Images, indices: np.ndarray, measurement: Measurement, device: torch.device
) -> dict[str, Any]:
    """PSNR of restored images, of the corrupted ones themselves, and over the masked pixels alone."""
    spec = measurement.training.spec
    pictures: dict[str, np.ndarray] = {}
    found: dict[str, list[Tensor]] = {"psnr": [], "psnr_corrupted": [], "psnr_masked": [], "error": []}
    for number, batch in enumerate(batches(images, indices, spec.augment.crop, device)):
        seed = chance(measurement.training.seed, number, "restore")
        spoiled = corrupted(batch, spec, torch.Generator(device).manual_seed(seed))
        restored = model(spoiled).float()
        clean = batch.pixels(batch.x)
        found["psnr"].append(metrics.psnr(clean, batch.pixels(restored)))
        found["psnr_corrupted"].append(metrics.psnr(clean, batch.pixels(spoiled)))
        found["error"].append((restored - batch.x).square().mean(dim=(1, 2, 3)))
        assert spec.corruption is not None
        if mask_of := MASKS.get(spec.corruption.name):
            options = vars(spec.corruption.options)
            again = torch.Generator(device).manual_seed(seed)
            where = mask_of(batch.centred, **options, generator=again)
            found["psnr_masked"].append(metrics.psnr(clean, batch.pixels(restored), where=where))
        if number == 0 and measurement.spec.keep:
            kept = {"clean": clean, "corrupted": batch.pixels(spoiled), "restored": batch.pixels(restored)}
            pictures = {name: _pictures(pixels[: measurement.spec.keep]) for name, pixels in kept.items()}
    return {name: float(torch.cat(values).nanmean()) for name, values in found.items() if values} | pictures


def _pictures(pixels: Tensor) -> np.ndarray:
    return pixels.clamp(0, 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def outputs(
    model: nn.Module, images: Images, indices: np.ndarray, measurement: Measurement, device: torch.device
) -> Tensor:
    """A row of logits for each image: of its central crop, or the sum over random crops."""
    size, protocol = measurement.training.spec.augment.crop, measurement.spec
    if protocol.everywhere:
        return torch.cat([everywhere(model, images, index, device) for index in indices])
    if not protocol.crops:
        return torch.cat([model(batch.x).float().cpu() for batch in batches(images, indices, size, device)])
    rows = []
    for first in range(0, len(indices), BATCH):
        own = indices[first : first + BATCH]
        random = np.random.default_rng([5, measurement.training.seed, first])
        rows.append(
            sum(
                model(random_views(images, own, size, protocol.shrink, random, device)).float().cpu()
                for _ in range(protocol.crops)
            )
        )
    return torch.cat(rows)


def everywhere(model: nn.Module, images: Images, index: int, device: torch.device) -> Tensor:
    """The scores at every place of an image and of its mirror, averaged."""
    assert isinstance(model, zhang.Classifier)
    own = np.array([index])
    number = int(images.window_of(own)[0])
    images.hold([number])
    pixels = torch.from_numpy(images.window(number).image(index - int(images.firsts[number])))
    x = pixels.permute(2, 0, 1)[None].float().to(device)
    x = (x - images.mean.to(device)) / images.std.to(device)
    return ((model.everywhere(x) + model.everywhere(x.flip(-1))) / 2).float().cpu()


def random_views(
    images: Images,
    indices: np.ndarray,
    size: int,
    shrink: float,
    random: np.random.Generator,
    device: torch.device,
) -> Tensor:
    """A square of each image at random scale and place, mirrored at random, as networks see it."""
    images.hold(sorted(set(images.window_of(indices).tolist())))
    views = []
    for index in indices.tolist():
        number = int(images.window_of(np.array([index]))[0])
        image = images.window(number).image(index - int(images.firsts[number]))
        short = min(image.shape[:2])
        side = int(random.integers(max(1, round(shrink * short)), short + 1))
        top, left = (int(random.integers(0, length - side + 1)) for length in image.shape[:2])
        part = image[top : top + side, left : left + side]
        part = part[:, ::-1] if random.random() < 0.5 else part
        view = torch.from_numpy(np.ascontiguousarray(part)).permute(2, 0, 1)[None].float()
        views.append(nn.functional.interpolate(view, (size, size), mode="bilinear", antialias=True))
    pixels = torch.cat(views).to(device, memory_format=torch.channels_last)
    return (pixels - images.mean.to(device)) / images.std.to(device)


def classify(
    model: nn.Module, images: Images, indices: np.ndarray, measurement: Measurement, device: torch.device
) -> dict[str, float]:
    logits, labels = outputs(model, images, indices, measurement, device), images.labels[indices]
    top1 = 100 * metrics.accuracy(logits, labels)
    top5 = 100 * metrics.accuracy(logits, labels, top=min(5, logits.shape[1]))
    return {"accuracy": top1, "error": 100 - top1, "top5_error": 100 - top5}


def multilabel(
    model: nn.Module, images: Images, indices: np.ndarray, measurement: Measurement, device: torch.device
) -> dict[str, Any]:
    """Mean average precision by the step sum, by VOC 2007's eleven points, and of random scores."""
    logits, shown = outputs(model, images, indices, measurement, device), images.labels[indices]
    mean, each = metrics.mean_average_precision(logits, shown)
    eleven, _ = metrics.mean_average_precision(logits, shown, measure=metrics.average_precision_11)
    return {
        "map": 100 * mean,
        "map_11": 100 * eleven,
        "chance": 100 * float(shown.float().mean(dim=0).mean()),
        **{f"ap_{name}": 100 * value for name, value in zip(images.manifest.classes, each, strict=True)},
    }


def segment(
    model: nn.Module, images: Images, indices: np.ndarray, measurement: Measurement, device: torch.device
) -> dict[str, float]:
    classes = len(images.manifest.classes)
    total = torch.zeros(classes, classes, dtype=torch.int64)
    for batch in batches(images, indices, measurement.training.spec.augment.crop, device):
        assert batch.mask is not None
        predicted = model(batch.x).argmax(dim=1)
        total += metrics.confusion(predicted.cpu(), batch.mask.cpu(), classes=classes)
    mean, _ = metrics.mean_iou(total)
    return {"mean_iou": 100 * mean}


def augment(
    model: nn.Module, images: Images, indices: np.ndarray, measurement: Measurement, device: torch.device
) -> dict[str, Any]:
    """Errors; where pictures are kept, the PSNR of images from each pooled map, and the weighted losses."""
    found: dict[str, Any] = dict(classify(model, images, indices, measurement, device))
    if not measurement.spec.keep:
        return found
    assert isinstance(model, zhang.Augmented)
    values: dict[str, list[Tensor]] = {}
    for batch in batches(images, indices, measurement.training.spec.augment.crop, device):
        maps, switches = model.encoder.maps(batch.x)
        clean = batch.pixels(batch.x)
        pictures = {"image": clean}
        for level in range(1, len(maps)):
            pictures[f"pool{level}"] = batch.pixels(model.image_from(level, maps, switches))
            psnr = metrics.psnr(clean, pictures[f"pool{level}"])
            values.setdefault(f"psnr_pool{level}", []).append(psnr)
        for name, pixels in pictures.items():
            found.setdefault(name, _pictures(pixels[: measurement.spec.keep]))
        for level, (y, a) in enumerate(zip(model.restored(maps, switches), maps, strict=False)):
            scale = batch.std / 255 if level == 0 else 1.0
            error = ((y.float() - a.float()) * scale).square().mean(dim=(1, 2, 3))
            values.setdefault(f"error_{level}", []).append(error)
    means = {name: float(torch.cat(each).mean()) for name, each in values.items()}
    # weights of mean-squared errors with which every level's loss is what the image's is at weight 1
    levels = {n: e for n, e in means.items() if n.startswith("error_")}
    balanced = {f"balance_{n[6:]}": means["error_0"] / max(e, 1e-12) for n, e in levels.items()}
    return found | means | balanced


MEASURES: dict[str, Callable[..., dict[str, Any]]] = {
    "denoise": restore,
    "classify": classify,
    "multilabel": multilabel,
    "segment": segment,
    "augment": augment,
}


if __name__ == "__main__":
    run_stage("evaluate", evaluate)
