"""The papers' tables, figures and claims, and the runs that reproduce them: a checked YAML file a paper."""

from pipeline.papers.claims import (
    CLAIMS,
    Above,
    Best,
    Changed,
    Claim,
    Close,
    Concordant,
    Gain,
    Order,
    Steadier,
)
from pipeline.papers.drawings import Figure
from pipeline.papers.layouts import Cell, Table
from pipeline.papers.reading import (
    MAIN,
    Paper,
    called,
    find,
    numbered,
    paper_of,
    papers,
    target,
    targets,
)
from pipeline.papers.references import check, in_order, places, used_by, uses

__all__ = [
    "CLAIMS",
    "MAIN",
    "Above",
    "Best",
    "Cell",
    "Changed",
    "Claim",
    "Close",
    "Concordant",
    "Figure",
    "Gain",
    "Order",
    "Paper",
    "Steadier",
    "Table",
    "called",
    "check",
    "find",
    "in_order",
    "numbered",
    "paper_of",
    "papers",
    "places",
    "target",
    "targets",
    "used_by",
    "uses",
]
