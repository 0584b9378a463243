"""The code reproduces the records in tests/golden; a changed key, loss or cell is detected."""

import dataclasses

import golden
import pytest
from conftest import set_params
from golden import changes, machine, specifications, tables, trainings

from pipeline.config.reading import load
from pipeline.config.runs import Run
from pipeline.work.graph import Graph

RENEW = "renew tests/golden only where a number is to move, as docs/refactoring.md says: make golden"


def test_no_key_and_no_specification_has_changed():
    differ = specifications.differences()
    assert not differ, "\n".join([*differ[:40], RENEW])


def test_short_trainings_end_as_recorded():
    differ = trainings.differences(machine.capabilities()[:1])
    assert not differ, "\n".join([*differ[:40], RENEW])


def test_the_short_trainings_use_all_that_params_yaml_names():
    def used(training):
        spec = training.spec
        yield spec.objective.name, spec.network.name
        yield from ((name, "protocol") for name in spec.evaluate)
        yield from (each.name for each in (spec.corruption, spec.optimiser, spec.schedule) if each)

    graph = Graph(load(scale="smoke"))
    runs = [(stage, name) for stage in ("pretrain", "finetune") for name in graph.params.runs(stage)]
    named = {each for run in runs for each in used(graph.training(*run, 0))}
    assert named == {each for training in trainings.trainings(graph) for each in used(training)}


@pytest.mark.parametrize(
    ("change", "moved"),
    [
        ({"pretrain__cifar10-pixel__optimiser": {"adam": {"lr": 2.0e-4}}}, "pretrain/cifar10-pixel/"),
        ({"pretrain__cifar10-pixel__epochs": 1}, "pretrain/cifar10-pixel/"),
        ({"pretrain__cifar10-pixel__evaluate": []}, "pretrain/cifar10-pixel/"),
        ({"datasets__cifar10__images": 32}, "data/smoke/cifar10-"),
        ({"evaluate__centre__images": 10}, "evaluate/finetune.cifar10-ours.centre/"),
        ({"scales__smoke__width": 3}, "pretrain/imagenet-full/"),
        ({"scales__smoke__repeats": 2}, "finetune/cifar10-ours/1-"),
    ],
)
def test_a_value_or_a_cap_that_changes_is_seen(workplace, change, moved):
    before = specifications.of_scale("smoke")
    set_params(workplace, **change)
    differ = changes(before, specifications.of_scale("smoke"))
    assert any(line.startswith("+") and moved in line for line in differ)


def test_a_default_that_changes_is_seen():
    run = load().pretrain["cifar10-pixel"]
    changed = dataclasses.make_dataclass(
        "Run",
        [("clip", float | None, dataclasses.field(default=1.0))],
        bases=(Run,),
        frozen=True,
        kw_only=True,
    )
    fields = {field.name: getattr(run, field.name) for field in dataclasses.fields(run)}
    differ = changes(sorted(specifications.defaults(run)), sorted(specifications.defaults(changed(**fields))))
    assert differ == ["-Run.clip None", "+Run.clip 1.0"]


def with_loss(lines, change):
    """The lines of a record, with its first loss multiplied by a factor."""
    name, value = next(line.rsplit(" ", 1) for line in lines if " loss-1 " in line)
    return [f"{name} {float(value) * change!r}" if line.startswith(f"{name} ") else line for line in lines]


def a_record():
    """Name and lines of a record, of any machine."""
    name = golden.names("trainings")[0]
    return name, golden.read(name)


def test_on_a_recorded_machine_the_least_change_of_a_loss_is_seen():
    name, lines = a_record()
    assert trainings.compared(name, lines) == []
    before, after = trainings.compared(name, with_loss(lines, 1 + 1e-12))
    assert before.startswith("-pretrain.imagenet-patch loss-1 ")
    assert after.startswith("+pretrain.imagenet-patch loss-1 ")


def test_on_another_machine_a_change_beyond_rounding_is_seen_and_a_lost_metric():
    _, lines = a_record()
    other = "trainings/torch-9-of-another-machine.txt"
    assert trainings.compared(other, lines) == []
    assert trainings.compared(other, with_loss(lines, 1 + 1e-5)) == []
    (beyond,) = trainings.compared(other, with_loss(lines, 1 + 1e-3))
    assert beyond.startswith("pretrain.imagenet-patch loss-1 ")
    assert trainings.compared(other, lines[:-1]) == [f"-{lines[-1].rsplit(' ', 1)[0]}"]


@pytest.fixture
def rendered(tmp_path, monkeypatch):
    """Two small tables among other files, and a folder for records."""
    results = tmp_path / "results"
    for name in ("reference/kept/table1.csv", "dong2017/table2.csv", "table1.csv"):
        (results / name).parent.mkdir(parents=True, exist_ok=True)
        (results / name).write_text("row,mean,commit\nours,12.5,0123456789ab\nhe,7,0123456789ab\n")
    monkeypatch.setattr("golden.RECORDS", tmp_path / "records")
    return results


def test_a_cell_or_a_table_that_changes_is_seen_and_another_commit_is_not(rendered):
    tables.renew(rendered)
    table = rendered / "table1.csv"
    text = table.read_text()
    table.write_text(text.replace("0123456789ab", "ba9876543210+"))
    assert tables.differences(rendered) == []
    table.write_text(text.replace("12.5", "12.6"))
    assert tables.differences(rendered) == [
        "-table1.csv: row ours; mean 12.5",
        "+table1.csv: row ours; mean 12.6",
    ]
    golden.write("tables/another-machine.txt", ["stale"])
    tables.renew(rendered)
    assert golden.names("tables") == [tables.record()]
    (rendered / "dong2017" / "table2.csv").unlink()
    assert tables.differences(rendered) == [
        "-dong2017/table2.csv: row ours; mean 12.5",
        "-dong2017/table2.csv: row he; mean 7",
    ]


def test_tables_without_a_record_of_this_machine_are_refused_in_one_line(rendered):
    with pytest.raises(
        ValueError, match=r"is missing; record this kind of machine .*golden tables"
    ) as refused:
        tables.differences(rendered)
    assert "\n" not in str(refused.value)
    assert machine.kind(machine.capabilities()[0]) in str(refused.value)
