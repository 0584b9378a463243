"""evaluate: measure a trained run under a protocol; the only stage that opens a test split."""

import time

import numpy as np
import torch

from pipeline.compute.device import device_at_hand, prepare
from pipeline.compute.engine import precision
from pipeline.data.images import images_of
from pipeline.data.manifest import open_manifest
from pipeline.data.subsets import held_out
from pipeline.measures.pictures import save_arrays, save_sheet
from pipeline.protocols import measure_of
from pipeline.runner.cli import run_stage
from pipeline.system.files import damaged, read_json, write_json, write_whole
from pipeline.tracking.events import tracked
from pipeline.tracking.provenance import commit, machine, now
from pipeline.training.weights import trained
from pipeline.work.graph import Graph


def evaluate(graph: Graph, name: str, seed: int) -> None:
    """Write metrics.json: percentages, and PSNR in dB."""
    measurement, engine = graph.measurement(name, seed), graph.params.engine
    training, protocol = measurement.training, measurement.spec
    prepare(engine)
    began, device = time.time(), device_at_hand()
    above = engine.stream_above_gb
    if protocol.split == "validation":
        images = images_of(training, stream_above_gb=above)
        indices = held_out(images, training.spec.data, seed=seed)[0]
    else:
        images = images_of(training, protocol.split, stream_above_gb=above, shards=measurement.shards)
        indices = np.arange(images.manifest.count)
    manifest = images.manifest
    indices = indices[: protocol.images]  # a fixed draw: shards are written in a random order
    training_split = open_manifest(training.shards.manifest, training.spec.data.split)
    model = trained(training, training_split).to(device).to(memory_format=torch.channels_last)
    files = [measurement.metrics, *(measurement.folder / name for name in ("arrays.npz", "pictures.png"))]
    with tracked(measurement, manifest, commit=commit(), files=files) as events, torch.inference_mode():
        with torch.autocast(device.type, torch.bfloat16, enabled=precision(engine, device) == "bf16"):
            measured = measure_of(measurement)(model, images, indices, measurement, device)
        figures = {metric: value for metric, value in measured.items() if not isinstance(value, np.ndarray)}
        kept = {name: value for name, value in measured.items() if isinstance(value, np.ndarray)}
        if kept:
            write_whole(measurement.folder / "arrays.npz", lambda beside: save_arrays(beside, kept))
        if pictures := [array for array in kept.values() if array.dtype == np.uint8 and array.ndim == 4]:
            write_whole(measurement.folder / "pictures.png", lambda beside: save_sheet(beside, pictures))
        record = read_json(training.record, way_out=f"make it again: snakemake --cores all {training.record}")
        if "epoch_losses" not in record:
            raise damaged(training.record, "it lacks 'epoch_losses'")
        content = {
            "identity": measurement.identity,
            "protocol": measurement.protocol,
            "dataset": measurement.shards.displayed_name,
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


if __name__ == "__main__":
    run_stage("evaluate", evaluate)
