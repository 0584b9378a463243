"""docs/coverage.md: every comparison in the papers, with its claim or the reason why it has none."""

import re

import pytest
from conftest import ROOT

from pipeline.papers import papers

PAGE = (ROOT / "docs" / "coverage.md").read_text()


def rows(paper):
    """(section, sentence, claim) of each line of the paper's table."""
    (part,) = re.findall(rf"^## {paper}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    lines = [line for line in part.splitlines() if line.startswith("| ")]
    return [tuple(cell.strip() for cell in line.strip("|").split(" | ")) for line in lines[2:]]


def named(claim):
    """The claims that a cell names; what follows a semicolon is a remark."""
    return re.findall(r"`([\w-]+)`", claim.split(";")[0]) if claim.startswith("`") else []


def places(where):
    return set(where.lower().split(", "))


@pytest.mark.parametrize("paper", papers())
def test_every_comparison_has_a_claim_or_a_reason_why_not(paper):
    for section, sentence, claim in rows(paper):
        assert section, sentence
        assert re.fullmatch("“.+”", sentence), sentence
        assert named(claim) or re.match("not tried: .+", claim), claim


@pytest.mark.parametrize("paper", papers())
def test_every_claim_is_listed_under_its_papers_section(paper):
    known = papers()[paper].claims
    found = [(name, places(section)) for section, _, claim in rows(paper) for name in named(claim)]
    assert {name for name, _ in found} == set(known)
    for name, claim in known.items():
        assert any(places(claim.where) <= said for own, said in found if own == name), (name, claim.where)
