"""The client's side without a transport: bytes in, callbacks out. Both transports feed it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from VertebralGradingLib.backend.protocol import PROTOCOL, RemoteError, decode, encode
from VertebralGradingLib.errors import InputError, VertebralGradingError

Message = dict[str, Any]


@dataclass
class Handlers:
    """What to call as answers to one request arrive; each may be None.

    Attributes:
        on_progress: (done, total, level).
        on_finding: a provisional finding as a dict.
        on_result: the final answer.
        on_error: a :class:`RemoteError`.
    """

    on_progress: Callable[[int, int, str], None] | None = None
    on_finding: Callable[[Message], None] | None = None
    on_result: Callable[[Message], None] | None = None
    on_error: Callable[[VertebralGradingError], None] | None = None


class Session:
    """Numbers requests, splits the answers into lines, and calls who asked.

    Args:
        write: sends bytes to the worker.

    Attributes:
        ready: the worker's first message, None until it has come.
        unreadable: how many lines were no messages, such as a notice that a launcher prints; they are passed over.
    """

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self.unreadable = 0
        self._buffer = b""
        self._next = 1
        self._waiting: dict[int, Handlers] = {}
        self.ready: Message | None = None

    def request(self, kind: str, handlers: Handlers, /, **fields: Any) -> int:
        """Send a request.

        Returns:
            Its number, for :meth:`cancel`.

        Raises:
            RemoteError: the worker has ended.
        """
        number = self._next
        self._next += 1
        self._waiting[number] = handlers
        try:
            self._write(encode({"id": number, "type": kind, **fields}))
        except VertebralGradingError:
            del self._waiting[number]
            raise
        return number

    def cancel(self, number: int) -> None:
        """Ask the worker to stop a request; it answers with what is finished."""
        self._write(encode({"id": None, "type": "cancel", "target": number}))

    def forget(self, number: int, afterwards: Callable[[], None] | None = None) -> None:
        """Stop a request whose answer nobody wants any more.

        Args:
            number: the request.
            afterwards: called when the worker has let go of it, for example to remove the files it read.
        """
        if number not in self._waiting:
            return

        def done(answer: object) -> None:
            if afterwards is not None:
                afterwards()

        self._waiting[number] = Handlers(on_result=done, on_error=done)
        self.cancel(number)

    def feed(self, data: bytes) -> None:
        """Take bytes from the worker, in pieces of any size.

        Raises:
            Exception: what a handler raised, after every line has been taken.
        """
        self._buffer += data
        *lines, self._buffer = self._buffer.split(b"\n")
        raised: Exception | None = None
        for line in lines:
            if not line.strip():
                continue
            try:
                message = decode(line)
            except InputError:
                self.unreadable += 1
                continue
            try:
                self._take(message)
            except Exception as error:
                raised = raised or error
        if raised is not None:
            raise raised

    def lost(self, reason: str) -> None:
        """The worker ended: every request that still waits gets an error."""
        error = stopped(reason)
        waiting, self._waiting = self._waiting, {}
        for handlers in waiting.values():
            if handlers.on_error is not None:
                handlers.on_error(error)

    @property
    def busy(self) -> bool:
        """Whether a request waits for its answer."""
        return bool(self._waiting)

    def _take(self, message: Message) -> None:
        kind = message.get("type")
        if kind == "ready":
            if message.get("protocol") != PROTOCOL:
                self.lost("it speaks another version of the protocol")
                return
            self.ready = message
            return
        handlers = self._waiting.get(message.get("id", -1))
        if handlers is None:
            return
        if kind == "progress" and handlers.on_progress is not None:
            handlers.on_progress(message["done"], message["total"], message["level"])
        elif kind == "finding" and handlers.on_finding is not None:
            handlers.on_finding(message["finding"])
        elif kind == "result":
            del self._waiting[message["id"]]
            if handlers.on_result is not None:
                handlers.on_result(message)
        elif kind == "error":
            del self._waiting[message["id"]]
            if handlers.on_error is not None:
                handlers.on_error(RemoteError(message["code"], message["message"], message.get("hint", "")))


def stopped(reason: str) -> RemoteError:
    """The error of a worker that is no more."""
    return RemoteError("worker", f"The worker stopped ({reason}).", "Start again; finished rows are kept.")


def worker_command(python: str | None = None) -> list[str]:
    """Program and arguments of the worker; inside Slicer ``python`` is PythonSlicer."""
    return [python or sys.executable, "-m", "VertebralGradingLib.backend"]


def worker_environment(base: dict[str, str] | None = None) -> dict[str, str]:
    """Environment of the worker: the library's folder first on its path, UTF-8, one core left to the program."""
    environment = dict(os.environ if base is None else base)
    library = str(Path(__file__).resolve().parents[2])
    inherited = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = library + (os.pathsep + inherited if inherited else "")
    environment["PYTHONUTF8"] = "1"
    threads = str(max((os.cpu_count() or 2) - 1, 1))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"):
        environment.setdefault(name, threads)
    return environment
