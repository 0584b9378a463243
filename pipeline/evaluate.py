"""evaluate: measure a trained run under a protocol; the only stage that opens a test split."""

import math
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from pipeline.compute.device import device_at_hand, prepare
from pipeline.compute.engine import precision
from pipeline.compute.seeds import chance
from pipeline.config.layer_notation import Pool
from pipeline.config.runs import Augment
from pipeline.corruptions import MASKS
from pipeline.data.batches import Batch, cut
from pipeline.data.crops import central_boxes, image_boxes
from pipeline.data.images import Images
from pipeline.data.manifest import open_manifest
from pipeline.data.subsets import held_out, subset
from pipeline.datasets import voc
from pipeline.datasets.pixels import resized
from pipeline.measures import filter_statistics, metrics
from pipeline.models import masci, zhang
from pipeline.models import swwae as what_where
from pipeline.objectives.objectives import corrupted, hidden, restoration
from pipeline.results import statistics
from pipeline.runner.cli import run_stage
from pipeline.system.files import damaged, read_json, write_json, write_whole
from pipeline.system.progress import Progress
from pipeline.tracking.events import tracked
from pipeline.tracking.provenance import commit, machine, now
from pipeline.training.weights import trained
from pipeline.work.graph import Graph
from pipeline.work.identity import Measurement

BATCH = 100  # images at once; no result depends on it beyond rounding
SEEN = 64  # the least side of a picture that is to be looked at


def evaluate(graph: Graph, name: str, seed: int) -> None:
    """Write metrics.json: percentages, and PSNR in dB."""
    measurement, engine = graph.measurement(name, seed), graph.params.engine
    training, protocol = measurement.training, measurement.spec
    prepare(engine.threads)
    began, device = time.time(), device_at_hand()
    learnt_from = open_manifest(training.shards.manifest, training.spec.data.split)
    if protocol.split == "validation":
        manifest = learnt_from
        images = Images(manifest, stream_above_gb=engine.stream_above_gb, raw=training.spec.data.raw)
        indices = held_out(images, training.spec.data, seed=seed)[0]
    else:
        manifest = open_manifest(measurement.shards.manifest, protocol.split)
        images = Images(
            manifest,
            stream_above_gb=engine.stream_above_gb,
            statistics=learnt_from,
            raw=training.spec.data.raw,
        )
        indices = np.arange(manifest.count)
    indices = indices[: protocol.images]  # a fixed draw: shards are written in a random order
    model = trained(training, learnt_from).to(device).to(memory_format=torch.channels_last)
    files = [measurement.metrics, *(measurement.folder / name for name in ("arrays.npz", "pictures.png"))]
    with tracked(measurement, manifest, commit=commit(), files=files) as events, torch.inference_mode():
        with torch.autocast(device.type, torch.bfloat16, enabled=precision(engine, device) == "bf16"):
            measure = MEASURES[protocol.measure.name if protocol.measure else training.spec.objective.name]
            measured = measure(model, images, indices, measurement, device)
        figures = {metric: value for metric, value in measured.items() if not isinstance(value, np.ndarray)}
        kept = {name: value for name, value in measured.items() if isinstance(value, np.ndarray)}
        if kept:
            write_whole(measurement.folder / "arrays.npz", lambda beside: _save_arrays(beside, kept))
        if pictures := [array for array in kept.values() if array.dtype == np.uint8 and array.ndim == 4]:
            write_whole(measurement.folder / "pictures.png", lambda beside: _save_sheet(beside, pictures))
        record = read_json(training.record, way_out=f"make it again: snakemake --cores all {training.record}")
        if "epoch_losses" not in record:
            raise damaged(training.record, "it lacks 'epoch_losses'")
        content = {
            "identity": measurement.identity,
            "protocol": measurement.protocol,
            "dataset": measurement.shards.shown,
            "split": manifest.split,
            "images": len(indices),
            "data_sha256": manifest.sha256,
            "commit": commit(),
            "metrics": figures,
            "epoch_losses": record["epoch_losses"],
            "seconds": round(time.time() - began, 2),
            "ended": now(),
            "machine": machine(device),
        }
        write_json(measurement.metrics, content)
        events.log(0, figures)
    some = ", ".join(f"{name} {value:.2f}" for name, value in list(figures.items())[:4])
    print(f"{some}: {measurement.metrics}")


def _save_arrays(path: Path, kept: dict[str, np.ndarray]) -> None:
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **kept)


