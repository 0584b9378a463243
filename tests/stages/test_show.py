"""`python -m pipeline show`: values of a run, their lines in params.yaml, and the values at a scale."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import command

from pipeline.config.params import PARAMS
from pipeline.config.reading import load
from pipeline.show import show
from pipeline.work.graph import Graph

LINES = PARAMS.read_text().splitlines()


def line(text: str, *, after: str) -> int:
    """The number of the first line with this text after a line that begins with `after`."""
    first = next(number for number, each in enumerate(LINES) if each.strip().startswith(after))
    return next(number for number, each in enumerate(LINES, 1) if number > first and text in each)


def shown(label: str, *, scale: str = "smoke", seed: int = 0) -> dict[str, str]:
    """The first word of each line -> the rest, with single spaces."""
    _, *rows = show(Graph(load(scale=scale)), label, seed)
    return {name: " ".join(rest) for name, *rest in map(str.split, filter(None, rows))}


def test_a_value_of_a_template_has_the_templates_line():
    found = shown("pretrain.imagenet-full")
    epochs = line("epochs: 6", after="restoring-imagenet:")  # taken by the template imagenet
    assert found["epochs"] == f"6 -> 6 params.yaml:{epochs} (restoring-imagenet)"
    eps = line("eps: 1.0e-3", after="ours:")
    assert found["eps"] == f"0.001 -> 0.001 params.yaml:{eps} (ours)"


def test_a_value_that_the_run_overrides_has_the_runs_own_line():
    own = line("shortcuts: none", after="imagenet-none:")
    found = shown("pretrain.imagenet-none")
    assert found["objective.denoise.shortcuts"] == f"none -> none params.yaml:{own}"


def test_a_value_that_the_scale_caps_is_shown_before_and_after():
    found = shown("pretrain.imagenet-full")
    n = line("n: 64", after="network-2:")
    assert found["network.network-2.n"] == f"64 -> 8 params.yaml:{n} (network-2)"
    assert found["batch"].startswith("64 -> 16 ")
    assert shown("pretrain.imagenet-full", scale="paper")["batch"].startswith("64 -> 64 ")


def test_the_first_of_two_templates_wins():
    step = line("lr: 0.3,", after="cae-1:")
    found = shown("pretrain.mnist-cae-1")
    assert found["optimiser.sgd.lr"] == f"0.3 -> 0.3 params.yaml:{step} (cae-1)"


def test_a_value_set_within_an_inherited_key_has_its_line():
    found = shown("pretrain.alexnet-sae-3")
    top = line("objective.augment.top: 3", after="alexnet-sae-layerwise:")
    assert found["objective.augment.top"] == f"3 -> 3 params.yaml:{top}"
    others = line("variant: first", after="sae-first:")
    assert found["objective.augment.norm"] == f"mean -> mean params.yaml:{others} (sae-first)"


def test_a_value_that_the_graph_derives_is_shown():
    assert shown("pretrain.imagenet-full")["corruption.small_blocks.count"].startswith("none -> 35 ")


def test_a_default_that_is_written_and_a_choice_without_options_are_shown():
    found = shown("finetune.mnist-600-lambda-00")
    assert found["objective.swwae.l2rec"].startswith("0 -> 0 ")
    assert found["schedule"].startswith("constant -> constant ")
    assert shown("pretrain.vgg")["objective"].startswith("classify -> classify ")


def test_searched_and_tuned_values_are_shown():
    rates = line("optimiser.adam.lr", after="rates:")
    found = shown("finetune.svhn-all-plain")
    assert found["search.optimiser.adam.lr"] == f"[0.0003, 0.001, 0.003, 0.01] params.yaml:{rates} (rates)"


def test_a_run_has_the_key_and_folder_of_the_graph():
    graph = Graph(load(scale="reduced"))
    training = graph.training("finetune", "voc2007-imagenet-full", 2)
    found = shown("finetune.voc2007-imagenet-full", scale="reduced", seed=2)
    assert found["key"] == training.key
    assert found["folder"] == str(training.folder)
    assert found["starts"] == f"from {training.start.folder}"
    assert "dong2016/table6" in found["used"]


@pytest.mark.parametrize("stage", ["pretrain", "finetune"])
def test_the_line_shown_for_a_value_holds_it(stage):
    graph = Graph(load())
    for name in list(graph.params.runs(stage))[::12]:
        for value, rest in shown(f"{stage}.{name}").items():
            if found := re.search(r"params\.yaml:(\d+)", rest):
                assert any(word in LINES[int(found[1]) - 1] for word in value.split(".")), f"{name}: {value}"


def test_a_data_set_shows_its_stand_in():
    found = shown("datasets.imagenet-512")
    assert found["source"].startswith("imagenet -> stl10 ")
    assert found["side"].startswith("512 -> ")
    assert found["folder"] == f"{Graph(load()).shards('imagenet-512').folder} (drawn pictures)"
    assert "pretrain.vgg" in found["used"]


def test_a_protocol_and_a_scale_have_no_arrow():
    images = line("images: 10000", after="evaluate:")
    found = shown("evaluate.restore")
    assert found["images"] == f"10000 params.yaml:{images}"
    assert "dong2016/table6" in found["used"]
    assert "pretrain.imagenet-full" in found["measures"]
    assert shown("scales.smoke")["epochs.pretrain"].startswith("20 params.yaml:")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["shwo", "pretrain.vgg"], "pipeline: no command 'shwo'; did you mean 'show'?"),
        (["show", "pretrian.vgg"], "no section 'pretrian'; did you mean 'pretrain'?"),
        (["show", "pretrain.imagenet-ful"], "pretrain has no 'imagenet-ful'; did you mean 'imagenet-full'?"),
        (["show", "pretrain"], "pretrain has no ''; allowed: "),
        (["show", "pretrain.vgg", "--scale", "smok"], "there is no scale 'smok'; did you mean 'smoke'?"),
    ],
)
def test_a_slip_is_answered_in_one_line(words, said):
    completed = subprocess.run([sys.executable, "-m", "pipeline", *words], capture_output=True, text=True)
    assert completed.returncode != 0
    assert said in completed.stderr
    assert completed.stderr.count("\n") == 1


def test_a_stage_is_called_as_a_word_or_as_a_module():
    as_word, as_module = (
        command(sys.executable, "-m", *how, "pretrain.vgg", folder=Path.cwd()).stdout
        for how in (["pipeline", "show"], ["pipeline.show"])
    )
    assert as_word == as_module
    assert "pretrain.vgg" in as_word


def test_show_takes_less_than_a_second_of_processor_time():
    begun = time.process_time()
    show(Graph(load()), "pretrain.imagenet-full", 0)
    assert time.process_time() - begun < 1
