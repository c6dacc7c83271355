"""The worker over plain pipes, for scripts and tests: start it, ask, wait, read the report."""

from __future__ import annotations

import os
import queue
import subprocess
import threading
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from VertebralGradingLib.backend.protocol import (
    RemoteError,
    inputs_message,
    loaded,
    read_explanation,
    read_labels_message,
)
from VertebralGradingLib.backend.session import (
    Handlers,
    Message,
    Session,
    stopped,
    worker_command,
    worker_environment,
)
from VertebralGradingLib.backend.temporary import request_folder, sweep
from VertebralGradingLib.errors import VertebralGradingError
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.segmentation.labels import VertebraLabels
from VertebralGradingLib.spine.points import Point

PATIENCE_S = 3.0
"""How long a cancelled or closed worker may take before it is terminated, and then again before it is killed."""


class WorkerClient:
    """A worker process and its session; use it in a ``with`` block. It is ended too when nobody refers to it any more.

    Args:
        python: interpreter to run, this one by default.
        log: file that takes the worker's stderr; discarded by default.
        temporary: folder for the arrays that are handed over; the system's own by default.

    Raises:
        OutputError: the temporary folder cannot be used.
        RemoteError: the worker cannot be started.
    """

    def __init__(self, python: str | None = None, log: Path | None = None, temporary: str | None = None) -> None:
        self._temporary = temporary
        sweep(temporary)
        self._log = open(log, "wb") if log is not None else None
        try:
            self.process = subprocess.Popen(
                worker_command(python),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log or subprocess.DEVNULL,
                env=worker_environment(),
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError as error:
            raise stopped("it could not be started") from error
        self.session = Session(self._write)
        self._outcome: Message | VertebralGradingError | None = None
        self._current: int | None = None
        self._pieces: queue.Queue[bytes] = queue.Queue()
        self._reader = threading.Thread(target=_read, args=(self.process, self._pieces), daemon=True)
        self._reader.start()
        self._finalizer = weakref.finalize(self, _end, self.process)

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
        methods: Sequence[str] = (),
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
            methods: names out of :data:`table.METHODS`.
            numbering: how a label volume is numbered.
            bodies: also return the bodies that were measured.
            on_progress: (done, total, level).
            on_finding: each provisional finding as a dict.

        Returns:
            The answer: ``report`` (see ``findings.schema.json``), ``cancelled``, and where they were asked for and
            found the ``bodies`` as :class:`VertebraLabels`.

        Raises:
            RemoteError: what the worker answered, or that it stopped.
        """
        with request_folder(self._temporary) as folder:
            fields = inputs_message(Path(folder), ct, points, mask, lowest, numbering)
            if bodies:
                fields["bodies_folder"] = folder
            answer = self._wait("grade", Handlers(on_progress, on_finding), **fields, methods=list(methods))
            if "bodies" in answer:
                answer["bodies"] = loaded(read_labels_message(answer["bodies"]))
        return answer

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
        lowest, numbering = options.pop("lowest", None), options.pop("numbering", "auto")
        with request_folder(self._temporary) as folder:
            fields = inputs_message(Path(folder), ct, points, mask, lowest, numbering)
            answer = self._wait("explain", Handlers(), **fields, level=level, arrays_folder=str(folder), **options)
            return {**answer, "explanation": read_explanation(answer["explanation"])}

    def wait_ready(self) -> Message:
        """Wait until the worker has said its first word.

        Raises:
            RemoteError: it has ended instead.
        """
        while self.session.ready is None:
            self._feed()
            if not self._reader.is_alive() and self._pieces.empty() and self.session.ready is None:
                raise stopped(f"exit code {self.process.poll()}")
        return self.session.ready

    def info(self) -> Message:
        """What the worker has: version, methods, device and why."""
        return self._wait("info", Handlers())

    def cancel(self) -> None:
        """Stop the running request; safe to call from another thread or from a callback."""
        if self._current is not None:
            self.session.cancel(self._current)

    def close(self) -> None:
        """End the worker: closing its stdin first, then terminate, then kill."""
        self._finalizer()
        self._reader.join(timeout=PATIENCE_S)
        if self._log is not None:
            self._log.close()

    def _wait(self, kind: str, handlers: Handlers, /, **fields: Any) -> Message:
        """Ask, and call the handlers on this thread until the answer has come."""
        self._outcome = None
        handlers.on_result = handlers.on_error = self._settle
        if self.process.poll() is not None:
            raise stopped(f"exit code {self.process.poll()}")
        self._current = self.session.request(kind, handlers, **fields)
        try:
            while self._waits():
                self._feed()
        except BaseException:
            self._drain()
            raise
        finally:
            self._current = None
        return self._result()

    def _waits(self) -> bool:
        return self._outcome is None

    def _feed(self) -> None:
        try:
            self.session.feed(self._pieces.get(timeout=0.2))
        except queue.Empty:
            if not self._reader.is_alive() and self._pieces.empty():  # all that was in the pipe has been read
                self.session.lost(f"exit code {self.process.poll()}")

    def _drain(self) -> None:
        """A handler failed or the user interrupted: stop the request, and wait until the worker has let go of it."""
        if self._current is None:
            return
        gone = threading.Event()
        self.session.forget(self._current, gone.set)
        while not gone.is_set() and self.session.busy:
            self._feed()

    def _result(self) -> Message:
        if isinstance(self._outcome, VertebralGradingError):
            raise self._outcome
        if self._outcome is None:
            raise RemoteError("worker", "The worker gave no answer.", "Start a new one.")
        return self._outcome

    def _settle(self, outcome: Message | VertebralGradingError) -> None:
        self._outcome = outcome

    def _write(self, data: bytes) -> None:
        assert self.process.stdin is not None  # opened as a pipe
        try:
            self.process.stdin.write(data)
            self.process.stdin.flush()
        except (BrokenPipeError, OSError, ValueError) as error:
            raise stopped("its pipe is closed") from error


def _read(process: subprocess.Popen[bytes], pieces: queue.Queue[bytes]) -> None:
    """Bring what the worker says into a queue, until it ends; knows nothing of the client, so that it can be freed."""
    assert process.stdout is not None  # opened as a pipe
    descriptor = process.stdout.fileno()
    while True:
        try:
            data = os.read(descriptor, 1 << 16)
        except OSError:
            return
        if not data:
            return
        pieces.put(data)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None and not process.stdin.closed:
        try:
            process.stdin.close()
        except OSError:
            pass  # it has ended already, which is what closing is for
    for stop in (None, process.terminate, process.kill):
        if stop is not None:
            stop()
        try:
            process.wait(timeout=PATIENCE_S)
            break
        except subprocess.TimeoutExpired:
            continue
