"""Errors in params.yaml are reported on load: the key, the value, and what is allowed."""

import json
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, params_of
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from pipeline import papers, schema
from pipeline.config import typed
from pipeline.config.documents import read_yaml
from pipeline.config.inheritance import TEMPLATES, origins, resolved
from pipeline.config.params import PARAMS, Params
from pipeline.config.reading import check, load
from pipeline.config.runs import Run

REAL = Path("params.yaml").read_text()


def edited(tmp_path: Path, **changes) -> Path:
    document = params_of(ROOT)
    for name, value in changes.items():
        *parents, last = name.split("__")
        place = document
        for parent in parents:
            place = place[parent.replace("_", "-") if parent.startswith("imagenet_") else parent]
        place[last] = value
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_the_tracked_params_and_papers_are_read():
    papers.check(load())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scale": "smok"}, "there is no scale 'smok'; did you mean 'smoke'? allowed: paper, reduced, smoke"),
        ({"pretrain__imagenet_full__epochs": "6"}, "pretrain.imagenet-full.epochs is '6'; expected int"),
        ({"pretrain__imagenet_full__epochs": True}, "pretrain.imagenet-full.epochs is True; expected int"),
        (
            {"pretrain__imagenet_full__epochs": -1},
            "pretrain.imagenet-full.epochs is -1; expected at least 0",
        ),
        ({"scales__smoke__batch": -1}, "scales.smoke.batch is -1; expected at least 1"),
        (
            {"pretrain__imagenet_full__objective": {"classify": False}},
            "classify is False; expected a mapping",
        ),
        ({"pretrain__imagenet_full__epoch": 6}, "unknown key 'epoch'; did you mean 'epochs'?"),
        (
            {"pretrain__imagenet_full__optimiser": {"adam": {"lr": "1e-4"}}},
            "pretrain.imagenet-full.optimiser.adam.lr is '1e-4'; expected float (YAML reads 1e-4 as text: write 1.0e-4)",
        ),
        (
            {"pretrain__imagenet_full__optimiser": {"adan": {"lr": 1.0}}},
            "optimiser is 'adan'; did you mean 'adam'?",
        ),
        (
            {"pretrain__imagenet_full__corruption": {"small_block": {"fraction": 0.1}}},
            "did you mean 'small_blocks'?",
        ),
        ({"pretrain__imagenet_full__corruption": None}, "a denoising run needs a corruption"),
        (
            {"pretrain__imagenet_full__objective": {"denoise": {"shortcuts": "all"}}},
            "allowed: full, input_output, none",
        ),
        (
            {"pretrain__imagenet_full__data__set": "imagnet"},
            "data.set names 'imagnet'; did you mean 'imagenet'?",
        ),
        (
            {"pretrain__imagenet_full__data__split": "trian"},
            "data.split names 'trian'; did you mean 'train'?",
        ),
        (
            {"pretrain__imagenet_full__evaluate": ["restor"]},
            "evaluate names 'restor'; did you mean 'restore'?",
        ),
        (
            {"finetune__voc2007-imagenet-full__start": "imagenet-ful"},
            "start names 'imagenet-ful'; did you mean 'imagenet-full'?",
        ),
        ({"finetune__voc2007-imagenet-full__transfer": []}, "'start' and 'transfer' go together"),
        (
            {"finetune__voc2007-imagenet-full__network": {"network-2": {"n": 32}}},
            "network differs from that of pretrain",
        ),
        (
            {"finetune__voc2007-imagenet-full__objective": {"classify": {}}},
            "learns from 'class' labels; 'voc2007' has 'classes'",
        ),
        ({"datasets__cifar10__source": "cifar"}, "source names 'cifar'; did you mean 'cifar10'?"),
        ({"datasets__cifar10__path": "/tmp"}, "'path' goes with 'source: folder'"),
        ({"datasets__cifar10__splits": ["train", "val"]}, "splits names 'val'"),
        ({"engine__threads": 1.5}, "engine.threads is 1.5; expected int"),
        ({"pretrain__a/b": {}}, "pretrain.a/b lacks 'objective'"),
    ],
)
def test_a_slip_is_named_in_one_line(tmp_path, changes, said):
    with pytest.raises(ValueError, match=r"^.*params\.yaml(, line \d+)?: ") as caught:
        load(edited(tmp_path, **changes))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_run_that_would_start_from_itself_is_refused(tmp_path):
    path = edited(
        tmp_path,
        pretrain__imagenet_full__start="imagenet-full",
        pretrain__imagenet_full__transfer=["encoder"],
    )
    with pytest.raises(ValueError, match="goes in a circle"):
        load(path)


