"""An archive for a DOI: what it holds can be checked, and equal contents are equal bytes."""

import hashlib
import tarfile

from pipeline.config.reading import load
from pipeline.release import release
from pipeline.work.graph import Graph


def test_a_release_holds_a_table_its_records_its_encoder_and_checksums_of_all(made):
    graph = Graph(load())
    path = release(graph)
    with tarfile.open(path) as archive:
        root = archive.getnames()[0].partition("/")[0]
        held = {
            member.name.removeprefix(f"{root}/"): archive.extractfile(member).read()
            for member in archive.getmembers()
        }
    sums = dict(reversed(line.split("  ")) for line in held["SHA256SUMS"].decode().splitlines())
    assert {name: hashlib.sha256(held[name]).hexdigest() for name in sums} == sums
    assert set(held) - set(sums) == {"APPENDIX.md", "ENVIRONMENT.txt", "SHA256SUMS"}
    started, (tuned,) = (
        graph.training("pretrain", "stl10-small", 0),
        graph.trainings("finetune", "stl10-ours"),
    )
    assert {"results/table5.csv", "results/figure10.png", str(tuned.record), str(started.weights)} <= set(
        sums
    )
    assert str(tuned.weights) not in sums
    assert "snakemake --cores all results/table5.csv --config scale=smoke" in held["APPENDIX.md"].decode()
    assert "torch==" in held["ENVIRONMENT.txt"].decode()
    before = path.read_bytes()
    assert release(graph).read_bytes() == before


def test_stale_tables_are_not_released(made):
    graph = Graph(load())
    table = made / "results" / "table5.csv"
    table.write_text(table.read_text().replace("smoke/evaluate", "smoke/evaluated"))
    with tarfile.open(release(graph)) as archive:
        assert not [name for name in archive.getnames() if name.endswith("table5.csv")]
