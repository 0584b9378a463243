"""Slips in params.yaml are named at the door: the key, the value, and what is allowed."""

from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipeline import papers, typed
from pipeline.params import Run, load

REAL = Path("params.yaml").read_text()


def edited(tmp_path: Path, **changes) -> Path:
    document = yaml.safe_load(REAL)
    for name, value in changes.items():
        *parents, last = name.split("__")
        place = document
        for parent in parents:
            place = place[parent.replace("_", "-") if parent.startswith("imagenet_") else parent]
        place[last] = value
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_the_projects_own_params_and_papers_are_sound():
    papers.check(load())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scale": "smok"}, "there is no scale 'smok'; did you mean 'smoke'? allowed: paper, reduced, smoke"),
        ({"pretrain__imagenet_full__epochs": "6"}, "pretrain.imagenet-full.epochs is '6'; int is wanted"),
        ({"pretrain__imagenet_full__epochs": True}, "pretrain.imagenet-full.epochs is True; int is wanted"),
        ({"pretrain__imagenet_full__epochs": -1}, "epochs is -1; at least 0"),
        ({"pretrain__imagenet_full__epoch": 6}, "unknown key 'epoch'; did you mean 'epochs'?"),
        (
            {"pretrain__imagenet_full__optimiser": {"adam": {"lr": "1e-4"}}},
            "pretrain.imagenet-full.optimiser.adam.lr is '1e-4'; float is wanted (YAML reads 1e-4 as text: write 1.0e-4)",
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
        ({"engine__threads": 1.5}, "engine.threads is 1.5; int is wanted"),
        ({"pretrain__a/b": {}}, "pretrain.a/b lacks 'objective'"),
    ],
)
def test_a_slip_is_named_in_one_line(tmp_path, changes, said):
    with pytest.raises(ValueError, match=r"^.*params\.yaml: ") as caught:
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
def test_what_is_not_a_closed_document_is_refused(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"params\.yaml"):
        load(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="nowhere.yaml is missing"):
        load(tmp_path / "nowhere.yaml")


def test_a_run_read_back_from_its_record_is_the_same_run():
    for stage in ("pretrain", "finetune"):
        for run in load().runs(stage).values():
            assert typed.build(Run, typed.plain(run), "run") == run


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


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=PLACES, value=VALUES)
@example(place=("finetune",), value={"\n": None})
def test_any_rubbish_is_refused_or_read_but_never_a_crash(tmp_path, place, value):
    document = yaml.load(REAL, yaml.CSafeLoader)
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
