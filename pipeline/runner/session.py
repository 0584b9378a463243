"""A session of Snakemake: one graph at a time per folder, its helper processes, and how it stops."""

import atexit
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import redirect_stderr, suppress
from difflib import get_close_matches
from io import StringIO
from pathlib import Path
from typing import IO, Any

from pipeline import papers
from pipeline.config.reading import load
from pipeline.config.runs import STAGES
from pipeline.runner import worker
from pipeline.runner.lines import JobLines, print_job_lines
from pipeline.system.files import RESULTS
from pipeline.system.locks import hold, holder
from pipeline.tracking.delivery import waits
from pipeline.tracking.follower import FOLLOWED, finish, follow
from pipeline.work.graph import Graph
from pipeline.work.identity import Training, made

LOCK = RESULTS / ".graph.lock"
LISTED = "`python -m pipeline` lists what can be made"


class Session:
    """The Snakefile's hooks: lock the folder, run the warm worker and MLflow's follower, pass signals on."""

    def __init__(self, workflow: Any, config: Mapping[str, Any], *, files: Collection[str]) -> None:
        self.workflow = workflow
        self.lock: IO[str] | None = None
        self.lines: JobLines | None = None
        self.beside: list[subprocess.Popen | None] = []
        self.files = files
        self.asked = _asked() if workflow.is_main_process else None
        self.graph, self.together = _graph(config), _together(config)
        if self.asked and self.asked.cores and not self.asked.dryrun:
            refuse_second()
        atexit.register(self._deliver_leftovers)

    def side_by_side(self) -> Iterator[list[Training]]:
        """Seeds of a run that are left, as many as --config together=N lets train in one process."""
        names = [(stage, name) for stage in STAGES for name in self.graph.params.runs(stage)]
        for run in names:
            left = [each for each in self.graph.trainings(*run) if not made(each)]
            parts = (left[at : at + self.together] for at in range(0, len(left), self.together))
            yield from (part for part in parts if len(part) > 1)

    def check_targets(self) -> None:
        """Snakemake answers a misspelt target in twenty lines; call this after the last rule."""
        rules = list(self.workflow.rules)
        for word in self.asked.targets if self.asked else ():
            known = word in {rule.name for rule in rules} or Path(word).exists()
            if not known and not any(rule.is_producer(word) for rule in rules):
                sys.exit(f"nothing makes {word}; {self._close(word)}{LISTED}")

    def _close(self, word: str) -> str:
        """What the word may be meant for: a paper, a phase, a file or its bare name."""
        names = {rule.name: rule.name for rule in self.workflow.rules if not rule.has_wildcards()}
        firsts = [file for file in self.files if file.endswith((".csv", ".png"))]
        by_name = names | {Path(file).stem: file for file in reversed(firsts)}
        by_name |= {file: file for file in self.files} | {file.rpartition(".")[0]: file for file in firsts}
        found = [
            by_name[each]
            for each in get_close_matches(word, by_name, n=1 if word in by_name else 3, cutoff=0.75)
        ]
        return f"did you mean {' or '.join(dict.fromkeys(found))}? " if found else ""

    def begin(self) -> None:
        if self.together > 1 and not self.workflow.local_exec:
            sys.exit("--config together=… is for jobs on this machine; leave it out with another executor")
        self.lock = alone()
        self._refuse_missing_archives()
        self.lines = print_job_lines(self.workflow)
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
        if self.lines and self.lines.stopped:
            done = f"{self.lines.done} of {self.lines.total} done"
            print(f"stopped, {done}; the same command goes on from what is written", file=sys.stderr)

    def _deliver_leftovers(self) -> None:
        """With nothing to run, `begin` is never called; deliver metrics left by a killed graph."""
        workflow = self.workflow
        executes = workflow.executor_plugin and workflow.is_main_process and not workflow.dryrun
        if executes and self.lock is None and idle() and waits():
            finish([follow()])

    def _refuse_missing_archives(self) -> None:
        """Name archives that nobody can download before the work begins that ends without them."""
        from pipeline.datasets.imagenet import missing

        for job in self.workflow.dag.needrun_jobs():
            asks = job.rule.name == "fetch_raw" and job.wildcards.name == "imagenet"
            if asks and (slip := missing(Path(job.output[0]).parent, self.graph.params.mirror_folder)):
                sys.exit(slip)

    def _pass_on_stops(self) -> None:
        """On SIGTERM the jobs write their checkpoints and exit; Snakemake alone would let them finish."""
        import psutil

        spared = {process.pid for process in self.beside if process is not None}

        def pass_on(number: int) -> None:
            for child in psutil.Process().children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    if child.pid not in spared and not child.children():
                        child.send_signal(number)

        self._on(signal.SIGTERM, also=pass_on)
        self._on(signal.SIGINT)  # the terminal sends it to the jobs, too

    def _on(self, stop: signal.Signals, *, also: Callable[[int], None] = lambda number: None) -> None:
        """Fall silent, then do what Snakemake does, and more."""
        snakemake = signal.getsignal(stop)
        if not callable(snakemake):
            return

        def act(number: int, frame: Any) -> None:
            if self.lines:
                self.lines.stopped = True
            try:
                snakemake(number, frame)
            finally:  # Python's own handler of SIGINT raises
                also(number)

        signal.signal(stop, act)


def refuse_second() -> None:
    """In one line, before Snakemake counts its jobs; `begin` holds the lock."""
    try:
        free = idle()
    except OSError as error:
        sys.exit(
            f"{RESULTS}/ cannot be written: {error.strerror} ({error.filename}); make it a folder of your own"
        )
    if not free:
        sys.exit(_taken())


def alone() -> IO[str]:
    """Lock this folder against other graphs while the result is referenced."""
    lock = hold(LOCK)
    if lock is None:
        sys.exit(_taken())
    return lock


def _taken() -> str:
    return f"another graph runs in this folder: {holder(LOCK)}; wait for it, or end it"


def idle() -> bool:
    """Whether no graph runs in this folder."""
    lock = hold(LOCK)
    if lock is not None:
        lock.close()
    return lock is not None


def _graph(config: Mapping[str, Any]) -> Graph:
    """Load params.yaml at the scale of --config; exit on user errors in one line, without a traceback."""
    if slips := set(config) - {"scale", "together"}:
        sys.exit(f"--config takes scale=… and together=…, and no {min(slips)!r}")
    try:
        params = load(scale=config.get("scale"))
        papers.check(params)
    except ValueError as slip:
        sys.exit(str(slip))
    return Graph(params)


def _together(config: Mapping[str, Any]) -> int:
    number = config.get("together", 1)
    if type(number) is not int or number < 1:
        sys.exit(f"--config together={number}: give how many seeds of a run train in one process, 1 or more")
    return number


def _asked() -> Any:
    """The command line as Snakemake reads it; none where Snakemake was not called by one."""
    from snakemake.cli import parse_args

    if "snakemake" not in sys.argv[0]:  # python -m pipeline.plan, a test
        return None
    try:
        with redirect_stderr(StringIO()):  # Snakemake said the same when it read them
            return parse_args(sys.argv[1:])[1]
    except SystemExit:
        return None
