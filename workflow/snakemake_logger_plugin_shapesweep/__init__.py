"""A logger plugin for Snakemake that shows the progress of a sweep.

Snakemake finds this package by its name, and uses it if the profile has `logger: shapesweep`. In a
terminal, the last lines show the progress of the sweep, the time left, and the running jobs. In a
log file, the time left is printed after Snakemake's own count of jobs.
"""

import sys
import threading
from logging import ERROR, WARNING, LogRecord
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from snakemake_logger_plugin_shapesweep.ledger import Ledger

#: Maximum number of jobs that are shown at a time.
SHOWN = 12
#: In a log file, the number of seconds between two reports on the running jobs.
INTERVAL = 60.0


class LogHandler(LogHandlerBase):
    """The log handler; see the base class for the properties."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = False
    has_formatter = False
    needs_rulegraph = False

    def __post_init__(self) -> None:
        """Create the console and the ledger. The display starts once the jobs are planned."""
        stream = sys.stdout if self.common_settings.stdout else sys.stderr
        self.console = Console(file=stream, no_color=self.common_settings.nocolor, highlight=False)
        self.ledger = Ledger()
        self.live: Live | None = None
        self.closed = threading.Event()

    def emit(self, record: LogRecord) -> None:
        """Print Snakemake's messages, and update the ledger."""
        try:
            event = getattr(record, "event", None)
            self._update_ledger(event, record.__dict__)
            text = self.format(record)
            if event == LogEvent.PROGRESS and (time_left := self.ledger.left()):
                text = f"{text}, {time_left}"
            if text and text != "None" and not self._is_noise(event, record):
                self._print(text, record.levelno)
        except BrokenPipeError:
            raise
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Restore the terminal."""
        self.closed.set()
        if self.live:
            self.live.stop()
            self.live = None
        super().close()

    def _update_ledger(self, event: LogEvent | None, record: dict[str, Any]) -> None:
        if event == LogEvent.RUN_INFO and not self.common_settings.dryrun:
            self.ledger.plan(record["stats"])
            self._start()
        elif event == LogEvent.JOB_INFO and record["rule_name"] in self.ledger.planned:
            words = record["rule_msg"] or record["rule_name"]
            log = Path(record["log"][0]) if record["log"] else None
            self.ledger.start(record["jobid"], record["rule_name"], words, log)
        elif event == LogEvent.JOB_FINISHED:
            self.ledger.finish(record["job_id"])
        elif event == LogEvent.JOB_ERROR:
            self.ledger.fail(record["jobid"])

    def _is_noise(self, event: LogEvent | None, record: LogRecord) -> bool:
        # Rules that only collect targets have no command.
        if event == LogEvent.SHELLCMD:
            return record.__dict__.get("shellcmd") is None
        # Omit the message that the default configuration is extended, because every sweep extends
        # it.
        if event is None and "is extended by additional config" in str(record.msg):
            return True
        # In a terminal, the display already shows the progress.
        return self.live is not None and event == LogEvent.PROGRESS

    def _print(self, text: str, level: int) -> None:
        style = "red" if level >= ERROR else "yellow" if level >= WARNING else ""
        self.console.print(Text(text, style=style), soft_wrap=True)

    def _start(self) -> None:
        if self.live is not None or self.closed.is_set():
            return
        if self.console.is_terminal:
            self.live = Live(
                get_renderable=self._display,
                console=self.console,
                refresh_per_second=2,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self.live.start()
        else:
            threading.Thread(target=self._print_progress, daemon=True).start()

    def _print_progress(self) -> None:
        while not self.closed.wait(INTERVAL):
            for job in list(self.ledger.running.values())[:SHOWN]:
                progress = job.progress()
                if progress:
                    self._print(f"    {job.words}: {progress[1]} of {progress[2]}", 0)

    def _display(self) -> Group:
        rows = Table.grid(padding=(0, 2))
        for job in list(self.ledger.running.values())[:SHOWN]:
            progress = job.progress()
            bar: ProgressBar | Text = Text("")
            count = "…"
            if progress:
                _, n_done, total = progress
                bar = ProgressBar(total=total, completed=n_done, width=24)
                count = f"{n_done:,} of {total:,}"
            rows.add_row(Text(f"  {job.words}"), bar, count)
        done, planned = self.ledger.n_done, self.ledger.n_planned
        sweep = Table.grid(padding=(0, 2))
        time_left = self.ledger.left()
        count = f"{done} of {planned} jobs{', ' + time_left if time_left else ''}"
        sweep.add_row("sweep", ProgressBar(total=max(planned, 1), completed=done, width=40), count)
        return Group(Text(""), rows, sweep)
