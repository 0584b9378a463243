"""What a graph prints: a line for each job as it starts, with what is done, and all of each error."""

import logging
from typing import Any

from snakemake.logging import DefaultFormatter, LogEvent, get_event
from snakemake.settings.types import Quietness


class JobLines(DefaultFormatter):
    """Formatter and filter of Snakemake's records, by their events; errors stay as Snakemake prints them."""

    def __init__(self, total: int) -> None:
        super().__init__(show_failed_logs=True)
        self.done, self.total = 0, total
        self.stopped = False  # by Ctrl-C or SIGTERM: then every job ends with an error, which says nothing

    def filter(self, record: logging.LogRecord) -> bool:
        """Drop what repeats: the scheduler's rounds, resources, and the end of each job but the last."""
        if self.stopped:
            return False
        event: Any = get_event(record)
        if event == LogEvent.PROGRESS:
            self.done, self.total = record.done, record.total  # type: ignore[attr-defined]
            return self.done == self.total
        if event == LogEvent.JOB_INFO:
            return bool(record.log)  # type: ignore[attr-defined]  # a target has none
        if event is None:
            return record.levelno > logging.INFO or record.module != "job_scheduler"
        return event not in (LogEvent.JOB_STARTED, LogEvent.JOB_FINISHED, LogEvent.RESOURCES_INFO)

    def format_job_info(self, msg: dict[str, Any]) -> str:
        what = " ".join(
            str(each) for name, each in msg["wildcards"].items() if name in ("name", "seed", "rendering")
        )
        rule, log = msg["rule_name"].removesuffix("_run"), " ".join(msg["log"])
        return " ".join(f"{self.done} of {self.total} done; {rule} {what} ({log})".split())

    def format_progress(self, msg: dict[str, Any]) -> str:
        return f"{msg['done']} of {msg['total']} done"


def print_job_lines(workflow: Any) -> JobLines | None:
    """Install it, unless the command line asks for less or more (--quiet, --verbose, --printshellcmds)."""
    manager = workflow.logger_manager
    settings = manager.settings
    if set(settings.quiet or ()) - {Quietness.HOST} or settings.verbose or settings.printshellcmds:
        return None
    lines = JobLines(len(workflow.dag))
    for handler in manager.logger.handlers:
        if handler.name == "DefaultStreamHandler":
            handler.addFilter(lines.filter)
            handler.setFormatter(lines)
    return lines
