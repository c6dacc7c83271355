"""The worker process of the module: started when it is needed, kept warm, ended with the module."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable

import qt

from VertebralGradingLib.backend.qprocess import QProcessWorker
from VertebralGradingLib.backend.session import worker_environment


def pythonProgram() -> str:
    """Slicer's Python where there is one on the path, else the interpreter that runs this."""
    return shutil.which("PythonSlicer") or sys.executable


def runLater(milliseconds: int, call: Callable[[], None]) -> None:
    """Call a function on the main thread after so many milliseconds."""
    qt.QTimer.singleShot(milliseconds, call)


class WorkerKeeper:
    """Has at most one worker, and starts a new one when the last has ended.

    Args:
        onLog: called with each piece of text that the worker writes to its log.
    """

    def __init__(self, onLog: Callable[[str], None] | None = None) -> None:
        self._onLog = onLog
        self._worker: QProcessWorker | None = None
        self._process: qt.QProcess | None = None

    def worker(self) -> QProcessWorker:
        """Return the running worker; one that has just been started where there was none."""
        if self._worker is None or not self._worker.alive:
            process = qt.QProcess()
            environment = qt.QProcessEnvironment.systemEnvironment()
            for name, value in worker_environment().items():
                environment.insert(name, value)
            process.setProcessEnvironment(environment)
            self._process = process  # the worker's process lives as long as this reference
            self._worker = QProcessWorker(process, pythonProgram(), self._onLog)
            self._worker.start()
        return self._worker

    def isAlive(self) -> bool:
        """Return whether a worker runs."""
        return self._worker is not None and self._worker.alive

    def stop(self) -> None:
        """End the worker and wait until it has gone."""
        if self._worker is not None:
            self._worker.stop()
        self._worker = self._process = None
