"""An exported encoder works without this project, and as a backbone of torchvision's detectors."""

import shutil
import subprocess
import sys

import pytest
import torch

from pipeline.config.reading import load
from pipeline.data.images import Images, mean_and_deviation
from pipeline.data.manifest import open_manifest
from pipeline.data.writer import shard
from pipeline.export import backbone, export
from pipeline.log_model import log_model
from pipeline.tracking.store import Store, connect
from pipeline.training.checkpoint import load_tensors, save_tensors
from pipeline.training.run import train
from pipeline.training.weights import manifest_of, trained
from pipeline.work.graph import Graph

RUN = "pretrain.mnist-filters-c"

READ = """
import sys, torch
assert "pipeline" not in sys.modules
encoder = torch.export.load(sys.argv[1]).module()
torch.save([encoder(pictures) for pictures in torch.load("pictures.pt")], "features.pt")
"""


@pytest.fixture
def graph(workplace):
    made = Graph(load())
    shard(made.shards("mnist"))
    train(made, "pretrain", "mnist-filters-c", 0)
    return made


def test_three_lines_of_plain_torch_give_the_encoders_features_of_pictures_of_any_size(
    graph, tmp_path, capsys
):
    training = graph.training("pretrain", "mnist-filters-c", 0)
    manifest = open_manifest(training.shards.manifest, "train")
    images = Images(manifest, stream_above_gb=0, raw=True)
    encoder = trained(training, manifest).encoder
    shutil.rmtree("data")  # the weights alone are needed
    export(graph, RUN, 0)
    path = (tmp_path / "project" / capsys.readouterr().out.strip()).resolve()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    pictures = [torch.rand(size) for size in ((1, 1, 28, 28), (5, 1, 41, 37), (2, 1, 225, 300))]
    torch.save(pictures, elsewhere / "pictures.pt")
    subprocess.run([sys.executable, "-I", "-c", READ, str(path)], cwd=elsewhere, check=True)
    with torch.inference_mode():
        expected = [encoder((255 * each - images.mean) / images.std) for each in pictures]
    torch.testing.assert_close(torch.load(elsewhere / "features.pt"), expected)


def test_weights_say_what_they_were_trained_on_and_older_ones_ask_the_shards(graph):
    training = graph.training("pretrain", "mnist-filters-c", 0)
    manifest = open_manifest(training.shards.manifest, "train")
    assert manifest_of(training).outline == manifest.outline
    said, own = mean_and_deviation(manifest_of(training), raw=False), Images(manifest, stream_above_gb=0)
    torch.testing.assert_close(said, (own.mean, own.std), rtol=0, atol=0)
    content = load_tensors(training.weights)
    del content["data"]
    save_tensors(training.weights, content)
    assert manifest_of(training).content == manifest.content
    shutil.rmtree("data")
    with pytest.raises(ValueError, match="manifest.json is missing; make it: python -m pipeline.shard mnist"):
        manifest_of(training)


def test_mlflow_loads_an_encoder_that_was_logged_to_its_run(graph, monkeypatch, capsys):
    import mlflow

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(ValueError, match="MLflow has no run .*; `python -m pipeline.track` delivers it"):
        log_model(graph, RUN, 0)
    Store(connect()).deliver()
    identity = f"tags.identity = '{graph.training('pretrain', 'mnist-filters-c', 0).identity}'"

    def run():
        experiment = connect().get_experiment_by_name("pretrain")
        return connect().search_runs([experiment.experiment_id], identity)[0]

    before = run()
    log_model(graph, RUN, 0)
    model = mlflow.pytorch.load_model(capsys.readouterr().out.strip())
    after, expected = run(), backbone(graph, RUN, 0)
    assert (after.info.end_time, after.info.status) == (before.info.end_time, before.info.status)
    (logged,) = after.outputs.model_outputs
    assert connect().get_logged_model(logged.model_id).source_run_id == after.info.run_id
    for size in ((1, 1, 28, 28), (5, 1, 41, 37)):
        pictures = torch.rand(size)
        with torch.inference_mode():
            torch.testing.assert_close(model(pictures), expected(pictures))


def test_torchvisions_detector_takes_the_encoder_as_its_backbone(graph):
    from torchvision.models.detection import FasterRCNN
    from torchvision.models.detection.anchor_utils import AnchorGenerator

    taken = backbone(graph, RUN, 0)
    assert taken(torch.rand(2, 1, 40, 56)).shape[:2] == (2, taken.out_channels)
    anchors = AnchorGenerator(sizes=((8, 16),), aspect_ratios=((1.0,),))
    small = {"min_size": 48, "max_size": 64, "image_mean": [0.0], "image_std": [1.0]}
    detector = FasterRCNN(taken, num_classes=3, rpn_anchor_generator=anchors, **small).eval()
    with torch.inference_mode():
        (found,) = detector([torch.rand(1, 48, 60)])
    assert found["boxes"].shape == (len(found["scores"]), 4)