def _save_sheet(path: Path, pictures: list[np.ndarray]) -> None:
    """A row of images for each array (K, H, W, C), in their order; small ones large enough to be seen."""
    from PIL import Image

    times = -(-SEEN // pictures[0].shape[1])
    rows = [np.concatenate(list(array), axis=1) for array in pictures]
    sheet = np.concatenate(rows).repeat(times, axis=0).repeat(times, axis=1)
    Image.fromarray(sheet.squeeze()).save(path, format="PNG")


def batches(images: Images, indices: np.ndarray, augment: Augment, device: torch.device) -> Iterator[Batch]:
    """Central crops, in the order of the split."""
    for own in parts(indices):
        yield cut(images, own, central_boxes(len(own), augment), device)


def whole(images: Images, indices: np.ndarray, augment: Augment, device: torch.device) -> Iterator[Batch]:
    """All of each image, one by one: their sizes differ."""
    progress, mean, std = Progress(len(indices), "image"), images.mean.to(device), images.std.to(device)
    for done, index in enumerate(indices.tolist(), start=1):
        window, i = images.place(index)
        image, mask = window.image(i), None if window.masks is None else window.mask(i)
        if augment.short:
            shape = tuple(round(side * augment.short[0] / min(image.shape[:2])) for side in image.shape[:2])
            image, mask = resized(image, shape), None if mask is None else resized(mask, shape, nearest=True)
        centred = torch.from_numpy(image.copy()).to(device).permute(2, 0, 1)[None].float() - mean
        classes = None if mask is None else torch.from_numpy(mask.copy()).long()[None].to(device)
        yield Batch(centred, std, mean, window.labels[i : i + 1], classes, torch.tensor([index]))
        progress.say(done)
    progress.end()


def parts(indices: np.ndarray) -> Iterator[np.ndarray]:
    """As many at once as are measured at once."""
    progress = Progress(len(indices), "image")
    for first in range(0, len(indices), BATCH):
        yield indices[first : first + BATCH]
        progress.say(min(first + BATCH, len(indices)))
    progress.end()


def alone(batch: Batch) -> Iterator[Batch]:
    """Each image as a batch of one."""
    for i in range(len(batch.index)):
        one = slice(i, i + 1)
        mask = None if batch.mask is None else batch.mask[one]
        yield replace(
            batch, centred=batch.centred[one], label=batch.label[one], mask=mask, index=batch.index[one]
        )


def generators(batch: Batch, seed: int, purpose: str) -> list[Generator]:
    """One for each image, so that what is drawn for it does not depend on what is measured beside it."""
    seeds = [chance(seed, index, purpose) for index in batch.index.tolist()]
    return [Generator(batch.centred.device).manual_seed(each) for each in seeds]


def restore(
    model: nn.Module, images: Images, indices: np.ndarray, measurement: Measurement, device: torch.device
) -> dict[str, Any]:
    """PSNR of restored images, of the corrupted ones themselves, and over the masked pixels alone."""
    spec, seed = measurement.training.spec, measurement.training.seed
    assert spec.corruption is not None
    pictures: dict[str, list[np.ndarray]] = {}
    found: dict[str, list[Tensor]] = {
        name: [] for name in ("psnr", "psnr_corrupted", "psnr_gain", "psnr_masked", "error")
    }
    for batch in batches(images, indices, spec.augment, device):
        drawn = list(zip(alone(batch), generators(batch, seed, "restore"), strict=True))
        where = (
            torch.cat([hidden(one, spec, generator) for one, generator in drawn])
            if spec.corruption.name in MASKS
            else None
        )
        spoiled = torch.cat([corrupted(one, spec, generator) for one, generator in drawn])
        restored = model(spoiled).float()
        clean = batch.pixels(batch.x)
        after, before = (metrics.psnr(clean, batch.pixels(each)) for each in (restored, spoiled))
        found["psnr"].append(after)
        found["psnr_corrupted"].append(before)
        found["psnr_gain"].append(after - before)
        found["error"].append((restored - batch.x).square().mean(dim=(1, 2, 3)))
        if where is not None:
            found["psnr_masked"].append(metrics.psnr(clean, batch.pixels(restored), where=where))
        seen = {"clean": clean, "corrupted": batch.pixels(spoiled), "restored": batch.pixels(restored)}
        _keep(pictures, seen, measurement.spec.keep)
    return _means(found) | {name: np.concatenate(each) for name, each in pictures.items()}


def _means(found: dict[str, list[Tensor]]) -> dict[str, float]:
    return {name: float(torch.cat(each).nanmean()) for name, each in found.items() if each}


def _keep(pictures: dict[str, list[np.ndarray]], seen: dict[str, Tensor], keep: int) -> None:
    """Add these images until there are as many as are kept."""
    left = keep - sum(map(len, next(iter(pictures.values()), [])))
    if left > 0:
        for name, pixels in seen.items():
            pictures.setdefault(name, []).append(_pictures(pixels[:left]))


def _pictures(pixels: Tensor) -> np.ndarray:
    return pixels.clamp(0, 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def outputs(
    model: nn.Module, images: Images, indices: np.ndarray, measurement: Measurement, device: torch.device
) -> tuple[Tensor, Tensor]:
    """A row of scores for each image, of its central crop, of random crops or of all of it; and labels."""
    augment, protocol = measurement.training.spec.augment, measurement.spec

    def answers() -> Iterator[tuple[Tensor, Tensor]]:
        if protocol.everywhere:
            for batch in whole(images, indices, augment, device):
                yield posteriors(model, batch.x, mirrored=protocol.mirrored), batch.label
        elif protocol.crops:
            for own in parts(indices):
                views = random_crops(images, own, measurement, device)
                each = [(model(view.x).float(), view.label) for view in views]
                yield torch.stack([logits for logits, _ in each]).sum(dim=0), each[0][1]
        else:
            for batch in batches(images, indices, augment, device):
                yield model(batch.x).float(), batch.label

    scores, labels = (torch.cat(every).cpu() for every in zip(*answers(), strict=True))
    return scores, labels


def random_crops(
    images: Images, indices: np.ndarray, measurement: Measurement, device: torch.device
) -> Iterator[Batch]:
    """Crops of each image as training cuts them; they follow from the seed and the image alone."""
    for crop in range(measurement.spec.crops):
        boxes = image_boxes(indices, measurement.training.spec.augment, [5, measurement.training.seed, crop])
        yield cut(images, indices, boxes, device)


def posteriors(model: nn.Module, x: Tensor, *, mirrored: bool) -> Tensor:
    """Softmax of the scores' mean over all places, averaged with that of the mirrored images."""
    assert isinstance(model, zhang.Classifier)
    views = [x, x.flip(-1)] if mirrored else [x]
    return torch.stack([model.everywhere(view).float().softmax(dim=1) for view in views]).mean(dim=0)


def classify(
    model: nn.Module, images: Images, indices: np.ndarray, measurement: Measurement, device: torch.device
) -> dict[str, float]:
    logits, labels = outputs(model, images, indices, measurement, device)
    top1 = 100 * metrics.accuracy(logits, labels)
    top5 = 100 * metrics.accuracy(logits, labels, top=min(5, logits.shape[1]))
    return {"accuracy": top1, "error": 100 - top1, "top5_error": 100 - top5}


def multilabel(
    model: nn.Module, images: Images, indices: np.ndarray, measurement: Measurement, device: torch.device
) -> dict[str, Any]:
    """Mean average precision by the step sum, by VOC 2007's eleven points, and of random scores."""
    logits, shown = outputs(model, images, indices, measurement, device)
    mean, each = metrics.mean_average_precision(logits, shown)
    eleven, _ = metrics.mean_average_precision(logits, shown, measure=metrics.average_precision_11)
    return groups(each) | {
        "map": 100 * mean,
        "map_11": 100 * eleven,
        "chance": 100 * float(shown.float().mean(dim=0).mean()),
        **{f"ap_{name}": 100 * value for name, value in zip(images.manifest.classes, each, strict=True)},
    }


# The coarse classes of dong2016's Table 8, by their place in PASCAL VOC's alphabetical list of 20.
GROUPS = {"animal": (2, 7, 9, 11, 12, 16), "vehicle": (0, 1, 3, 5, 6, 13, 18)}


def groups(each: list[float]) -> dict[str, float]:
    """Mean average precision of the animals and of the vehicles, where the classes are PASCAL VOC's."""
    if len(each) != 20:
        return {}
    return {
        f"map_{name}": 100 * float(np.nanmean([each[k] for k in members])) for name, members in GROUPS.items()
    }


def activations(
    model: Any, images: Images, indices: np.ndarray, measurement: Measurement, device: torch.device
) -> dict[str, Any]:
    """The layer's map that is most selective for some objects, on images as they are and occluded in the
    middle; and how alike both are, beside maps of different images.

    It is chosen on every other picture that shows such an object, and measured on those between.
    """
    spec, protocol = measurement.training.spec, measurement.spec
    assert protocol.measure is not None
    layer, wanted = protocol.measure.options.layer - 1, protocol.measure.options.objects
    numbers = {voc.CLASSES.index(name) for name in wanted}  # of drawn pictures, the classes in their place
    shows = [index for index in indices if numbers & {number for number, *_ in images.objects[index]}]
    apart: list[int] = []  # pictures where the map has places inside the boxes and outside
    scores: list[Tensor] = []
    for batch in batches(images, np.array(shows, int), spec.augment, device):
        maps = model.encoder.activated(batch.x)[layer].float()
        pixels = inside(images, batch.index.numpy(), spec.augment, numbers).float()
        places = nn.functional.adaptive_avg_pool2d(pixels, maps.shape[2:]).to(device) > 0.5
        both = (places.any(dim=2).any(dim=1) & (~places).any(dim=2).any(dim=1)).cpu()
        apart += batch.index[both].tolist()
        scores += metrics.selectivity(maps[both], places[both])
    if len(apart) < 2:
        raise ValueError(
            f"{measurement.name}: {len(apart)} of {len(indices)} images show {' or '.join(wanted)} "
            "with room beside it; 2 are wanted, so raise the scale's test_images"
        )
    each = torch.stack(scores)
    channel = int(each[::2].mean(dim=0).argmax())
    kept = []
    middle = slice(round(spec.augment.crop * 0.4), round(spec.augment.crop * 0.6))
    for batch in batches(images, np.array(apart[1::2]), spec.augment, device):
        occluded = batch.centred.clone()
        occluded[:, :, middle, middle] = 0
        kept.append(
            [
                each.float().cpu()
                for x in (batch.x, occluded / batch.std)
                for each in (batch.pixels(x), model.encoder.activated(x)[layer][:, channel])
            ]
        )
    clean, maps, spoiled, spoiled_maps = (torch.cat(each) for each in zip(*kept, strict=True))
    one, two = maps.flatten(1), spoiled_maps.flatten(1)
    alike, other = (
        float(nn.functional.cosine_similarity(one, each).mean()) for each in (two, one.roll(1, dims=0))
    )
    pictures = {"image": clean, "occluded": spoiled}
    shown = {"map": maps, "occluded map": spoiled_maps}
    return {
        "selectivity": 100 * float(each[1::2, channel].mean()),
        "pictures": len(clean),
        "occlusion_similarity": alike,
        "other_image_similarity": other,
        "occlusion_gap": alike - other,
        **{name: _pictures(pixels[: protocol.keep]) for name, pixels in pictures.items()},
        **{name: own[: protocol.keep].numpy() for name, own in shown.items()},
    }


def inside(images: Images, indices: np.ndarray, augment: Augment, numbers: Collection[int]) -> Tensor:
    """(N, size, size), the pixels of central crops that lie in a box of one of these classes."""
    boxes = central_boxes(len(indices), augment)
    height, width = np.array([window.shapes[i] for window, i in map(images.place, indices.tolist())]).T
    rows = (boxes.lines(height, boxes.top) + 0.5) / height[:, None]
    columns = (boxes.lines(width, boxes.left) + 0.5) / width[:, None]
    found = np.zeros((len(indices), augment.crop, augment.crop), bool)
    for index, own, y, x in zip(indices, found, rows, columns, strict=True):
        for number, left, top, right, bottom in images.objects[index]:
            if number in numbers:
                own |= ((top < y) & (y < bottom))[:, None] & ((left < x) & (x < right))
    return torch.from_numpy(found)


def segment(
    model: nn.Module, images: Images, indices: np.ndarray, measurement: Measurement, device: torch.device
) -> dict[str, float]:
    classes = len(images.manifest.classes)
    total = torch.zeros(classes, classes, dtype=torch.int64)
    views = whole if measurement.spec.everywhere else batches
    for batch in views(images, indices, measurement.training.spec.augment, device):
        assert batch.mask is not None
        predicted = model(batch.x).argmax(dim=1)
        total += metrics.confusion(predicted.cpu(), batch.mask.cpu(), classes=classes)
    mean, _ = metrics.mean_iou(total)
    return {"mean_iou": 100 * mean}


def cae(
    model: nn.Module, images: Images, indices: np.ndarray, measurement: Measurement, device: torch.device
) -> dict[str, Any]:
    """How a layer restores its input, and what its filters look like.

    `error` is in percent of the error of the mean input: a layer with 100 or more restores nothing.
    """
    assert isinstance(model, masci.AutoEncoder)
    protocol, errors = measurement.spec, []
    total, squares = torch.zeros(()), 0.0  # float64: the deviation is a difference of two large sums
    for batch in batches(images, indices, measurement.training.spec.augment, device):
        x = model.encoder.below(batch.x, model.layer)
        errors.append((model(x).float() - x.float()).square().mean(dim=(1, 2, 3)))
        total = total + x.double().sum(dim=0).cpu()
        squares += float(x.double().square().sum())
    deviation = (squares - float(total.square().sum()) / len(indices)) / (len(indices) * total.numel())
    reconstruction = float(torch.cat(errors).mean())
    weight = model.encoder.layer(model.layer).weight
    found: dict[str, Any] = {
        "error": 100 * reconstruction / max(deviation, 1e-12),
        "reconstruction": reconstruction,
        **filter_statistics.described(weight.cpu()),
    }
    if protocol.keep:
        found["filters"] = weight[: protocol.keep].permute(0, 2, 3, 1).float().cpu().numpy()
    return found


def svm(
    model: Any, images: Images, indices: np.ndarray, measurement: Measurement, device: torch.device
) -> dict[str, float]:
    """The error of a linear SVM that learns from the encoder's top activations, of training images alone."""
    training, protocol = measurement.training, measurement.spec
    assert protocol.measure is not None
    data, options = training.spec.data, protocol.measure.options
    manifest = open_manifest(training.shards.manifest, data.split)
    learnt_from = Images(manifest, stream_above_gb=math.inf, raw=data.raw)
    drawn = subset(learnt_from, replace(data, labels=options.labels), seed=training.seed)

    def activations(images: Images, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        cut = batches(images, indices, training.spec.augment, device)
        codes = torch.cat([model.encoder(batch.x).flatten(1).float().cpu() for batch in cut])
        return codes.numpy(), images.labels.numpy()[indices]

    error = metrics.linear_svm_error(
        activations(learnt_from, drawn), activations(images, indices), c=options.c
    )
    return {"error": 100 * error}


def swwae(
    model: nn.Module, images: Images, indices: np.ndarray, measurement: Measurement, device: torch.device
) -> dict[str, Any]:
    """The errors of what it says, and how it restores images, as far as it has learnt to do either."""
    assert isinstance(model, what_where.AutoEncoder)
    options, augment = measurement.training.spec.objective.options, measurement.training.spec.augment
    found: dict[str, Any] = {}
    if options.nll:
        found |= classify(model, images, indices, measurement, device)
    if options.l2rec:
        pairs = [
            (batch.pixels(batch.x), batch.pixels(model.restored(batch.x)))
            for batch in batches(images, indices, augment, device)
        ]
        clean, restored = (torch.cat(each) for each in zip(*pairs, strict=True))
        found["psnr"] = float(metrics.psnr(clean, restored).mean())
        if keep := measurement.spec.keep:
            found |= {"image": _pictures(clean[:keep]), "restored": _pictures(restored[:keep])}
    return found


AXES = {"horizontal": 0, "vertical": 1}  # of `where`: x, then y


def shift(
    model: nn.Module, images: Images, indices: np.ndarray, measurement: Measurement, device: torch.device
) -> dict[str, Any]:
    """How the last pooling's `what` and `where` (in pixels of the image) follow when images are moved."""
    assert isinstance(model, what_where.AutoEncoder)
    protocol, augment = measurement.spec, measurement.training.spec.augment
    assert protocol.measure is not None
    most = protocol.measure.options.pixels
    *below, last = (layer.size for layer in model.encoder.layers if isinstance(layer, Pool))
    unit = math.prod(below) * (last - 1) / 2  # of `where`, which goes from -1 to 1
    place = max(i for i, layer in enumerate(model.encoder.layers, start=1) if isinstance(layer, Pool))
    whats: dict[tuple[str, int], list[Tensor]] = {}
    wheres: dict[tuple[str, int], list[Tensor]] = {}
    pictures: dict[str, Tensor] = {}
    for number, batch in enumerate(batches(images, indices, augment, device)):
        for direction, axis in AXES.items():
            for by in range(-most, most + 1):
                x = moved(batch, **{direction: by})
                maps, places = model.encoder.maps(x)
                whats.setdefault((direction, by), []).append(maps[place].float().flatten(1).cpu())
                answered = unit * places[-1].float().flatten(1, 3).cpu()
                wheres.setdefault((direction, by), []).append(answered)
                if number == 0 and axis == 0 and by in (-most, 0, most):
                    name = f"moved by {by:+}" if by else "restored"
                    pictures[name] = batch.pixels(model.decoder(maps, places)[-1][1])
        if number == 0:
            pictures["image"] = batch.pixels(batch.x)
    what, where = ({name: torch.cat(each) for name, each in held.items()} for held in (whats, wheres))
    found: dict[str, Any] = {name: _pictures(each[: protocol.keep]) for name, each in pictures.items()}
    still = what["horizontal", 0]
    plane = int(still.std(dim=0).argmax())  # the one that is shown
    for direction, axis in AXES.items():
        ends = torch.cat([what[direction, -most], what[direction, most]])
        found[f"what_correlation_{direction}"] = metrics.correlation(torch.cat([still, still]), ends)
        answers = {
            by: (where[direction, by] - where[direction, 0])[still > 0] for by in range(-most, most + 1)
        }
        for name, coordinate in (("along", axis), ("across", 1 - axis)):
            slope, fit = metrics.line_through_zero({by: each[:, coordinate] for by, each in answers.items()})
            found |= {f"where_slope_{name}_{direction}": slope, f"where_fit_{name}_{direction}": fit}
        for by in (-most, 0, most):
            found[f"what {direction} {by:+}"] = what[direction, by][:, plane].numpy()
            found[f"where {direction} {by:+}"] = where[direction, by][:, plane].numpy()
    return found


def moved(batch: Batch, *, horizontal: int = 0, vertical: int = 0) -> Tensor:
    """The images as networks see them, so many pixels to the right and down; their edges grow inwards."""
    rows, columns = (
        (torch.arange(side, device=batch.x.device) - by).clamp(0, side - 1)
        for side, by in zip(batch.x.shape[-2:], (vertical, horizontal), strict=True)
    )
    return batch.x[..., rows, :][..., columns]


def probe(
    model: nn.Module, images: Images, indices: np.ndarray, measurement: Measurement, device: torch.device
) -> dict[str, float]:
    """Accuracy and PSNR from each layer, and how both go with depth: Spearman's rho, rising above 0."""
    hits: list[list[Tensor]] = []
    psnrs: list[list[Tensor]] = []
    for batch in batches(images, indices, measurement.training.spec.augment, device):
        found, clean = model(batch.x), batch.pixels(batch.x)
        hits.append([(logits.argmax(dim=1) == batch.label).float() for logits, _ in found])
        psnrs.append([metrics.psnr(clean, batch.pixels(y)) for _, y in found])
    shown: dict[str, float] = {}
    for name, values, unit in (("accuracy", hits, 100.0), ("psnr", psnrs, 1.0)):
        layers = [unit * float(torch.cat(own).mean()) for own in zip(*values, strict=True)]
        shown |= {f"{name}_{layer}": value for layer, value in enumerate(layers, start=1)}
        rho, _ = statistics.rank_correlation(range(len(layers)), layers)
        shown[f"{name}_trend"] = 0.0 if math.isnan(rho) else rho
    return shown


def decode(
    model: nn.Module, images: Images, indices: np.ndarray, measurement: Measurement, device: torch.device
) -> dict[str, Any]:
    """PSNR of the images that come down the decoding pathway, and the mean-squared error of every map."""
    assert isinstance(model, zhang.Augmented)
    training = measurement.training
    values: dict[str, list[Tensor]] = {}
    pictures: dict[str, list[np.ndarray]] = {}
    for batch in batches(images, indices, training.spec.augment, device):
        restored, errors, _ = restoration(model, batch, *generators(batch, training.seed, "decode"))
        clean, image = batch.pixels(batch.x), batch.pixels(restored[0])
        values.setdefault("psnr", []).append(metrics.psnr(clean, image))
        for level, error in enumerate(errors):
            values.setdefault(f"error_{level}", []).append(error.flatten(1).square().mean(dim=1))
        _keep(pictures, {"clean": clean, "restored": image}, measurement.spec.keep)
    return _means(values) | {name: np.concatenate(each) for name, each in pictures.items()}


MEASURES: dict[str, Callable[..., dict[str, Any]]] = {
    "denoise": restore,
    "classify": classify,
    "multilabel": multilabel,
    "segment": segment,
    "cae": cae,
    "activations": activations,
    "svm": svm,
    "swwae": swwae,
    "shift": shift,
    "probe": probe,
    "augment": classify,
    "decode": decode,
}


if __name__ == "__main__":
    run_stage("evaluate", evaluate)
