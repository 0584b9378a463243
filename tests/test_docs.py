"""The documents' commands and diffs work as printed, in a fresh copy."""

import csv
import json
import os
import re
import shutil
import statistics
import sys
from pathlib import Path

import pytest
from conftest import PARTS, ROOT, TINY, command, set_params

from pipeline import papers
from pipeline.search import table
from pipeline.system.files import read_lines


def blocks(page: str, kind: str) -> list[str]:
    return re.findall(
        rf"^```{kind}\n(.*?)^```", (ROOT / "docs" / f"{page}.md").read_text(), re.DOTALL | re.MULTILINE
    )


@pytest.fixture
def fresh(tmp_path):
    """Copy the project to a folder."""
    folder = tmp_path / "project"
    folder.mkdir()
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, folder / part)
    return folder


def follow(page: str, folder: Path, *, scale: str = "smoke", **environment: str) -> str:
    """Apply the page's diff by the page's line, then run its commands; a tiny scale keeps them short."""
    (folder / "docs").mkdir()
    shutil.copy(ROOT / "docs" / f"{page}.md", folder / "docs")
    (line,) = re.findall(
        r"^    (sed .* \| git apply)$", (ROOT / "docs" / f"{page}.md").read_text(), re.MULTILINE
    )
    command(
        "bash", "-e", "-o", "pipefail", "-c", line, folder=folder, GIT_CEILING_DIRECTORIES=str(folder.parent)
    )
    set_params(
        folder, **{f"scales__{scale}__{name}": value for name, value in {**TINY, "repeats": 1}.items()}
    )
    (typed,) = blocks(page, "sh")
    completed = command(
        "bash", "-e", "-c", typed.replace("--cores all", "--cores 1"), folder=folder, **environment
    )
    return completed.stdout + completed.stderr


@pytest.mark.parametrize(
    ("page", "run"),
    [("add-a-corruption", "fade"), ("add-a-network", "shallow"), ("add-an-objective", "absolute")],
)
def test_what_the_guides_add_is_trained_and_measured(page, run, fresh):
    follow(page, fresh)
    (metrics,) = (fresh / "results" / "runs").glob(
        f"smoke/evaluate/pretrain.cifar10-{run}.restore/*/metrics.json"
    )
    assert '"psnr"' in metrics.read_text()


def test_the_table_that_a_guide_adds_is_a_target(fresh):
    said = follow("add-a-table", fresh)
    assert "results/mine/table1.csv  Restored images" in said
    assert re.search(r"pretrain_run\s+2\b", said)
    assert re.search(r"finetune_run\s+2\b", said)


