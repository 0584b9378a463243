"""What a record says about commit and machine, and what a machine without git or memory does."""

import re

import pytest
import torch

from pipeline.runner.cli import exit_code_of
from pipeline.tracking.provenance import COMMIT, commit


def test_the_commit_is_the_last_one_that_touched_the_pipeline():
    assert re.fullmatch(r"[0-9a-f]{12}\+?", commit())


def test_a_machine_without_git_records_an_unknown_commit(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit() == "unknown"


def test_a_packed_project_records_the_commit_that_it_was_packed_from(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    COMMIT.write_text("0123456789ab+\n")
    assert commit() == "0123456789ab+"


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_out_of_memory_is_one_line_with_the_way_out(error, capsys):
    def act():
        raise error

    assert exit_code_of("pretrain cifar10", act) == 1
    assert capsys.readouterr().err == (
        "pretrain cifar10: out of memory; fewer jobs at once (--cores), or a smaller batch\n"
    )


def test_an_error_of_ours_keeps_its_traceback():
    def act():
        raise RuntimeError("a tensor has another shape")

    with pytest.raises(RuntimeError, match="another shape"):
        exit_code_of("pretrain cifar10", act)
