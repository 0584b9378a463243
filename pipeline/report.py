"""report: all results as one page, with the commands that make what is missing."""

import argparse
import base64
import hashlib
import sys
from pathlib import Path
from typing import Any

from pipeline import papers
from pipeline.config.params import Params
from pipeline.config.reading import load
from pipeline.results.claims import VERDICTS
from pipeline.results.page.answers import OUTCOMES, Answer
from pipeline.results.page.cells import MARKS
from pipeline.results.page.parts import Part, Shelf
from pipeline.runner.cli import exit_code_of
from pipeline.system.files import RESULTS, write_text
from pipeline.tracking.addresses import SERVE

TEMPLATES = Path(__file__).parent / "results" / "page"
REPORT = RESULTS / "report.html"


def report(params: Params) -> None:
    """Write results/report.html: one file that loads nothing from elsewhere."""
    shelf = Shelf(params)
    sections = {name: (facts, shelf.parts(name, facts)) for name, facts in papers.papers().items()}
    suite = papers.in_order(params)
    sections = {
        name: sections[name]
        for name in sorted(sections, key=lambda name: (*worth(sections[name][1]), suite.index(name)))
    }
    answers = {name: answers_of(parts) for name, (_, parts) in sections.items()}
    checks = [each for _, parts in sections.values() for each in answers_of(parts, ours=True)]
    values = {
        "papers": sections,
        "tally": {
            name: {outcome: sum(each.outcome == outcome for each in every) for outcome in OUTCOMES}
            for name, every in answers.items()
        },
        "outcomes": {
            outcome: [
                (name, each) for name, every in answers.items() for each in every if each.outcome == outcome
            ]
            for outcome in OUTCOMES
        },
        "checks": {"holds": sum(each.outcome == "holds" for each in checks), "all": len(checks)},
        "counts": {name: counts(parts) for name, (_, parts) in sections.items()},
        "best": best_table(sections),
        "runs": shelf.runs.listed(),
        "marks": MARKS.values(),
        "capped": [name for name in params.scales if not shelf.evidence.whole(name)],
        "procedural": [name for name, scale in params.scales.items() if scale.procedural],
        "serve": SERVE,
    }
    write_text(REPORT, page(values))


def worth(parts: list[Part]) -> tuple[int, int]:
    """Best evidence first: tables and claims at the paper's own scale, then those of real images."""
    levels = [part.level for part in parts]
    return -levels.count("paper"), -levels.count("real")


def answers_of(parts: list[Part], *, ours: bool = False) -> list[Answer]:
    """The answers to the paper's claims, or to ours, which they rest on."""
    every = (answer for part in parts if part.kind == "claims" for answer in part.body["answers"])
    return [answer for answer in every if answer.ours == ours]


def best_table(sections: dict[str, tuple[papers.Paper, list[Part]]]) -> tuple[str, Part] | None:
    """The table on real images with the most pipelines, then with the most of the paper's numbers."""
    tables = [
        (name, part)
        for name, (_, parts) in sections.items()
        for part in parts
        if part.kind == "table" and part.body["panels"] and part.level in ("paper", "real")
    ]

    def rank(each: tuple[str, Part]) -> tuple[bool, bool, int, int]:
        lines = [cell.line for panel in each[1].body["panels"] for _, _, cell in panel.lines]
        own = all(line["state"] != "substitute" for line in lines)
        return (
            each[1].level == "paper",
            own,
            min(int(line["n"]) for line in lines),
            sum(bool(line["paper"]) for line in lines),
        )

    return max(tables, key=rank, default=None)


def counts(parts: list[Part]) -> dict[str, str]:
    """How much of each kind is measured on real images; of claims, how many have which verdict."""
    texts = {}
    for name in ("table", "figure"):
        levels = [part.level for part in parts if part.kind == name]
        texts[name] = (
            f"{sum(level in ('paper', 'real') for level in levels)} of {len(levels)}" if levels else ""
        )
    verdicts = [each.verdict or "not tried" for each in answers_of(parts)]
    order = (*VERDICTS, "not tried")
    texts["claims"] = ", ".join(
        f"{verdicts.count(verdict)} {verdict}" for verdict in order if verdict in verdicts
    )
    return texts


def page(values: dict[str, Any]) -> str:
    """Render the page: values are escaped; its policy allows only its own script, and no requests."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["signed"] = lambda value: f"{value:+.2f}".replace("-", "−")
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    return environment.get_template("report.html").render(**values, style=style, script=script, digest=digest)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.report", description=__doc__)
    parser.add_argument("--scale", default=None, help="of what is missing; what is there has its own")
    arguments = parser.parse_args()

    def act() -> None:
        params = load(scale=arguments.scale)
        papers.check(params)
        report(params)
        print(f"{REPORT.absolute().as_uri()}")

    sys.exit(exit_code_of("report", act))


if __name__ == "__main__":
    main()
