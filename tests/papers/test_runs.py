"""Each run that a paper's table, figure or claim names builds its network and learns from one batch."""

import pytest
import torch
from conftest import laid_out, set_params, working_in

from pipeline.config.reading import load
from pipeline.config.typed import plain
from pipeline.data.images import images_of
from pipeline.data.subsets import subset
from pipeline.data.writer import shard
from pipeline.models.layers import initialise
from pipeline.objectives import objective_of
from pipeline.papers import papers, uses
from pipeline.training.optimisers import OPTIMISERS
from pipeline.training.run import batches_of
from pipeline.work.graph import Graph

CPU = torch.device("cpu")
ALIKE = ("start", "repeats", "evaluate", "schedule", "epochs", "warmup", "init")  # no part of one step


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    with working_in(laid_out(tmp_path_factory.mktemp("runs") / "project")) as folder:
        set_params(folder, scales__smoke__side=26)  # stacks use up 19 pixels
        yield Graph(load())


def trainings(graph, paper):
    """One run of each kind behind the paper's measurements."""
    labels = [label.rsplit(".", 1)[0] for user, _, label in uses() if user == paper]
    named = [graph.training(*label.split("."), 0) for label in dict.fromkeys(labels)]
    kinds = {}
    for each in (one for training in named for one in training.lineage):
        spec = {name: value for name, value in plain(each.spec).items() if name not in ALIKE}
        kinds.setdefault((repr(spec), each.shards.key), each)
    return kinds.values()


@pytest.mark.parametrize("paper", papers())
def test_every_run_takes_a_step(tiny, paper):
    for training in trainings(tiny, paper):
        if not training.shards.manifest.exists():
            shard(training.shards)
        images = images_of(training, stream_above_gb=8)
        objective, spec = objective_of(training.spec), training.spec
        model = objective.build(spec, images.manifest)
        initialise(model, spec.init, generator=torch.Generator().manual_seed(0))
        parts = dict(model.named_children())
        assert {*spec.transfer, *spec.freeze, *spec.clip_each} <= parts.keys(), training.label
        for part in spec.freeze:
            parts[part].requires_grad_(False)
        batches = batches_of(training, images, subset(images, spec.data, seed=0))
        spec = objective.prepare(model, batches, spec, seed=0, device=CPU)
        learns = [weights for weights in model.parameters() if weights.requires_grad]
        before = [weights.detach().clone() for weights in learns]
        loss = objective.loss(model.train(), batches.at(0, CPU), spec, torch.Generator().manual_seed(0))
        loss.backward()
        OPTIMISERS[spec.optimiser.name](learns, spec.optimiser.options).step()
        assert loss.isfinite(), training.label
        assert any(not torch.equal(*pair) for pair in zip(before, learns, strict=True)), training.label
