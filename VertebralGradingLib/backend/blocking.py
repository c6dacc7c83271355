"""The worker over plain pipes, for scripts and tests: start it, ask, wait, read the report."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from VertebralGradingLib.backend.protocol import RemoteError, inputs_message
from VertebralGradingLib.backend.session import Handlers, Message, Session, worker_command, worker_environment
from VertebralGradingLib.errors import VertebralGradingError
from VertebralGradingLib.points import Point
from VertebralGradingLib.segmentation.labels import VertebraLabels
from VertebralGradingLib.volume import Volume

PATIENCE_S = 3.0
"""How long a cancelled or closed worker may take before it is terminated, and then again before it is killed."""


class WorkerClient:
    """A worker process and its session; use it in a ``with`` block.

    Args:
        python: interpreter to run, this one by default.
        log: file that takes the worker's stderr; discarded by default.
        temporary: folder for the arrays that are handed over; the system's own by default.
    """

    def __init__(self, python: str | None = None, log: Path | None = None, temporary: str | None = None) -> None:
        self._log = open(log, "wb") if log is not None else None
        self.process = subprocess.Popen(
            worker_command(python),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log or subprocess.DEVNULL,
            env=worker_environment(),
        )
        self._folder = tempfile.TemporaryDirectory(prefix="vg", dir=temporary)
        self.session = Session(self._write)
        self._done = threading.Event()
        self._outcome: Message | VertebralGradingError | None = None
        self._current: int | None = None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> WorkerClient:
        """The client itself."""
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the worker."""
        self.close()

    def grade(
        self,
        ct: Volume | None,
        points: Sequence[Point],
        mask: Volume | VertebraLabels | None = None,
        *,
        lowest: str | None = None,
        methods: Sequence[str] = ("morphometry",),
        numbering: str = "auto",
        bodies: bool = False,
        on_progress: Callable[[int, int, str], None] | None = None,
        on_finding: Callable[[Message], None] | None = None,
    ) -> Message:
        """Grade and wait.

        Args:
            ct: HU, or None with a mask.
            points: centroids; may be empty with a mask.
            mask: label volume, or vertebrae that are named already.
            lowest: level of the most caudal point.
            methods: names out of :data:`methods.METHODS`.
            numbering: how a label volume is numbered.
            bodies: also return the bodies that were measured.
            on_progress: (done, total, level).
            on_finding: each provisional finding as a dict.

        Returns:
            The answer: ``report`` (see ``findings.schema.json``), ``cancelled``, and with ``bodies`` a message for
            :func:`protocol.read_labels_message`, to be read before the client is closed.

        Raises:
            RemoteError: what the worker answered, or that it stopped.
        """
        fields = self._inputs(ct, points, mask, lowest, numbering)
        if bodies:
            fields["bodies_folder"] = self._folder.name
        return self._wait("grade", Handlers(on_progress, on_finding), **fields, methods=list(methods))

    def explain(
        self,
        ct: Volume | None,
        points: Sequence[Point],
        mask: Volume | VertebraLabels | None = None,
        *,
        level: str,
        **options: Any,
    ) -> Message:
        """Explain one vertebra and wait; see :meth:`grade`."""
        fields = self._inputs(ct, points, mask, options.pop("lowest", None), options.pop("numbering", "auto"))
        return self._wait("explain", Handlers(), **fields, level=level, **options)

    def info(self) -> Message:
        """What the worker has: version, methods, device and why."""
        return self._wait("info", Handlers())

    def cancel(self) -> None:
        """Stop the running request; safe to call from another thread or from a callback."""
        if self._current is not None:
            self.session.cancel(self._current)

    def close(self) -> None:
        """End the worker: closing its stdin first, then terminate, then kill; temporary files are removed."""
        if self.process.stdin is not None and not self.process.stdin.closed:
            try:
                self.process.stdin.close()
            except BrokenPipeError:
                pass  # it has ended already, which is what closing is for
        for stop in (None, self.process.terminate, self.process.kill):
            if stop is not None:
                stop()
            try:
                self.process.wait(timeout=PATIENCE_S)
                break
            except subprocess.TimeoutExpired:
                continue
        self._reader.join(timeout=PATIENCE_S)
        if self.process.stdout is not None:
            self.process.stdout.close()
        if self._log is not None:
            self._log.close()
        self._folder.cleanup()

    def _inputs(
        self,
        ct: Volume | None,
        points: Sequence[Point],
        mask: Volume | VertebraLabels | None,
        lowest: str | None,
        numbering: str,
    ) -> dict[str, Any]:
        return inputs_message(Path(self._folder.name), ct, points, mask, lowest, numbering)

    def _wait(self, kind: str, handlers: Handlers, **fields: Any) -> Message:
        self._done.clear()
        self._outcome = None
        handlers.on_result = handlers.on_error = self._settle
        if self.process.poll() is not None:
            raise RemoteError("worker", "The worker has ended.", "Start a new one.")
        self._current = self.session.request(kind, handlers, **fields)
        while not self._done.wait(timeout=0.2):
            if not self._reader.is_alive():  # all that was in the pipe has been read
                self.session.lost(f"exit code {self.process.poll()}")
        self._current = None
        return self._result()

    def _result(self) -> Message:
        if isinstance(self._outcome, VertebralGradingError):
            raise self._outcome
        if self._outcome is None:
            raise RemoteError("worker", "The worker gave no answer.", "Start a new one.")
        return self._outcome

    def _settle(self, outcome: Message | VertebralGradingError) -> None:
        self._outcome = outcome
        self._done.set()

    def _write(self, data: bytes) -> None:
        assert self.process.stdin is not None  # opened as a pipe
        try:
            self.process.stdin.write(data)
            self.process.stdin.flush()
        except (BrokenPipeError, OSError) as error:
            raise RemoteError("worker", "The worker has ended.", "Start a new one.") from error

    def _read(self) -> None:
        assert self.process.stdout is not None  # opened as a pipe
        descriptor = self.process.stdout.fileno()
        while True:
            try:
                data = os.read(descriptor, 1 << 16)
            except OSError:
                return
            if not data:
                return
            self.session.feed(data)
