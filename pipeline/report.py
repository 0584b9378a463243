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
from pipeline.results.page.cells import MARKS
from pipeline.results.page.parts import Part, Shelf
from pipeline.runner.cli import exit_code_of
from pipeline.system.files import RESULTS, write_text

TEMPLATES = Path(__file__).parent / "results" / "page"
REPORT = RESULTS / "report.html"


def report(params: Params) -> None:
    """Write results/report.html: one file that loads nothing from elsewhere."""
    shelf = Shelf(params)
    shown = {name: (facts, shelf.parts(name, facts)) for name, facts in papers.papers().items()}
    scales = {part.scale for _, parts in shown.values() for part in parts if part.scale}
    values = {
        "papers": shown,
        "counts": {name: counts(parts) for name, (_, parts) in shown.items()},
        "runs": shelf.runs.shown(),
        "marks": MARKS.values(),
        "capped": sorted(scale for scale in scales if not shelf.whole(scale)),
        "procedural": [name for name, scale in params.scales.items() if scale.procedural],
        "scale": params.scale,
    }
    write_text(REPORT, page(values))


def counts(parts: list[Part]) -> dict[str, str]:
    """Count what was made of each kind, and the claims by verdict."""
    texts = {}
    for name, kinds in (("tables", ("table", "networks")), ("figures", ("figure",))):
        of_kind = [part for part in parts if part.kind in kinds]
        texts[name] = (
            f"{sum(part.state != 'missing' for part in of_kind)} of {len(of_kind)}" if of_kind else "none"
        )
    verdicts = [
        claim["verdict"] or "not tried" for part in parts if part.kind == "claims" for claim in part.body
    ]
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
