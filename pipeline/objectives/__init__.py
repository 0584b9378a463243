"""Training objectives, one per file, by their names in params.yaml."""

from pipeline.config.runs import Run
from pipeline.objectives import augment, cae, classify, denoise, multilabel, probe, segment, swwae
from pipeline.objectives.objective import Objective

OBJECTIVES: dict[str, Objective] = {
    "denoise": denoise.OBJECTIVE,
    "classify": classify.OBJECTIVE,
    "multilabel": multilabel.OBJECTIVE,
    "segment": segment.OBJECTIVE,
    "cae": cae.OBJECTIVE,
    "swwae": swwae.OBJECTIVE,
    "probe": probe.OBJECTIVE,
    "augment": augment.OBJECTIVE,
}


def objective_of(spec: Run) -> Objective:
    return OBJECTIVES[spec.objective.name]