@pytest.mark.graph
def test_a_users_pictures_go_from_folder_to_table_as_the_guide_says(fresh, tmp_path):
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 6)):
        for shade, name in ((60, "dark"), (190, "light")):
            place = tmp_path / "pictures" / split / name
            place.mkdir(parents=True)
            for number in range(count):
                pixels = random.normal(shade, 20, (40, 48, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(place / f"{number}.{'png' if number % 2 else 'jpg'}")
    follow("own-data", fresh, scale="reduced", HOME=str(tmp_path))
    table = (fresh / "results" / "mine" / "table1.csv").read_text().splitlines()
    made = [(line["scale"], line["dataset"], line["state"]) for line in csv.DictReader(table)]
    assert made == [("reduced", "mine", "measured")] * 2
    assert "undecidable" in (fresh / "results" / "mine" / "claims.csv").read_text()
    assert "With pre-training and without" in (fresh / "results" / "report.html").read_text()


@pytest.mark.parametrize("paper", papers.papers())
def test_a_papers_page_lists_its_targets_and_counts_its_claims(paper):
    page, facts = (ROOT / "docs" / "papers" / f"{paper}.md").read_text(), papers.papers()[paper]
    expected = {
        f"{papers.target(paper, key)}.{ending}": each.title
        for kind, ending in (("tables", "csv"), ("architectures", "csv"), ("figures", "png"))
        for key, each in getattr(facts, kind).items()
    }
    listed = dict(re.findall(r"^\| `(results/\S+)` \| (.*) \|$", page, re.MULTILINE))
    assert (
        listed.pop(f"{papers.target(paper, 'claims')}.csv")
        == f"{len(facts.claims)} claims and their verdicts"
    )
    assert listed == expected
    assert f"the {len(facts.claims)} claims as data" in " ".join(page.split())


def test_every_link_between_documents_leads_to_a_file():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    links = [
        (page, link)
        for page in pages
        for link in re.findall(r"\]\((?![a-z]+:|#)([^)#\s]+)", page.read_text())
    ]
    assert len(links) > 60
    assert [(page.name, link) for page, link in links if not (page.parent / link).exists()] == []


def test_the_notebook_runs_from_a_clone_without_data(tmp_path, workplace):
    """Jupyter would run its cells in one namespace, too; its kernel would be 80 MB for this test."""
    shutil.copytree(ROOT / "results" / "reference", workplace / "results" / "reference")
    cells = json.loads((ROOT / "docs" / "notebook.ipynb").read_text())["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    ends = "; ".join(
        [
            "assert table2.groupby('measurement')['pipeline'].nunique().tolist() == [3] * 5",
            "assert tuple(features.shape) == (48, 64) and features.isfinite().all()",
            "assert shards.displayed_name == 'procedural' and tuple(nearest.shape) == (48, 5)",
            "assert not (nearest == torch.arange(48)[:, None]).any()",
            "assert share['features'] > share['chance']",
            "print('to the end')",
        ]
    )
    (workplace / "notebook.py").write_text(f"{code}\n{ends}\n")
    done = command(sys.executable, "notebook.py", folder=workplace, MPLBACKEND="Agg")
    assert done.stdout.endswith("to the end\n"), done.stderr


def test_the_commands_for_scale_paper_name_existing_targets():
    page = (ROOT / "docs" / "paper-scale.md").read_text()
    asked = re.findall(r"snakemake --cores all (\S+) --config scale=paper", page)
    assert len(asked) > 5
    assert {each.removesuffix(".csv") for each in asked} <= {*papers.targets(), *papers.papers()}


def test_the_citation_names_every_paper():
    import yaml

    from pipeline.papers import papers

    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())["references"]
    named = {each["title"]: (each["year"], each["authors"][0]["family-names"]) for each in cited}
    for name, facts in papers().items():
        if name == "real":  # not a paper, but rows of several
            continue
        assert named[facts.title] == (facts.year, facts.authors.split(",")[0].split()[-1])


def test_the_page_of_searches_prints_the_kept_trials():
    page = (ROOT / "docs" / "unsaid-settings.md").read_text()
    kept = sorted((ROOT / "results" / "reference" / "search").glob("*.csv"))
    printed = [f"({os.path.relpath(file, ROOT / 'docs')})\n\n{table(read_lines(file))}" for file in kept]
    assert [text for text in printed if text not in page] == []
    assert len(re.findall(r"^\| -+ \|", page, re.MULTILINE)) == len(kept)  # no table without data


REPORTS = [f"docs/reports/{page.name}" for page in sorted((ROOT / "docs" / "reports").glob("*.md"))]


@pytest.mark.parametrize("page", ["README.md", *REPORTS])
def test_a_page_gives_the_verdicts_and_numbers_that_are_kept(page):
    kept = ROOT / "results" / "reference" / "reduced"
    decided = {line["claim"]: line for file in kept.glob("*/claims.csv") for line in read_lines(file)}
    rows = [line for line in (ROOT / page).read_text().splitlines() if re.match(r"\| .*\(`[\w-]+`\)", line)]
    if page == "README.md":
        assert len(rows) >= 3
    else:  # all that its paper's kept runs decide
        shown = {claim for row in rows for claim in re.findall(r"\(`([\w-]+)`\)", row)}
        assert shown == {line["claim"] for line in read_lines(kept / Path(page).stem / "claims.csv")}
    for row in rows:
        (claim,), cells = re.findall(r"\(`([\w-]+)`\)", row), [cell.strip("* ") for cell in row.split("|")]
        line = decided[claim]
        assert line["verdict"] in cells, row
        if page == "README.md":
            assert cells[-4:-1] == [line["n"], line["verdict"], line["scale"]], row
            printed = re.findall(r"[\d.]+ ± [\d.]+", cells[3])
            assert printed, row
            assert set(printed) <= spreads(kept, line["runs"].split()), row


def test_every_kept_encoder_is_listed_with_its_numbers():
    kept = ROOT / "results" / "reference" / "reduced"
    seeds: dict[str, list[int]] = {}
    for file in kept.glob("*/runs/pretrain/*/*.pt"):
        seeds.setdefault(f"pretrain.{file.parent.name}", []).append(int(file.name.split("-")[0]))
    files = kept.glob("*/runs/evaluate/*/*.json")
    known = spreads(kept, sorted({f"reduced/evaluate/{file.parent.name}/{file.stem}" for file in files}))
    page = (ROOT / "docs" / "sharing.md").read_text()
    rows = {row[1]: row[0] for row in re.finditer(r"^\| `(pretrain\..+?)` .*$", page, re.MULTILINE)}
    assert set(rows) == set(seeds)
    for label, row in rows.items():
        assert sorted(seeds[label]) == list(range(len(seeds[label])))
        assert row.endswith(f"| 0 to {max(seeds[label])} |")
        numbers = re.findall(r"[\d.]+ ± [\d.]+", row)
        assert len(numbers) >= 2
        assert set(numbers) <= known, row


def spreads(kept: Path, runs: list[str]) -> set[str]:
    """Mean ± standard deviation of each metric of each measurement that kept runs are of."""
    found: dict[tuple[str, str], list[float]] = {}
    for run in runs:
        _, stage, label, name = run.split("/")
        records = {file.read_text() for file in kept.glob(f"*/runs/{stage}/{label}/{name}.json")}
        (record,) = records  # of each paper that has it the same
        for metric, value in json.loads(record)["metrics"].items():
            found.setdefault((label, metric), []).append(value)
    return {f"{statistics.fmean(values):.2f} ± {statistics.stdev(values):.2f}" for values in found.values()}