@pytest.mark.parametrize(
    "text", ["", "a: [", "scale: !!python/object/apply:os.system [ls]", "a: 1\na: 2", "\x00", "- 1"]
)
def test_broken_yaml_is_refused(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"params\.yaml"):
        load(path)


def test_a_merge_is_refused_and_like_is_offered(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("a: &a {x: 1}\nb: {<<: *a}\n")
    with pytest.raises(ValueError, match="params.yaml, line 2: '<<' is not supported; write 'like: NAME'"):
        load(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="nowhere.yaml is missing"):
        load(tmp_path / "nowhere.yaml")


def test_a_run_read_back_from_its_record_is_the_same_run():
    for stage in ("pretrain", "finetune"):
        for run in load().runs(stage).values():
            assert typed.build(Run, typed.plain(run), "run") == run


# `like`: keys that a run takes from others.

PARENTS = {
    "templates": {
        "deep": {"data": {"set": "mnist", "split": "train"}, "batch": 16, "epochs": 1},
        "other": {"epochs": 2, "init": "he"},
        "whole": {"like": "deep", "batch": 32},
        "vgg": {"epochs": 3},
    },
    "pretrain": {"first": {"like": "whole", "epochs": 4}},
}


def taken(run, *, name="mine"):
    """A run of `pretrain` with these keys changed."""
    return resolved(PARENTS | {"pretrain": PARENTS["pretrain"] | {name: run}})["pretrain"][name]


@pytest.mark.parametrize(
    ("run", "has"),
    [
        ({"like": "other"}, {"epochs": 2, "init": "he"}),
        ({"like": ["other"], "epochs": 9}, {"epochs": 9, "init": "he"}),
        ({"like": ["vgg", "other"]}, {"epochs": 3, "init": "he"}),
        ({"like": ["other", "vgg"]}, {"epochs": 2, "init": "he"}),
        ({"like": "deep", "data": {"labels": 5}}, {"data": {"labels": 5}, "batch": 16, "epochs": 1}),
        ({"like": "whole"}, {"data": {"set": "mnist", "split": "train"}, "batch": 32, "epochs": 1}),
        ({"like": "first"}, {"data": {"set": "mnist", "split": "train"}, "batch": 32, "epochs": 4}),
        ({"epochs": 9}, {"epochs": 9}),
    ],
)
def test_a_run_takes_the_keys_that_it_does_not_write(run, has):
    assert taken(run) == has


def test_a_template_comes_before_a_run_of_its_name():
    assert taken({"like": "vgg", "batch": 1}, name="vgg") == {"epochs": 3, "batch": 1}


def test_a_key_with_dots_sets_one_value_and_leaves_the_template():
    labelled = {"like": "deep", "data.labels": 5}
    assert taken(labelled)["data"] == {"set": "mnist", "split": "train", "labels": 5}
    assert PARENTS["templates"]["deep"]["data"] == {"set": "mnist", "split": "train"}
    below = PARENTS | {"templates": PARENTS["templates"] | {"labelled": labelled}}
    for run, data in (
        ({"like": "labelled"}, {"set": "mnist", "split": "train", "labels": 5}),
        ({"like": "labelled", "data.labels": 6}, {"set": "mnist", "split": "train", "labels": 6}),
        ({"like": "labelled", "data": {"set": "svhn"}}, {"set": "svhn"}),  # written whole
    ):
        assert resolved(below | {"pretrain": {"mine": run}})["pretrain"]["mine"]["data"] == data


@pytest.mark.parametrize(
    ("like", "said"),
    [
        ("imagnet", "finetune.mine.like names 'imagnet'; did you mean 'imagenet'?"),
        (["small", "imagenet-full"], "finetune.mine.like names 'imagenet-full'; "),  # a run of pretrain
        (["small", 3], "finetune.mine.like is ['small', 3]; expected a name or a list of names"),
        ({"small": 1}, "finetune.mine.like is {'small': 1}; expected a name or a list of names"),
        ("mine", "'like' goes in a circle: finetune.mine -> finetune.mine"),
        ("yours", "'like' goes in a circle: finetune."),
    ],
)
def test_a_slip_in_like_is_named_in_one_line(tmp_path, like, said):
    document = read_yaml(PARAMS)
    document["finetune"] |= {"mine": {"like": like}, "yours": {"like": "mine"}}
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(ValueError, match=r"^.*params\.yaml(, line \d+)?: ") as caught:
        load(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ({"epoch": 6}, "templates.mine has the unknown key 'epoch'; did you mean 'epochs'?"),
        ({"epochs": "6"}, "templates.mine.epochs is '6'; expected int"),
        ({"like": "smal"}, "templates.mine.like names 'smal'; did you mean 'small'?"),
    ],
)
def test_a_slip_in_a_template_is_named_there(tmp_path, template, said):
    document = read_yaml(PARAMS)
    document["templates"]["mine"] = template
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(ValueError, match=re.escape(said)):
        load(path)


