"""The worker over a QProcess, for the panel: nothing blocks, answers come as signals.

The process object is handed in, so that this file imports no Qt. Of a QProcess it needs ``connect``, ``start``,
``write``, ``readAllStandardOutput``, ``readAllStandardError``, ``closeWriteChannel``, ``waitForFinished``,
``terminate``, ``kill`` and ``waitForStarted``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from VertebralGradingLib.backend.session import Handlers, Session, stopped, worker_command

PATIENCE_MS = 3000


class QProcessWorker:
    """A worker behind a QProcess.

    Args:
        process: a QProcess that is not running, its environment set (see :func:`session.worker_environment`).
        python: interpreter to run.
        on_log: called with each piece of the worker's stderr.
        on_ended: called with the reason when the worker ends by itself.
    """

    def __init__(
        self,
        process: Any,
        python: str,
        on_log: Callable[[str], None] | None = None,
        on_ended: Callable[[str], None] | None = None,
    ) -> None:
        self._process = process
        self._python = python
        self._on_log = on_log
        self._on_ended = on_ended
        self._stopping = False
        self.session = Session(self._write)
        process.connect("readyReadStandardOutput()", self._read)
        process.connect("readyReadStandardError()", self._read_log)
        process.connect("finished(int,QProcess::ExitStatus)", self._ended)
        process.connect("errorOccurred(QProcess::ProcessError)", self._failed)
        self.alive = False
        self._reason = "it was not started"

    def start(self) -> None:
        """Start the worker."""
        program, *arguments = worker_command(self._python)
        self.alive = True
        self._process.start(program, arguments)

    def request(self, kind: str, handlers: Handlers, /, **fields: Any) -> int:
        """Send a request; the answers come through the handlers."""
        return self.session.request(kind, handlers, **fields)

    def end(self, run_later: Callable[[int, Callable[[], None]], None]) -> None:
        """End the worker without blocking: close its stdin, then terminate, then kill.

        Args:
            run_later: calls a function after so many milliseconds (in Slicer ``qt.QTimer.singleShot``).
        """
        self._process.closeWriteChannel()

        def kill() -> None:
            if self.alive:
                self._process.kill()

        def terminate() -> None:
            if self.alive:
                self._process.terminate()
                run_later(PATIENCE_MS, kill)

        run_later(PATIENCE_MS, terminate)

    def stop(self) -> None:
        """End the worker and wait for it: close its stdin, then terminate, then kill."""
        if not self.alive:
            return
        self._stopping = True
        self._process.closeWriteChannel()
        if not self._process.waitForFinished(PATIENCE_MS):
            self._process.terminate()
            if not self._process.waitForFinished(PATIENCE_MS):
                self._process.kill()
                self._process.waitForFinished(PATIENCE_MS)

    def _write(self, data: bytes) -> None:
        if not self.alive:
            raise stopped(self._reason)
        self._process.write(data)

    def _read(self) -> None:
        self.session.feed(bytes(self._process.readAllStandardOutput().data()))

    def _read_log(self) -> None:
        text = bytes(self._process.readAllStandardError().data()).decode("utf-8", "replace")
        if self._on_log is not None and text:
            self._on_log(text)

    def _failed(self, error: Any) -> None:
        if not self._process.waitForStarted(0):  # false too for one that ran and crashed; true for a write error
            self._lost("it could not be started" if self.session.ready is None else "it crashed or was killed")

    def _ended(self, code: int, status: Any) -> None:
        self._lost(f"exit code {code}")

    def _lost(self, reason: str) -> None:
        if not self.alive:
            return
        self._read()  # what is still in the pipe
        self.alive = False
        self._reason = reason
        self.session.lost(reason)
        if self._on_ended is not None and not self._stopping:
            self._on_ended(reason)
