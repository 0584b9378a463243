"""From params.yaml at one scale to pieces of work: resolved specifications, keys and paths.

A key is a hash of all that can change a result: the specification after the scale's caps, the data, and the
key of the pre-training it starts from. A changed value is another path, so a stale result cannot be used,
whatever the workflow engine records.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.config.params import Params
from pipeline.config.runs import STAGES, Run, of_seed
from pipeline.config.typed import Choice, nearest, plain
from pipeline.datasets import SOURCES
from pipeline.work.identity import Measurement, Shards, Training, short_hash


class Graph:
    """Shards, trainings and measurements of params.yaml, at its scale."""

    def __init__(self, params: Params) -> None:
        self.params = params
        self.scale = params.scales[params.scale]
        self._made: dict[tuple, Any] = {}

    def shards(self, name: str) -> Shards:
        return self._once(("shards", name), lambda: self._shards(name))

    def training(self, stage: str, name: str, seed: int) -> Training:
        if stage not in STAGES:
            raise ValueError(f"no stage {stage!r} trains; {nearest(stage, STAGES)}")
        runs = self.params.runs(stage)
        if name not in runs:
            raise ValueError(f"{stage} has no run {name!r}; {nearest(name, runs)}")
        return self._once((stage, name, seed), lambda: self._training(stage, name, seed))

    def trainings(self, stage: str, name: str) -> list[Training]:
        first = self.training(stage, name, 0)
        return [self.training(stage, name, seed) for seed in range(first.spec.repeats)]

    def measurement(self, label: str, seed: int) -> Measurement:
        """`label` is stage.run.protocol."""
        parts = label.split(".")
        if len(parts) != 3:
            raise ValueError(f"{label!r} is not STAGE.RUN.PROTOCOL, as in finetune.cifar10-ours.centre")
        training = self.training(parts[0], parts[1], seed)
        if parts[2] not in training.spec.evaluate:
            raise ValueError(
                f"{training.label} is not measured by {parts[2]!r}; "
                f"{nearest(parts[2], training.spec.evaluate)}"
            )
        return self._once((label, seed), lambda: self._measurement(training, parts[2]))

    def measurements(self, label: str) -> list[Measurement]:
        stage, name = label.split(".")[:2] if "." in label else (label, "")
        return [self.measurement(label, training.seed) for training in self.trainings(stage, name)]

    def pipelines(self, label: str) -> int:
        """The number of independent pipelines behind a label's measurements."""
        return len({measurement.training.pipeline for measurement in self.measurements(label)})

    def capped(self, training: Training) -> str:
        """Say how many images the scale leaves to a training or its pre-training; empty if all."""
        for trained in training.lineage:
            data = self.params.runs(trained.stage)[trained.name].data
            dataset = self.params.datasets[data.set]
            asked = least(data.labels, least(dataset.images, SOURCES[dataset.source].splits.get(data.split)))
            available = least(asked, trained.shards.dataset.images)
            if asked is not None and available < asked:
                return f"{'' if trained is training else 'pre-trained on '}{available} of {asked} images"
        return ""

    def _once(self, name: tuple, make: Any) -> Any:
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    def _at_hand(self, name: str) -> str:
        return self.scale.substitutes.get(name, name)

    def _shards(self, name: str) -> Shards:
        name = self._at_hand(name)
        dataset, cap = self.params.datasets[name], self.scale
        source = SOURCES[dataset.source]
        side = dataset.side or source.side
        capped = replace(dataset, images=least(dataset.images, None if side <= cap.whole else cap.images))
        if cap.procedural:  # drawn pictures are raw, at the side that photographs would be stored with
            capped = replace(capped, side=least(side, cap.side), encoding="raw", path=None)
        elif cap.side is not None and side > cap.side:
            capped = replace(capped, side=cap.side)
        parts = {"dataset": plain(capped), "procedural": cap.procedural, "test": cap.test_images}
        key = short_hash(parts | {"order": "shuffled"})
        return Shards(
            name=name,
            scale=self.params.scale,
            dataset=capped,
            procedural=cap.procedural,
            test_images=cap.test_images,
            key=key,
        )

    def _training(self, stage: str, name: str, seed: int) -> Training:
        run = of_seed(self.params.runs(stage)[name], seed, f"{stage}.{name}")
        spec, shards, start = self._capped(run, stage), self.shards(run.data.set), None
        if run.start is not None:
            repeats = self._capped(self.params.pretrain[run.start], "pretrain").repeats
            start = self.training("pretrain", run.start, seed % repeats)
        key = short_hash(
            {
                "run": {
                    name: value for name, value in plain(spec).items() if name not in ("repeats", "evaluate")
                },
                "data": shards.key,
                "start": f"{start.seed}-{start.key}" if start else None,
            }
        )
        return Training(
            stage=stage,
            name=name,
            seed=seed,
            scale=self.params.scale,
            spec=spec,
            shards=shards,
            start=start,
            key=key,
        )

    def _capped(self, run: Run, stage: str) -> Run:
        cap = self.scale
        native, stored = (
            dataset.side or SOURCES[dataset.source].side
            for dataset in (
                self.params.datasets[name] for name in (run.data.set, self._at_hand(run.data.set))
            )
        )
        shrink = min(1.0, least(stored, cap.side) / native)
        short = run.augment.short and tuple(round(side * shrink) for side in run.augment.short)
        epochs = least(run.epochs, cap.epochs.get(stage))
        changes: dict[str, Any] = {
            "data": replace(run.data, set=self._at_hand(run.data.set)),
            "augment": replace(
                run.augment, crop=max(1, least(round(run.augment.crop * shrink), cap.side)), short=short
            ),
            "epochs": epochs,
            "batch": least(run.batch, cap.batch),
            "repeats": least(run.repeats, cap.repeats_of.get(run.data.set, cap.repeats)),
            "corruption": self._counted(run),
            "search": {},  # values to try do not change this run
        }
        if run.schedule.name == "steps" and run.epochs:
            at = tuple(epoch * epochs / run.epochs for epoch in run.schedule.options.at)
            changes["schedule"] = Choice("steps", replace(run.schedule.options, at=at))
        if run.warmup:
            changes["warmup"] = run.warmup * epochs / run.epochs
        width = run.network.options.width
        network = run.network.options.narrowed(least(width, cap.width))
        changes["network"] = Choice(run.network.name, network)
        if hidden := getattr(run.objective.options, "hidden", ()):
            fewer = tuple(max(1, units * network.width // width) for units in hidden)
            changes["objective"] = Choice(run.objective.name, replace(run.objective.options, hidden=fewer))
        return replace(run, **changes)

    def _counted(self, run: Run) -> Choice | None:
        """Resolve the number of small blocks, by the unlabelled set's full size, without the scale's cap."""
        blocks = run.corruption
        if blocks is None or blocks.name != "small_blocks" or blocks.options.count is not None:
            return blocks
        dataset = self.params.datasets[run.data.set]
        images = dataset.images or SOURCES[dataset.source].splits.get(run.data.split, 0)
        return Choice("small_blocks", replace(blocks.options, count=blocks_for(images)))

    def _measurement(self, training: Training, protocol: str) -> Measurement:
        spec = self.params.evaluate[protocol]
        shards = self.shards(spec.set) if spec.set else training.shards
        parts = {"protocol": plain(spec), "training": f"{training.seed}-{training.key}"}
        key = short_hash(parts | ({"data": shards.key} if spec.set else {}))
        return Measurement(training=training, protocol=protocol, spec=spec, shards=shards, key=key)

    def of_path(self, path: Path) -> Training | Measurement | Shards:
        """The work that writes this file; a ValueError if params.yaml has no such work now."""
        for pattern, make in (
            (r"data/([^/]+)/([\w-]+)-(\w{10})/.*", lambda m: self.shards(m[2])),
            (
                r"results/runs/([^/]+)/evaluate/([\w.-]+)/(\d+)-(\w{10})/.*",
                lambda m: self.measurement(m[2], int(m[3])),
            ),
            (
                r"results/runs/([^/]+)/(\w+)/([\w-]+)/(\d+)-(\w{10})/.*",
                lambda m: self.training(m[2], m[3], int(m[4])),
            ),
        ):
            if match := re.fullmatch(pattern, path.as_posix()):
                work = make(match)
                if match[1] != self.params.scale or work.key != match[match.lastindex or 0]:
                    raise ValueError(
                        f"{path} is not what params.yaml asks for at scale {self.params.scale}; "
                        f"that is {work.folder}"
                    )
                return work
        raise ValueError(f"{path} is no file of the pipeline")


def blocks_for(images: int) -> int:
    return 21 if images < 100_000 else 35  # dong2016, supplement A


def least(value: Any, cap: Any) -> Any:
    """min(value, cap), where None is no bound."""
    return min((bound for bound in (value, cap) if bound is not None), default=None)
