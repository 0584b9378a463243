"""Install instructions match the declared dependencies, and documented commands run."""

import re
import shutil
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from conftest import command

ROOT = Path(__file__).parents[2]


def test_conda_users_get_what_pyproject_asks_for_in_the_locks_versions():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())
    expected = {*project["project"]["dependencies"], *project["dependency-groups"]["dev"]}
    pip = next(each["pip"] for each in conda["dependencies"] if isinstance(each, dict))
    pinned = {tuple(each.partition(";")[0].split("==")) for each in pip}
    assert {name for name, _ in pinned} == {re.split(r"[>=;]", each)[0] for each in expected}
    locked = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    assert pinned <= {(each["name"], each.get("version")) for each in locked}
    assert f"python{project['project']['requires-python']}" in conda["dependencies"]


def test_the_oldest_python_is_the_same_everywhere_and_make_refuses_an_older_one(tmp_path):
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    oldest = wanted.removeprefix(">=")
    for page in ("README.md", "docs/index.md", "docs/paper-scale.md", "Makefile"):
        assert f"Python {oldest} or later" in (ROOT / page).read_text()
    *major, last = map(int, oldest.split("."))
    older = tmp_path / "older"
    older.write_text(
        "#!/bin/sh\n"
        f"exec {sys.executable} -c 'import sys; sys.version_info = {(*major, last - 1)}; exec(sys.argv[1])' \"$2\"\n"
    )
    older.chmod(0o755)
    files = ("Makefile", "pyproject.toml", "uv.lock")
    for name in files:
        shutil.copy(ROOT / name, tmp_path)
    done = command("make", "env", f"PYTHON={older}", folder=tmp_path, check=False)
    assert done.returncode != 0
    assert done.stderr.startswith(f"Python {oldest} or later is needed: make PYTHON=")
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted([*files, "older"])


def test_every_import_is_a_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    named = {re.split(r"[>=]", each)[0] for each in project["project"]["dependencies"]}
    named |= {"PIL": "pillow", "yaml": "pyyaml", "sklearn": "scikit-learn"}.keys() | {"pipeline"}
    for file in (ROOT / "pipeline").rglob("*.py"):
        for module in re.findall(r"^\s*(?:from|import) (\w+)", file.read_text(), re.MULTILINE):
            assert module in named | set(sys.stdlib_module_names), f"{file.name} imports {module}"


def test_reading_params_imports_nothing_heavy(workplace):
    code = (
        "import pipeline.papers, pipeline.table, pipeline.claims, pipeline.figure, pipeline.report, sys; "
        "print([name for name in ('torch', 'pandas', 'mlflow', 'matplotlib', 'scipy') if name in sys.modules])"
    )
    assert command(sys.executable, "-c", code, folder=workplace).stdout.strip() == "[]"


def test_the_overview_names_stages_papers_and_targets(workplace):
    said = command(sys.executable, "-m", "pipeline", folder=workplace).stdout
    assert "results/table6.csv" in said
    assert "pretrain" in said
    assert "dong2016: Unsupervised Feature Learning" in said


@pytest.mark.parametrize(
    "stage",
    [
        "fetch",
        "shard",
        "pretrain",
        "finetune",
        "evaluate",
        "table",
        "figure",
        "claims",
        "report",
        "export",
        "plan",
        "lease",
        "track",
        "clean",
        "show",
        "schema",
    ],
)
def test_a_stage_says_how_it_is_called(workplace, stage):
    assert (
        f"pipeline.{stage}"
        in command(sys.executable, "-m", f"pipeline.{stage}", "--help", folder=workplace).stdout
    )


def test_make_hands_other_targets_to_snakemake_which_names_the_nearest(workplace):
    shutil.copy(ROOT / "Makefile", workplace)
    without = command("make", "table6", folder=workplace, check=False)
    assert (
        without.stderr.splitlines()[0]
        == "make has no target table6; if Snakemake has one: make env, then again"
    )
    (workplace / ".venv").mkdir()
    (workplace / ".venv" / ".ready").touch()
    (workplace / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    said = command("make", "table6", folder=workplace, check=False).stderr
    assert "nothing makes table6; did you mean results/table6.csv?" in said
    assert len(said.splitlines()) == 3  # with Snakemake's profile and make's error


def test_a_reader_that_has_enough_ends_a_listing_without_an_error(workplace):
    listing = "set -o pipefail; python -m pipeline | true"
    said = command("bash", "-c", listing, folder=workplace, check=False)
    assert (said.returncode, said.stderr) == (141, "")
