"""References from tables, figures and claims to measurements; params.yaml must have them all."""

from collections.abc import Iterator

from pipeline.config.params import Params
from pipeline.config.runs import STAGES
from pipeline.config.typed import nearest
from pipeline.papers.reading import papers


def uses() -> Iterator[tuple[str, str, str]]:
    """Yield each use of a measurement: (paper, table, figure or claim, stage.run.protocol)."""
    for paper, facts in papers().items():
        for table, layout in facts.tables.items():
            for _, _, cell in layout.cells():
                for label in cell.labels():
                    yield paper, table, label
        for kind in (facts.figures, facts.claims):
            for name, shown in kind.items():
                for label in shown.labels():
                    yield paper, name, label


def check(params: Params) -> None:
    """Refuse a cell, figure or claim whose run or protocol params.yaml lacks."""
    for paper, name, label in uses():
        _check_measurement(params, label, f"papers/{paper}.yaml: {name}")
    for paper, facts in papers().items():
        for name, layout in facts.tables.items():
            for scale in layout.instead:
                where = f"papers/{paper}.yaml: {name}.instead"
                if scale not in params.scales:
                    raise ValueError(f"{where} names {scale!r}; {nearest(scale, params.scales)}")
                for _, _, cell in layout.at(scale).cells():
                    for label in cell.labels():
                        _check_measurement(params, label, where)
        drawn = {name: shown.networks for name, shown in facts.architectures.items()}
        drawn |= {name: shown.networks for name, shown in facts.figures.items()}
        for name, networks in drawn.items():
            for label in networks.values():
                stage, _, run = label.partition(".")
                if stage not in STAGES or run not in params.runs(stage):
                    known = [f"{stage}.{run}" for stage in STAGES for run in params.runs(stage)]
                    raise ValueError(f"papers/{paper}.yaml: {name} names {label!r}; {nearest(label, known)}")


def _check_measurement(params: Params, label: str, where: str) -> None:
    parts = label.split(".")
    if len(parts) != 3 or parts[0] not in STAGES:
        raise ValueError(
            f"{where} names {label!r}; expected STAGE.RUN.PROTOCOL, with a stage of {', '.join(STAGES)}"
        )
    stage, name, protocol = parts
    runs = params.runs(stage)
    if name not in runs:
        raise ValueError(f"{where} names {stage}.{name}; {nearest(name, runs)}")
    if protocol not in runs[name].evaluate:
        raise ValueError(
            f"{where} names {label}, which {stage}.{name} does not list under 'evaluate'; "
            f"{nearest(protocol, runs[name].evaluate)}"
        )


def in_order(params: Params) -> list[str]:
    """The papers in the order of params.yaml, where a paper's last run follows the runs that it shares."""
    runs = [f"{stage}.{name}" for stage in ("pretrain", "finetune") for name in params.runs(stage)]
    last = dict.fromkeys(papers(), -1)
    for paper, _, label in uses():
        last[paper] = max(last[paper], runs.index(label.rpartition(".")[0]))
    return sorted(last, key=last.__getitem__)


def places(label: str) -> dict[str, str]:
    """Map the tables that show a measurement to its rows (number and name) and columns."""
    rows_of: dict[str, list[str]] = {}
    for paper, facts in papers().items():
        for table, layout in facts.tables.items():
            for number, (row, cells) in enumerate(layout.rows.items(), 1):
                columns = [column for column, cell in cells.items() if label in cell.labels()]
                if columns:
                    rows_of.setdefault(f"{paper}/{table}", []).append(
                        f"{number:02} {row}: {', '.join(columns)}"
                    )
    return {table: "; ".join(rows) for table, rows in rows_of.items()}


def used_by(label: str) -> dict[str, str]:
    """The papers, tables and figures that show a run, as tags."""
    users = [(paper, name) for paper, name, of in uses() if of == label or of.startswith(label + ".")]
    if not users:
        return {}
    return {
        "paper": ", ".join(dict.fromkeys(paper for paper, _ in users)),
        "tables": ", ".join(dict.fromkeys(f"{paper}/{name}" for paper, name in users)),
    }
