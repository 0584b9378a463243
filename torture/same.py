"""Determinism: one seed gives one result to the bit, for any number of parallel jobs and order of their ends."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from random import Random

from conftest import laid_out, set_params

from pipeline.config.reading import load
from pipeline.training.run import train
from pipeline.training.weights import load_parts
from pipeline.work.graph import Graph
from torture import Fault
from torture.damage import FULL, _equal, made, short_params
from torture.interruption import WORDS, differences, done, small_graph, undisturbed


def jobs_at_once(place: Path, times: int, rng: Random) -> Iterator[str]:
    """Run Table 6's graph with other numbers of parallel jobs."""
    expected = undisturbed()
    for number, cores in zip(range(times), (4, 1, 3), strict=False):
        folder = place.with_name(f"cores-{number}")
        laid_out(folder)
        small_graph(folder)
        done(folder, WORDS[0], "--cores", str(cores), WORDS[3])
        yield differences(folder, expected)


def threads(place: Path, times: int, rng: Random) -> Iterator[str]:
    """Run a training twice at several numbers of threads."""
    short_params(place)
    made("imagenet", images=16)
    for number in range(times):
        set_params(place, engine__threads=1 + number % 4)
        training = Graph(load()).training("pretrain", FULL, 0)
        twice = []
        for _ in range(2):
            train(Graph(load()), "pretrain", FULL, 0)
            twice.append(load_parts(dataclasses.replace(training)))
        yield "" if _equal(*twice) else f"two runs with {1 + number % 4} threads differ"


FAULTS = {
    "determinism: any number of jobs at once": Fault(jobs_at_once, 1),
    "determinism: any number of threads": Fault(threads, 8, few=2),
}
