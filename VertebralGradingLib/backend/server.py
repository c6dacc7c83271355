"""The worker's side: reads requests, grades one at a time, answers as results come.

File descriptor 1 is duplicated for the messages and then points at stderr, so that no library can break the protocol
by printing. A thread of its own reads stdin: it takes cancels while a request runs, and ends the process at once when
stdin closes, also in mid-computation, so that no worker outlives its client.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import traceback
from pathlib import Path
from typing import IO, Any

from VertebralGradingLib.backend.protocol import (
    PROTOCOL,
    REQUESTS,
    decode,
    encode,
    error_message,
    explanation_message,
    labels_message,
    map_array,
    read_labels_message,
    read_points_message,
)
from VertebralGradingLib.errors import InputError, VertebralGradingError

_TAKEN = {"ct", "spine", "mask", "level", "kind", "method", "bodies_by", "study", "self"}
"""Names that options of an explanation cannot have."""


class Server:
    """Answers requests from one stream on another.

    Args:
        output: where answers go.
        log: where traces of unexpected errors go.
    """

    def __init__(self, output: IO[bytes], log: IO[str]) -> None:
        self._output = output
        self._log = log
        self._lock = threading.Lock()
        self._requests: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._cancelled: set[Any] = set()

    def send(self, message: dict[str, Any]) -> None:
        """Write one answer."""
        with self._lock:
            self._output.write(encode(message))
            self._output.flush()

    def receive(self, line: bytes) -> bool:
        """Take one line of input.

        Returns:
            False when it asks to shut down.
        """
        if not line.strip():
            return True
        try:
            request = decode(line)
            if request.get("type") not in REQUESTS:
                raise InputError(f"The request {request.get('type')!r} is not known.", "Update the program.")
        except VertebralGradingError as error:
            self.send(error_message(None, error))
            return True
        if request["type"] == "cancel":
            self._cancelled.add(request.get("target"))
            return True
        if request["type"] == "shutdown":
            self._requests.put(None)
            return False
        self._requests.put(request)
        return True

    def run(self) -> None:
        """Answer requests in turn until told to stop."""
        from VertebralGradingLib._version import __version__

        self.send({"id": None, "type": "ready", "protocol": PROTOCOL, "version": __version__, "pid": os.getpid()})
        while True:
            request = self._requests.get()
            if request is None:
                return
            self._answer(request)

    def _answer(self, request: dict[str, Any]) -> None:
        number = request.get("id")
        try:
            handler = {"grade": self._grade, "explain": self._explain, "info": self._info}[request["type"]]
            self.send({"id": number, "type": "result", **handler(request)})
        except BrokenPipeError:
            raise
        except Exception as error:  # the worker lives on; the client gets a typed answer, the log the trace
            if not isinstance(error, VertebralGradingError):
                traceback.print_exc(file=self._log)
            self.send(error_message(number, error))
        finally:
            self._cancelled.discard(number)

    def _grade(self, request: dict[str, Any]) -> dict[str, Any]:
        from VertebralGradingLib.findings import Finding
        from VertebralGradingLib.methods.bodies import body_labels
        from VertebralGradingLib.pipeline import grade
        from VertebralGradingLib.study import Study

        number = request.get("id")
        ct, spine, mask = self._inputs(request)

        def progress(done: int, total: int, level: str) -> bool:
            self.send({"id": number, "type": "progress", "done": done, "total": total, "level": level})
            return number not in self._cancelled

        def on_finding(finding: Finding) -> None:
            self.send({"id": number, "type": "finding", "finding": finding.to_dict()})

        answer: dict[str, Any] = {}

        def on_study(study: Study) -> None:
            bodies = body_labels(study) if request.get("bodies_folder") else None
            if bodies is not None:
                answer["bodies"] = labels_message(bodies, Path(request["bodies_folder"]), "bodies")

        methods = tuple(request.get("methods") or ())
        report = grade(ct, spine, mask, methods, progress, on_finding, on_study, bodies_by=request.get("bodies_by"))
        return {**answer, "cancelled": not report.complete, "report": report.to_dict()}

    def _explain(self, request: dict[str, Any]) -> dict[str, Any]:
        from VertebralGradingLib.pipeline import explain

        ct, spine, mask = self._inputs(request)
        answer = explain(
            ct,
            spine,
            mask,
            level=str(request.get("level")),
            kind=str(request.get("kind", "heights")),
            method=str(request.get("method", "morphometry")),
            bodies_by=request.get("bodies_by"),
            **_options(request),
        )
        return {"explanation": explanation_message(answer, request.get("arrays_folder"))}

    def _info(self, request: dict[str, Any]) -> dict[str, Any]:
        from VertebralGradingLib._version import __version__
        from VertebralGradingLib.backend.device import choose_device, describe_devices
        from VertebralGradingLib.methods.table import METHODS

        known = describe_devices()
        if request.get("device"):
            known["device"], known["device_reason"] = choose_device(str(request["device"]))
        return {"version": __version__, "methods": list(METHODS), **known}

    def _inputs(self, request: dict[str, Any]) -> tuple[Any, Any, Any]:
        from VertebralGradingLib.image.io import as_labels
        from VertebralGradingLib.image.volume import as_ct
        from VertebralGradingLib.segmentation.labels import centroids_from_labels, interpret
        from VertebralGradingLib.spine.spine import build_spine

        ct = mask = None
        if request.get("ct"):
            ct = as_ct(*map_array(request["ct"]))
        if request.get("mask"):
            if request["mask"].get("names"):
                mask = read_labels_message(request["mask"])
            else:
                labels = as_labels(*map_array(request["mask"]))
                mask = interpret(labels, str(request["mask"].get("numbering", "auto")))
        points = read_points_message(request.get("points") or [])
        if not points and mask is not None:
            points = centroids_from_labels(mask)
        return ct, build_spine(points, request.get("lowest")), mask


def _options(request: dict[str, Any]) -> dict[str, Any]:
    """What a request says beyond level, kind and method; each method knows its own.

    Raises:
        InputError: it is no object, or names what has a place of its own.
    """
    options = request.get("options") or {}
    if not isinstance(options, dict) or _TAKEN & set(options):
        raise InputError("The options of the explanation cannot be used.", "Update the program.")
    return {str(name): value for name, value in options.items()}


def main() -> None:
    """Run the worker on this process's stdin and stdout until stdin closes."""
    messages = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    server = Server(messages, sys.stderr)

    def listen() -> None:
        for line in iter(sys.stdin.buffer.readline, b""):
            if not server.receive(line):
                return
        os._exit(0)  # the client is gone: nobody would read the answer

    threading.Thread(target=listen, name="stdin", daemon=True).start()
    try:
        server.run()
    except BrokenPipeError:
        os._exit(0)
