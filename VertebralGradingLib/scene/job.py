"""One grading run that does not block: rows come one by one, it can be cancelled, and whatever happens it ends once.

No Qt here: who starts a job hands in a worker and a way to be called later (in Slicer ``qt.QTimer.singleShot``).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import slicer
import vtk

from VertebralGradingLib.backend.protocol import inputs_message, loaded, read_labels_message
from VertebralGradingLib.backend.session import Handlers, Message, Session
from VertebralGradingLib.backend.temporary import request_folder, sweep
from VertebralGradingLib.errors import InputError, VertebralGradingError
from VertebralGradingLib.findings import Finding, Report
from VertebralGradingLib.findings.states import NOT_REACHED
from VertebralGradingLib.scene.grading import Inputs
from VertebralGradingLib.scene.results import StudyResults
from VertebralGradingLib.scene.studies import results_of
from VertebralGradingLib.segmentation.labels import VertebraLabels

RunLater = Callable[[int, Callable[[], None]], None]
"""Calls a function after so many milliseconds, on the same thread."""

PATIENCE_MS = 3000
"""How long a worker may take to answer a cancel before it is ended."""
_POLL_MS = 20


class Worker(Protocol):
    """What a job needs of a worker (see :class:`backend.qprocess.QProcessWorker`)."""

    session: Session

    def end(self, run_later: RunLater) -> None:
        """End the worker without blocking: close its stdin, then terminate, then kill."""


@dataclass
class Callbacks:
    """What to call while a job runs; each may be None. Exactly one of the last two is called, as the last of all.

    Attributes:
        on_progress: (done, total, level).
        on_finding: a provisional finding.
        on_done: the results in the scene, and whether the run was cancelled.
        on_error: a typed error, and the results of the finished rows where there are any.
    """

    on_progress: Callable[[int, int, str], None] | None = None
    on_finding: Callable[[Finding], None] | None = None
    on_done: Callable[[StudyResults, bool], None] | None = None
    on_error: Callable[[VertebralGradingError, StudyResults | None], None] | None = None


class GradingJob:
    """A run over one study.

    Args:
        inputs: what is graded.
        worker: a started worker that has nothing else to do.
        callbacks: what to call.
        run_later: see :data:`RunLater`.
        temporary: folder for the arrays that are handed over; the system's own by default.
    """

    def __init__(
        self,
        inputs: Inputs,
        worker: Worker,
        callbacks: Callbacks,
        run_later: RunLater,
        temporary: str | None = None,
    ) -> None:
        self._inputs = inputs
        self._worker = worker
        self._callbacks = callbacks
        self._run_later = run_later
        self._folder: TemporaryDirectory[str] | None = None
        self._temporary = temporary
        self._fields: dict[str, Any] | VertebralGradingError | None = None
        self._request: int | None = None
        self._rows: list[Finding] = []
        self._cancelled = False
        self._observers: list[tuple[Any, int]] = []
        self._shown: StudyResults | None = None
        self.running = False

    def start(self) -> None:
        """Hand the voxels over in a thread of their own, then ask the worker."""
        self.running = True
        scene = self._inputs.image_node.GetScene()
        for event, reaction in (
            (slicer.vtkMRMLScene.StartCloseEvent, self._scene_closes),
            (slicer.vtkMRMLScene.NodeAboutToBeRemovedEvent, self._node_leaves),
        ):
            self._observers.append((scene, scene.AddObserver(event, reaction)))
        threading.Thread(target=self._write, name="VertebralGrading voxels", daemon=True).start()
        self._run_later(_POLL_MS, self._poll)

    def cancel(self) -> None:
        """Stop; the rows that are finished are kept. A worker that does not answer in time is ended."""
        if not self.running or self._cancelled:
            return
        self._cancelled = True  # too late once the answer has come: then all rows are shown
        if self._request is not None:
            self._worker.session.cancel(self._request)
            self._run_later(PATIENCE_MS, self._lose_patience)

    def abandon(self, error: VertebralGradingError) -> None:
        """Stop at once and show nothing, because there is no place for it any more."""
        if self.running:
            if self._request is not None:  # the worker may still read the voxels
                self._worker.session.forget(self._request, self._folder.cleanup if self._folder else None)
                self._folder = None
            self._end()
            self._fail(error, None)

    def _write(self) -> None:
        """Store the voxels (in a thread: no node is touched here)."""
        try:
            sweep(self._temporary)
            self._folder = request_folder(self._temporary)
            part = self._inputs.cropped()
            fields = inputs_message(Path(self._folder.name), part.ct, part.points, part.labels, part.lowest)
            fields["methods"] = list(part.methods)
            if part.labels is None:
                fields["bodies_folder"] = self._folder.name
            self._fields = fields
        except VertebralGradingError as error:
            self._fields = error
        except Exception as error:
            self._fields = unexpected(error)
            raise  # the thread's trace goes to the log

    def _poll(self) -> None:
        if self._fields is None:
            self._run_later(_POLL_MS, self._poll)
        elif not self.running:  # abandoned while the voxels were being written
            self._forget_folder()
        elif isinstance(self._fields, VertebralGradingError):
            self._end()
            self._fail(self._fields, None)
        elif self._cancelled:
            self._end()
            self._fail(InputError("Grading was cancelled before it began.", "Start it again when you want."), None)
        else:
            self._ask(self._fields)

    def _ask(self, fields: dict[str, Any]) -> None:
        handlers = Handlers(self._callbacks.on_progress, self._take_row, self._take_result, self._take_error)
        try:
            self._request = self._worker.session.request("grade", handlers, **fields)
        except VertebralGradingError as error:
            self._end()
            self._fail(error, None)

    def _take_row(self, row: Message) -> None:
        finding = Finding.from_dict(row)
        self._rows.append(finding)
        if self._callbacks.on_finding is not None:
            self._callbacks.on_finding(finding)

    def _take_result(self, answer: Message) -> None:
        self._request = None
        try:
            bodies = loaded(read_labels_message(answer["bodies"])) if "bodies" in answer else None
            report = Report.from_dict(answer["report"])
        except Exception as error:
            self._end()
            self._fail(error if isinstance(error, VertebralGradingError) else unexpected(error), None)
            return
        self._show(report, bodies, lambda results: self._done(results, bool(answer["cancelled"])))

    def _take_error(self, error: VertebralGradingError) -> None:
        self._request = None
        if self._cancelled and self._rows:
            self._show(self._inputs.unfinished(self._rows), None, lambda results: self._done(results, True))
        elif self._rows:
            self._show(self._inputs.unfinished(self._rows), None, lambda results: self._fail(error, results))
        else:
            self._end()
            self._fail(error, None)

    def _show(self, report: Report, bodies: VertebraLabels | None, then: Callable[[StudyResults], None]) -> None:
        """Put findings into the scene step by step, each when the window has had its turn.

        A run that was broken off does not take the place of an earlier one that was finished.
        """
        earlier = results_of(self._inputs.image_node)
        if not report.complete and earlier is not None and earlier.is_complete():
            self._end()
            then(earlier)
            return
        if all(finding.state == NOT_REACHED for finding in report.findings):
            self._end()
            self._fail(InputError("Grading was cancelled before a vertebra was finished.", "Start it again."), None)
            return
        try:
            results, steps = self._inputs.showing(report, bodies)
        except VertebralGradingError as error:
            self._end()
            self._fail(error, None)
            return
        self._shown = results

        def step() -> None:
            if not self.running:  # the scene or the image went meanwhile
                return
            try:
                next(steps)
            except StopIteration:
                self._end()
                then(results)
            except Exception as error:
                self._end()
                self._fail(error if isinstance(error, VertebralGradingError) else unexpected(error), None)
                if not isinstance(error, VertebralGradingError):
                    raise
            else:
                self._run_later(0, step)

        step()

    def _done(self, results: StudyResults, cancelled: bool) -> None:
        if self._callbacks.on_done is not None:
            self._callbacks.on_done(results, cancelled)

    def _lose_patience(self) -> None:
        if self.running:
            self._worker.end(self._run_later)

    def _scene_closes(self, caller: Any, event: str) -> None:
        self.abandon(InputError("The scene was closed while grading.", "Load the CT and grade again."))

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _node_leaves(self, caller: Any, event: str, node: Any) -> None:
        if node is self._inputs.image_node:
            if self._shown is not None:
                self._shown.remove()  # it was being filled
            self.abandon(InputError("The image was removed while grading.", "Load it and grade again."))

    def _end(self) -> None:
        self.running = False
        self._shown = None
        for scene, tag in self._observers:
            scene.RemoveObserver(tag)
        self._observers = []
        self._request = None
        self._forget_folder()

    def _forget_folder(self) -> None:
        if self._folder is not None and self._fields is not None:
            self._folder.cleanup()
            self._folder = None

    def _fail(self, error: VertebralGradingError, results: StudyResults | None) -> None:
        if self._callbacks.on_error is not None:
            self._callbacks.on_error(error, results)


def unexpected(error: BaseException) -> VertebralGradingError:
    """What the user is told of a fault of the program."""
    return VertebralGradingError(f"The program failed ({type(error).__name__}).", "Copy the log and report it.")
