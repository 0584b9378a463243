"""The documents' commands and diffs work as printed, in a fresh copy."""

import csv
import re
import shutil
from pathlib import Path

import pytest
from conftest import PARTS, ROOT, TINY, command, set_params

from pipeline import papers


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
    """Apply the page's diffs, then run its commands; a tiny scale keeps them short."""
    for number, diff in enumerate(blocks(page, "diff")):
        (folder / f"{number}.diff").write_text(diff)
        command("git", "apply", f"{number}.diff", folder=folder, GIT_CEILING_DIRECTORIES=str(folder.parent))
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
