"""Read params.yaml once and check it whole: every value's type, every name's target."""

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pipeline.config import typed
from pipeline.config.documents import lines, read_yaml
from pipeline.config.inheritance import origins, resolved
from pipeline.config.objectives import MACRO_LAYERS, OBJECTIVES, Denoise, Segment, Swwae
from pipeline.config.params import PARAMS, Dataset, Params
from pipeline.config.protocols import Activations, Contents, Protocol, Shift
from pipeline.config.runs import STAGES, Run
from pipeline.config.typed import nearest
from pipeline.datasets import SOURCES


def load(path: Path = PARAMS, *, scale: str | None = None) -> Params:
    """Read and check params.yaml; `scale` overrides the one that it names."""
    if not path.exists():
        raise ValueError(f"{path} is missing; run this in the project's folder, not in {Path.cwd()}")
    document = read_yaml(path)
    if scale is not None and isinstance(document, dict):
        document = {**document, "scale": scale}
    try:
        params = typed.build(Params, resolved(document), "")
        check(params)
    except ValueError as error:
        said = " ".join(str(error).split())
        raise ValueError(f"{path}{_line_of(said, document, path)}: {said}") from None
    return params


def _line_of(said: str, document: Any, path: Path) -> str:
    """The line that an error's first word names; of a key that comes by `like`, the template's."""
    words = tuple(re.split(r"[ :]", said, maxsplit=1)[0].split("."))
    try:
        place = origins(document)[words[:2]][words[2]] if len(words) > 2 else words[:2]
    except (KeyError, ValueError):
        place = words[:2]
    known, words = lines(path), (*place, *words[2:])
    while words and words not in known:
        words = words[:-1]
    return f", line {known[words]}" if words else ""


def _known(name: str, allowed: Collection[str], where: str) -> None:
    if name not in allowed:
        raise ValueError(f"{where} names {name!r}; {nearest(name, allowed)}")


def check(params: Params) -> None:
    """Refuse names without a target, and combinations that cannot run."""
    if params.scale not in params.scales:
        raise ValueError(f"there is no scale {params.scale!r}; {nearest(params.scale, params.scales)}")
    for section in ("scales", "datasets", "pretrain", "finetune", "evaluate"):
        for name in getattr(params, section):
            _check_name(name, section)
    for name, dataset in params.datasets.items():
        _check_dataset(name, dataset)
    for name, scale in params.scales.items():
        for stage in scale.epochs:
            _known(stage, STAGES, f"scales.{name}.epochs")
        for replaced, substitute in scale.substitutes.items():
            _known(replaced, params.datasets, f"scales.{name}.substitutes")
            _known(substitute, params.datasets, f"scales.{name}.substitutes.{replaced}")
        for repeated in scale.repeats_of:
            _known(repeated, params.datasets, f"scales.{name}.repeats_of")
    for stage in STAGES:
        for name, run in params.runs(stage).items():
            _check_run(params, f"{stage}.{name}", run)


def _check_name(name: str, where: str) -> None:
    """Names become folders and arguments of commands."""
    if not name or name[0] == "-" or not all(c.isascii() and (c.isalnum() or c in "-_") for c in name):
        raise ValueError(
            f"{where} has the name {name!r}; letters, digits, '-' and '_' are allowed, the first no '-'"
        )


def _check_dataset(name: str, dataset: Dataset) -> None:
    where = f"datasets.{name}"
    _known(dataset.source, SOURCES, f"{where}.source")
    source = SOURCES[dataset.source]
    if (dataset.source == "folder") != (dataset.path is not None):
        raise ValueError(f"{where}: 'path' goes with 'source: folder', and only with it")
    for split in dataset.splits:
        _check_name(split, f"{where}.splits")
        if source.splits:
            _known(split, source.splits, f"{where}.splits")
    if dataset.synsets is not None:
        if dataset.source != "imagenet":
            raise ValueError(f"{where}.synsets is for 'source: imagenet'")
        from pipeline.datasets.synsets import SYNSETS

        _known(dataset.synsets, SYNSETS, f"{where}.synsets")
    if dataset.square and source.labels == "mask":
        raise ValueError(f"{where}.square is for images without masks")
    if dataset.objects and (dataset.source != "voc2007" or dataset.square):
        raise ValueError(f"{where}.objects is for 'source: voc2007', and not for squares cut from it")


