"""Read papers/*.yaml; find tables and figures by name, and the paths of their files."""

import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.config import typed
from pipeline.config.documents import read_yaml
from pipeline.config.typed import nearest
from pipeline.papers.claims import Claim
from pipeline.papers.drawings import Figure
from pipeline.papers.layouts import Architectures, Table
from pipeline.system.files import RESULTS

FOLDER = Path(__file__).parent
MAIN = "dong2016"  # its tables are results/table2.csv, …; the other papers have a folder each


@dataclass(frozen=True, kw_only=True)
class Paper:
    title: str
    authors: str
    year: int
    where: str
    url: str = ""
    architectures: dict[str, Architectures] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)
    figures: dict[str, Figure] = field(default_factory=dict)
    claims: dict[str, Claim] = field(default_factory=dict)

    @property
    def by(self) -> str:
        first, *others = self.authors.split(",")
        return f"{first} et al." if others else first


@cache
def papers() -> dict[str, Paper]:
    read = {}
    for file in sorted(FOLDER.glob("*.yaml")):
        try:
            read[file.stem] = typed.build(Paper, read_yaml(file), "")
        except ValueError as error:
            raise ValueError(f"{file.name}: {error}") from None
    return read


def targets(kind: str = "tables") -> dict[str, tuple[str, str]]:
    """Map files of tables (or figures), without suffix, to paper and name."""
    return {
        str(target(paper, name)): (paper, name)
        for paper, facts in papers().items()
        for name in getattr(facts, kind)
    }


def paper_of(name: str) -> Paper:
    if name not in papers():
        raise ValueError(f"no paper {name!r}; {nearest(name, papers())}")
    return papers()[name]


def target(paper: str, name: str) -> Path:
    return (RESULTS if paper == MAIN else RESULTS / paper) / name


def called(paper: str, key: str) -> str:
    """The name as stages take it: table6 of the main paper, masci2011/figure1 of another."""
    return key if paper == MAIN else f"{paper}/{key}"


def numbered(key: str) -> str:
    """table6 -> Table 6; supplement_c -> Supplement C."""
    words = re.sub(r"(?<=[a-z])(?=\d)", " ", key).replace("_", " ").capitalize()
    return re.sub(r" [a-z]$", lambda letter: letter[0].upper(), words)


def find(kind: str, name: str) -> tuple[str, str, Any]:
    """Find `table6` (of the main paper) or `masci2011/figure1`: return paper, key and layout."""
    if "/" in name:
        paper_of(name.rpartition("/")[0])
    known = {called(*place): place for place in targets(kind).values()}
    if name not in known:
        raise ValueError(f"no paper has {name!r} among its {kind}; {nearest(name, known)}")
    paper, key = known[name]
    return paper, key, getattr(paper_of(paper), kind)[key]
