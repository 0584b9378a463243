"""A session of Snakemake: one graph at a time per folder, its helper processes, and how it stops."""

import atexit
import os
import re
import signal
import subprocess
import sys
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import IO, Any

from pipeline import papers
from pipeline.config.reading import load
from pipeline.config.typed import nearest
from pipeline.runner import worker
from pipeline.runner.lines import print_job_lines
from pipeline.system.files import RESULTS
from pipeline.system.locks import hold, holder
from pipeline.tracking.delivery import waits
from pipeline.tracking.follower import FOLLOWED, finish, follow
from pipeline.work.graph import Graph

LOCK = RESULTS / ".graph.lock"


class Session:
    """The Snakefile's hooks: lock the folder, run the warm worker and MLflow's follower, pass signals on."""

    def __init__(self, workflow: Any, config: Mapping[str, Any], *, files: Collection[str]) -> None:
        self.workflow = workflow
        self.lock: IO[str] | None = None
        self.beside: list[subprocess.Popen | None] = []
        self.graph = _graph(config)
        _refuse_misspelt(sys.argv[1:], files)
        atexit.register(self._deliver_leftovers)

    def begin(self) -> None:
        self.lock = alone()
        print_job_lines(self.workflow)
        if self.workflow.local_exec:  # jobs on other machines cannot be forks of a process here
            self.beside.append(worker.start())
            # Under a limit on submissions each scheduling round starts a timer for another one, so that
            # after N jobs Snakemake polls N times a second: docs/decisions.md.
            self.workflow.scheduler.job_rate_limiter = None
        self.beside.append(follow())
        os.environ[FOLLOWED] = "by snakemake"
        self._pass_on_stops()

    def end(self, *, within: float | None = None) -> None:
        finish(self.beside, within=within)

    def _deliver_leftovers(self) -> None:
        """With nothing to run, `begin` is never called; deliver metrics left by a killed graph."""
        workflow = self.workflow
        executes = workflow.executor_plugin and workflow.is_main_process and not workflow.dryrun
        if executes and self.lock is None and idle() and waits():
            finish([follow()])

    def _pass_on_stops(self) -> None:
        """On SIGTERM the jobs write their checkpoints and exit; Snakemake alone would let them finish."""
        import psutil

        snakemake = signal.getsignal(signal.SIGTERM)
        spared = {process.pid for process in self.beside if process is not None}

        def stop(number: int, frame: Any) -> None:
            if callable(snakemake):
                snakemake(number, frame)
            for child in psutil.Process().children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    if child.pid not in spared and not child.children():
                        child.send_signal(number)

        signal.signal(signal.SIGTERM, stop)


def alone() -> IO[str]:
    """Lock this folder against other graphs while the result is referenced."""
    lock = hold(LOCK)
    if lock is None:
        sys.exit(f"another graph runs in this folder: {holder(LOCK)}; wait for it, or end it")
    return lock


def idle() -> bool:
    """Whether no graph runs in this folder."""
    lock = hold(LOCK)
    if lock is not None:
        lock.close()
    return lock is not None


def _graph(config: Mapping[str, Any]) -> Graph:
    """Load params.yaml at the scale of --config; exit on user errors in one line, without a traceback."""
    if slips := set(config) - {"scale"}:
        sys.exit(f"--config takes scale=…, and no {min(slips)!r}")
    try:
        params = load(scale=config.get("scale"))
        papers.check(params)
    except ValueError as slip:
        sys.exit(str(slip))
    return Graph(params)


def _refuse_misspelt(words: list[str], files: Collection[str]) -> None:
    """Exit on a misspelt file with a suggestion; Snakemake prints twenty lines without one."""
    for word in words:
        if re.fullmatch(r"results/.*\.(csv|md|png)", word) and word not in files:
            sys.exit(f"nothing makes {word}; {nearest(word, files)}")
