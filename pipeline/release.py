"""release: what an archive with a DOI holds, as one file: results, records, encoders, environment, checksums.

Tables, figures and claims that lie in results/ and agree with params.yaml, the records of their runs, the
pre-trainings that others start from, and all of results/reference. APPENDIX.md says what each command prints.
"""

import argparse
import gzip
import importlib.metadata
import io
import sys
import tarfile
from pathlib import Path

from pipeline import papers
from pipeline.config.reading import load
from pipeline.results.kept import KEPT
from pipeline.results.rendering import Rendering, renderings
from pipeline.runner.cli import exit_code_of
from pipeline.system.files import RESULTS, sha256, write_whole
from pipeline.tracking.provenance import commit
from pipeline.work.graph import Graph
from pipeline.work.identity import Measurement, Training

BESIDE = ("CITATION.cff", "LICENSE", "README.md", "params.yaml", "uv.lock", "pyproject.toml")


def release(graph: Graph) -> Path:
    """Write results/release/cae-reproduced-<commit>-<scale>.tar.gz, the same bytes from the same files."""
    shown = [each for each in renderings().values() if whole(graph, each)]
    files = [Path(name) for name in BESIDE if Path(name).exists()]
    files += [file for file in KEPT.rglob("*") if file.is_file()]
    files += [file for each in shown for file in each.files]
    files += [file for each in shown for file in records(graph, each)]
    files = sorted(set(files))
    if not shown and not any(file.is_relative_to(KEPT) for file in files):
        raise ValueError(f"results/ holds nothing of scale {graph.params.scale}; snakemake --cores all all")
    installed = {f"{each.name}=={each.version}" for each in importlib.metadata.distributions()}
    texts = {
        "APPENDIX.md": appendix(graph, shown),
        "ENVIRONMENT.txt": "\n".join([f"python=={sys.version.split()[0]}", *sorted(installed)]) + "\n",
        "SHA256SUMS": "".join(f"{sha256(file)}  {file}\n" for file in files),
    }
    name = f"cae-reproduced-{commit()}-{graph.params.scale}"
    path = RESULTS / "release" / f"{name}.tar.gz"
    write_whole(path, lambda beside: pack(beside, name, files, texts))
    print(f"{len(files)} files, {path.stat().st_size / 1e6:.1f} MB, sha256 {sha256(path)}: {path}")
    return path


def whole(graph: Graph, rendering: Rendering) -> bool:
    """Whether all its files are there, and show the runs that params.yaml asks for."""
    return all(file.exists() for file in rendering.files) and not rendering.stale(graph)


def records(graph: Graph, rendering: Rendering) -> list[Path]:
    """Of the runs that it shows: records, and the weights of pre-trainings that others start from."""
    works = {each.identity: each for each in _lineages(graph, rendering)}.values()
    starts = {each.start.identity for each in works if isinstance(each, Training) and each.start}
    files = [each.metrics if isinstance(each, Measurement) else each.record for each in works]
    files += [each.weights for each in works if isinstance(each, Training) and each.identity in starts]
    return [file for file in files if file.exists()]


def _lineages(graph: Graph, rendering: Rendering) -> list[Measurement | Training]:
    measurements = rendering.measurements(graph)
    return [*measurements, *(one for each in measurements for one in each.training.lineage)]


def appendix(graph: Graph, shown: list[Rendering]) -> str:
    """A command for each file, and the first line that it measures."""
    scale = graph.params.scale
    lines = [
        "# Commands, and what each should print",
        "",
        f"Commit {commit()}, scale {scale}. `sha256sum -c SHA256SUMS` checks this archive; `make env` builds "
        "the environment, which ENVIRONMENT.txt lists.",
        "",
        "| command | its first measured line |",
        "| --- | --- |",
    ]
    for each in shown:
        command = f"snakemake --cores all {each.files[0]} --config scale={scale}"
        found = each.lines()
        first = next((line for line in found if line.get("mean")), next(iter(found), {}))
        cell = [first.get(name, "") for name in ("row", "column", "network", "claim", "verdict", "mean")]
        n = f"(n={first['n']})" if first.get("n") else ""
        words = " ".join([*filter(None, cell), n]).strip() or "a figure"
        lines.append(f"| `{command}` | {words.replace('|', ' ')} |")
    return "\n".join(lines) + "\n"


def pack(path: Path, name: str, files: list[Path], texts: dict[str, str]) -> None:
    """Owner, mode and time are fixed, so that equal contents are equal archives."""
    with (
        path.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as archive,
    ):
        for member in sorted([*map(str, files), *texts]):
            info, text = tarfile.TarInfo(f"{name}/{member}"), texts.get(member)
            with Path(member).open("rb") if text is None else io.BytesIO(text.encode()) as content:
                info.size = content.seek(0, io.SEEK_END)
                content.seek(0)
                archive.addfile(info, content)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.release", description=__doc__.split("\n")[0])
    parser.add_argument("--scale", default=None, help="instead of the one that params.yaml names")
    given = parser.parse_args()

    def act() -> None:
        params = load(scale=given.scale)
        papers.check(params)
        release(Graph(params))

    sys.exit(exit_code_of("release", act))


if __name__ == "__main__":
    main()