def test_every_value_is_at_most_two_templates_away():
    document = read_yaml(PARAMS)

    def steps(section, name):
        entry = document[section if name in document[section] else TEMPLATES][name]
        names = entry.get("like", [])
        places = [
            (TEMPLATES if other in document[TEMPLATES] else section, other)
            for other in ([names] if isinstance(names, str) else names)
        ]
        return max((1 + steps(*place) for place in places), default=0)

    assert max(steps(section, name) for section, name in origins(document)) == 2


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("engine.threads=2", ("engine", "threads"), 2),
        (
            "++pretrain.imagenet-full.epochs=3",
            ("pretrain", "imagenet-full", "epochs"),
            3,
        ),  # it comes by `like`
    ],
)
def test_dvc_changes_only_the_line_of_the_value(tmp_path, override, path, value):
    from dvc.utils.hydra import apply_overrides  # what `dvc exp run -S` writes by

    written = tmp_path / "params.yaml"
    written.write_text(REAL)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    apply_overrides(written, [override])
    diff = subprocess.run(
        ["git", "diff", "--numstat"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert diff.stdout == "1\t1\tparams.yaml\n"
    expected = params_of(ROOT)
    place = expected
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    assert params_of(tmp_path) == expected


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
PLACES = st.sampled_from(
    [
        ("scale",),
        ("engine",),
        ("scales", "smoke", "images"),
        ("datasets", "cifar10"),
        ("pretrain", "imagenet-full", "objective"),
        ("pretrain", "imagenet-full", "data"),
        ("finetune",),
        ("evaluate", "restore"),
    ]
)


def small() -> dict:
    """params.yaml with two runs, which is read in milliseconds."""
    document = params_of(ROOT) | {"templates": {}}
    for stage, run in (("pretrain", "imagenet-full"), ("finetune", "voc2007-imagenet-full")):
        document[stage] = {run: document[stage][run]}
    return document


def test_the_small_document_is_read(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(yaml.dump(small(), Dumper=yaml.CSafeDumper))
    assert set(load(path).pretrain) == {"imagenet-full"}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=PLACES, value=VALUES)
@example(place=("finetune",), value={"\n": None})
def test_arbitrary_yaml_never_crashes_the_reader(tmp_path, place, value):
    document = small()
    inner = document
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    path = tmp_path / "params.yaml"
    path.write_text(yaml.dump(document, Dumper=yaml.CSafeDumper))
    try:
        load(path)
    except ValueError as error:
        assert "\n" not in str(error)


# The schema by which editors check params.yaml.

IMAGENET, VOC = ("pretrain", "imagenet-full"), ("finetune", "voc2007-imagenet-full")


@cache
def validator():
    Draft7Validator.check_schema(schema.schema())
    return Draft7Validator(schema.schema())


def slipped(place, value):
    """params.yaml with `like` resolved and one value changed."""
    document = params_of(ROOT)
    *parents, last = place
    inner = document
    for name in parents:
        inner = inner[name]
    inner[last] = value
    return document


def read(document):
    check(typed.build(Params, document, ""))


def test_the_tracked_schema_is_the_one_of_the_dataclasses():
    assert json.loads((ROOT / schema.FILE).read_text()) == schema.schema(), (
        "python -m pipeline.schema writes it"
    )


def test_the_first_line_of_params_names_the_schema():
    assert REAL.splitlines()[0] == f"# yaml-language-server: $schema={schema.FILE}"


def test_the_schema_takes_params_as_they_are():
    assert [error.message for error in validator().iter_errors(read_yaml(PARAMS))] == []


def test_the_schema_describes_a_field_by_its_comment():
    definitions = schema.schema()["definitions"]
    assert definitions["Run"]["properties"]["eps"] == {"type": "number", "description": "BatchNorm's"}
    assert definitions["AlexNet"]["properties"]["hidden"]["description"] == "inner-product layers"
    assert definitions["Data"]["description"] == "The images that a run trains on."


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("scal",), "smoke"),
        (("mirror",), 3),
        (("engine", "threads"), 1.5),
        (("engine", "precision"), "fp16"),
        (("engine",), ["threads"]),
        (("scales", "smoke", "epochs"), 20),
        (("scales", "smoke", "batch"), 0),
        (("scales", "smoke", "procedural"), "yes"),
        (("datasets", "cifar10", "splits"), "train"),
        (("datasets", "cifar10", "encoding"), "png"),
        ((*IMAGENET, "epoch"), 6),
        ((*IMAGENET, "epochs"), "6"),
        ((*IMAGENET, "epochs"), True),
        ((*IMAGENET, "epochs"), -1),
        ((*IMAGENET, "epochs"), [6]),
        ((*IMAGENET, "epochs"), None),
        ((*IMAGENET, "optimiser"), {"adam": {"lr": "1e-4"}}),
        ((*IMAGENET, "optimiser"), {"adan": {"lr": 1.0e-4}}),
        ((*IMAGENET, "optimiser"), {"adam": {"lr": 1.0e-4}, "sgd": {"lr": 0.1, "momentum": 0.9}}),
        ((*IMAGENET, "optimiser"), "adam"),
        ((*IMAGENET, "objective"), {"denoise": {"shortcuts": "all"}}),
        ((*IMAGENET, "objective"), {"denoise": {}}),
        ((*IMAGENET, "corruption"), {"pixel_gaussian": {"sigma": [10]}}),
        ((*IMAGENET, "network"), {"network-2": {"n": -64}}),
        ((*IMAGENET, "data"), {"set": "imagenet"}),
        ((*IMAGENET, "augment", "flip"), 1),
        ((*IMAGENET, "search"), {"optimiser.adam.lr": 1.0e-3}),
        ((*VOC, "init"), "xaviar"),
        ((*VOC, "start"), ["imagenet-full"]),
        (("pretrain", "mine"), {"like": 3}),
        (("evaluate", "dogs", "measure"), {"activation": {"layer": 12, "objects": ["dog"]}}),
    ],
)
def test_a_slip_is_refused_by_the_schema_and_by_the_reader(place, value):
    document = slipped(place, value)
    with pytest.raises(ValueError, match=place[-1]):
        read(document)
    assert not validator().is_valid(document)