def _check_run(params: Params, where: str, run: Run) -> None:
    _known(run.data.set, params.datasets, f"{where}.data.set")
    dataset = params.datasets[run.data.set]
    _known(run.data.split, dataset.splits, f"{where}.data.split")
    available, needed = SOURCES[dataset.source].labels, run.objective.options.labels
    if needed and available != needed:
        raise ValueError(
            f"{where}.objective {run.objective.name!r} learns from {needed!r} labels; "
            f"{run.data.set!r} has {available!r}"
        )
    _check_network(where, run)
    run.objective.options.check(run, where)
    _check_what_where(params, where, run)
    if run.start is not None:
        _known(run.start, params.pretrain, f"{where}.start")
        other = params.pretrain[run.start]
        if run.network != other.network:
            raise ValueError(f"{where}.network differs from that of pretrain.{run.start}, where it starts")
        _check_chain(params, where, run)
    for protocol in run.evaluate:
        _known(protocol, params.evaluate, f"{where}.evaluate")
        _check_protocol(params, where, run, protocol)
        split, elsewhere = params.evaluate[protocol].split, params.evaluate[protocol].set
        _check_whole(where, run, protocol, params.evaluate[protocol])
        if elsewhere is not None:
            _known(elsewhere, params.datasets, f"evaluate.{protocol}.set")
            _known(split, params.datasets[elsewhere].splits, f"evaluate.{protocol}.split")
        elif split != "validation":
            _known(split, dataset.splits, f"{where}.evaluate {protocol!r}, its split")
        elif not run.data.holdout:
            raise ValueError(f"{where}.evaluate {protocol!r} needs 'holdout' in its data")


def _check_network(where: str, run: Run) -> None:
    name, network = run.objective.name, run.network.name
    if network not in run.objective.options.networks:
        allowed = [objective for objective, kind in OBJECTIVES.items() if network in kind.networks]
        raise ValueError(
            f"{where}.objective {name!r} does not go with the network {network!r}; {nearest(name, allowed)}"
        )
    if run.weights and (network, name) != ("vgg", "classify"):
        raise ValueError(f"{where}.weights is for the network 'vgg' and the objective 'classify'")


def _check_whole(where: str, run: Run, name: str, protocol: Protocol) -> None:
    classified = run.network.name in MACRO_LAYERS
    if protocol.mirrored and not (protocol.everywhere and classified):
        raise ValueError(
            f"{where}.evaluate {name!r}: 'mirrored' goes with 'everywhere' and is for the networks 'vgg' and "
            "'alexnet'"
        )
    if protocol.everywhere and not classified and not isinstance(run.objective.options, Segment):
        raise ValueError(
            f"{where}.evaluate {name!r} is for the networks 'vgg' and 'alexnet' and the objective 'segment'"
        )


def _check_protocol(params: Params, where: str, run: Run, protocol: str) -> None:
    """A shift is read from pooling with switches; `activations` and `contents` need the objects' boxes."""
    measure = params.evaluate[protocol].measure
    options = measure and measure.options
    if measure and isinstance(options, Activations | Contents):
        from pipeline.datasets.voc import CLASSES

        name = params.evaluate[protocol].set or run.data.set
        if name in params.datasets and not params.datasets[name].objects:
            raise ValueError(f"{where}.evaluate {protocol!r} needs 'objects: true' in datasets.{name}")
        for object_class in options.objects:
            _known(object_class, CLASSES, f"evaluate.{protocol}.measure.{measure.name}.objects")
    if isinstance(options, Contents) and not isinstance(run.objective.options, Denoise):
        raise ValueError(f"{where}.evaluate {protocol!r} is for the objective 'denoise'")
    placed = run.network.name == "what-where" and run.network.options.pooling in ("soft", "hard")
    if isinstance(options, Shift) and not placed:
        raise ValueError(
            f"{where}.evaluate {protocol!r} needs the network 'what-where' with 'pooling: soft' or 'hard'"
        )


def _check_what_where(params: Params, where: str, run: Run) -> None:
    data, objective = run.data, run.objective.options
    if data.unlabelled is not None:
        _known(data.unlabelled, params.datasets[data.set].splits, f"{where}.data.unlabelled")
        if not isinstance(objective, Swwae):
            raise ValueError(
                f"{where}.data.unlabelled is for the objective 'swwae', not {run.objective.name!r}"
            )
        if run.batch < 2:
            raise ValueError(f"{where}.batch is {run.batch}; expected at least 2, half of them unlabelled")
    if run.network.name != "what-where" or (isinstance(objective, Swwae) and not objective.nll):
        return
    classes, units = SOURCES[params.datasets[data.set].source].classes, run.network.options.classes
    if units is None or units != (classes or units):
        raise ValueError(
            f"{where}.network.what-where.layers ends in {units or 'no'} units; {data.set!r} has "
            f"{classes or 'as many as its folder'} classes, so it ends in -{classes or 'N'}fc"
        )


def _check_chain(params: Params, where: str, run: Run) -> None:
    seen: list[str] = []
    while run.start is not None:
        if run.start in seen:
            raise ValueError(f"{where}.start goes in a circle: {' -> '.join([*seen, run.start])}")
        seen.append(run.start)
        _known(run.start, params.pretrain, f"{where}.start")
        run = params.pretrain[run.start]