@pytest.mark.parametrize("place", [(*IMAGENET, "epochs"), (*IMAGENET, "network"), ("engine", "threads")])
def test_a_missing_value_is_refused_by_the_schema_and_by_the_reader(place):
    document = slipped(place, None)
    *parents, last = place
    inner = document
    for name in parents:
        inner = inner[name]
    del inner[last]
    with pytest.raises(ValueError, match=f"lacks '{last}'"):
        read(document)
    assert not validator().is_valid(document)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("scale",), "smok"),  # names that lead nowhere
        (("datasets", "cifar10", "source"), "cifar"),
        ((*IMAGENET, "data", "set"), "imagnet"),
        ((*IMAGENET, "data", "split"), "trian"),
        ((*IMAGENET, "evaluate"), ["restor"]),
        ((*VOC, "start"), "imagenet-ful"),
        (("scales", "smoke", "epochs"), {"pretrian": 20}),
        (("datasets", "a/b"), {"source": "mnist", "splits": ["train"], "encoding": "raw"}),
        ((*VOC, "transfer"), []),  # values that do not go together
        ((*VOC, "objective"), {"classify": {}}),
        ((*VOC, "network"), {"network-2": {"n": 32}}),
        ((*IMAGENET, "corruption"), None),
        ((*IMAGENET, "epochs"), 6.0),  # an integer to a schema
        ((*IMAGENET, "eps"), float("nan")),
    ],
)
def test_the_reader_refuses_what_the_schema_cannot_express(place, value):
    document = slipped(place, value)
    with pytest.raises(ValueError, match=place[-1]):
        read(document)
    assert validator().is_valid(document)


def test_a_wrong_value_is_reported_at_the_line_that_writes_it(tmp_path):
    text = (ROOT / "params.yaml").read_text()
    file = tmp_path / "params.yaml"
    file.write_text(text.replace("    eps: 1.0e-3  # not said", "    eps: fast  # not said", 1))
    number = next(i for i, line in enumerate(file.read_text().splitlines(), 1) if "eps: fast" in line)
    with pytest.raises(
        ValueError, match=rf"params.yaml, line {number}: \w+\.[\w-]+\.eps is 'fast'; expected float"
    ):
        load(file)
    file.write_text(text.replace("batch: 64  # not said", "batch: 0  # not said", 1))
    with pytest.raises(ValueError, match=r"params.yaml, line \d+: templates.ours.batch is 0"):
        load(file)
