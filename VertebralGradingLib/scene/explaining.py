"""Explanations by the worker that do not block: the latest wish wins, and one is computed at a time.

No Qt here: as in :mod:`job`, who asks hands in a worker and a way to be called later.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from VertebralGradingLib.backend.protocol import inputs_message, read_explanation
from VertebralGradingLib.backend.session import Handlers, Message
from VertebralGradingLib.backend.temporary import request_folder, sweep
from VertebralGradingLib.errors import CentroidError, InputError, VertebralGradingError
from VertebralGradingLib.image.volume import as_ct
from VertebralGradingLib.scene.grading import Inputs
from VertebralGradingLib.scene.inputs import labels_from_node, points_from_node, voxels_from_node
from VertebralGradingLib.scene.job import RunLater, Worker, unexpected
from VertebralGradingLib.scene.results import StudyResults
from VertebralGradingLib.segmentation.labels import centroids_from_labels
from VertebralGradingLib.spine.points import Point
from VertebralGradingLib.spine.reformation import Grid, patch_grid
from VertebralGradingLib.spine.spine import build_spine

MARGIN_MM = 100.0
"""What is sent of the CT reaches so far from the middle of the vertebra: a patch's corner is 91 mm away."""
_SAME_MM = 12.0
"""A point so near to a body's middle lies in it."""
_POLL_MS = 20


@dataclass(frozen=True)
class Wish:
    """What is to be explained.

    Attributes:
        level: which vertebra.
        kind, method: see :func:`pipeline.explain`.
        options: of the method.
    """

    level: str
    kind: str
    method: str
    options: Mapping[str, Any] = field(default_factory=dict)


Answered = Callable[[Wish, Message], None]
Failed = Callable[[Wish, VertebralGradingError], None]


class Explaining:
    """Asks for one study's vertebrae.

    Args:
        worker: gives a running worker.
        run_later: see :data:`job.RunLater`.
        on_answer: called with a wish and its explanation.
        on_error: called with a wish and why it failed.
        temporary: folder for the voxels that are handed over; the system's own by default.
        with_bodies: whether the study's bodies are handed over too, so that they are not searched for again.
    """

    def __init__(
        self,
        worker: Callable[[], Worker],
        run_later: RunLater,
        on_answer: Answered,
        on_error: Failed,
        temporary: str | None = None,
        with_bodies: bool = False,
    ) -> None:
        self._worker = worker
        self._run_later = run_later
        self._on_answer, self._on_error = on_answer, on_error
        self._temporary, self._with_bodies = temporary, with_bodies
        self._inputs: Inputs | None = None
        self._shared: _Voxels | None = None
        self._next: Wish | None = None
        self._now: tuple[Worker, int] | None = None
        self._waiting = False

    @property
    def busy(self) -> bool:
        """Whether something is being computed."""
        return self._now is not None or self._waiting

    def open(self, results: StudyResults) -> None:
        """Read the study's image and where its findings say that vertebrae are, once.

        The user's own points and segments may have been renamed, moved or removed since.

        Raises:
            VertebralGradingError: the image cannot be used any more; the hint says why.
        """
        self.close()
        node = results.image_node
        ct = voxels_from_node(node) if node is not None and node.IsA("vtkMRMLScalarVolumeNode") else None
        bodies = results.segmentation_node if self._with_bodies else None
        labels = replace(labels_from_node(bodies), kind="body") if bodies is not None else None
        if ct is None and labels is None:
            raise InputError("This study has no CT.", "Grade a CT to see its vertebrae drawn.")
        self._inputs = Inputs(node, None, None, ct, _points(results), labels)

    def close(self) -> None:
        """Forget the study; nothing is answered any more, and no voxel stays on the disk."""
        self._next, self._inputs, self._waiting = None, None, False
        shared, self._shared = self._shared, None
        if self._now is not None:
            worker, number = self._now
            self._now = None
            worker.session.forget(number, shared.clean if shared is not None else None)
        elif shared is not None:
            shared.clean()

    def grid(self, level: str) -> Grid:
        """Where a vertebra's patch lies.

        Raises:
            CentroidError: there is no such vertebra, or no study.
        """
        spine = None if self._inputs is None else build_spine(self._inputs.points, self._inputs.lowest)
        if spine is None or level not in spine.by_level:
            raise CentroidError(f"There is no centroid of {level} any more.", "Grade the study again.")
        return patch_grid(spine, spine.by_level[level])

    def ask(self, wish: Wish) -> None:
        """Want something; what was wanted before and has not begun is dropped.

        Raises:
            CentroidError: there is no such vertebra.
        """
        self.grid(wish.level)
        self._next = wish
        self._begin()

    def _begin(self) -> None:
        wish = self._next
        if self.busy or wish is None or self._inputs is None:
            return
        if self._shared is None or self._shared.level != wish.level:
            if self._shared is not None:
                self._shared.clean()
            self._shared = _Voxels(wish.level, self._inputs, self.grid(wish.level), self._temporary)
        self._waiting = True
        self._poll(self._shared)

    def _poll(self, shared: _Voxels) -> None:
        if self._shared is not shared:  # the study was closed
            return
        if shared.fields is None:
            self._run_later(_POLL_MS, lambda: self._poll(shared))
            return
        self._waiting = False
        wish, self._next = self._next, None
        if wish is None:
            return
        if isinstance(shared.fields, VertebralGradingError):
            self._shared = None
            self._on_error(wish, shared.fields)
        elif wish.level != shared.level:  # another vertebra was wanted meanwhile
            self._next = wish
            self._begin()
        else:
            self._send(wish, shared.fields)

    def _send(self, wish: Wish, fields: Mapping[str, Any]) -> None:
        said: dict[str, Any] = {"level": wish.level, "kind": wish.kind, "method": wish.method}
        said["options"] = dict(wish.options)
        if self._shared is not None:
            said["arrays_folder"] = self._shared.folder
        handlers = Handlers(
            on_result=lambda answer: self._take(wish, answer), on_error=lambda error: self._fail(wish, error)
        )
        try:
            worker = self._worker()
            number = worker.session.request("explain", handlers, **{**fields, **said})
        except VertebralGradingError as error:
            self._on_error(wish, error)
            return
        self._now = (worker, number)

    def _take(self, wish: Wish, answer: Message) -> None:
        self._now = None
        try:
            seen = read_explanation(answer["explanation"])  # before its files are swept away
        except VertebralGradingError as error:
            self._begin()
            self._on_error(wish, error)
            return
        self._begin()
        self._on_answer(wish, seen)

    def _fail(self, wish: Wish, error: VertebralGradingError) -> None:
        self._now = None
        self._begin()
        self._on_error(wish, error)


def _points(results: StudyResults) -> tuple[Point, ...]:
    """One point for each finding: the user's own that lies in it, under the finding's name, else the body's middle."""
    centroids, given = results.centroids_node, results.given_node
    try:
        if centroids is not None:
            own = points_from_node(centroids)
        else:
            own = centroids_from_labels(labels_from_node(given)) if given is not None else []
    except VertebralGradingError:
        own = []  # they were changed since
    out = []
    for finding in results.report.findings:
        right, anterior, up = finding.center_ras_mm
        apart = [float(np.linalg.norm(np.subtract(one.position, finding.center_ras_mm))) for one in own]
        near = own[int(np.argmin(apart))].position if apart and min(apart) < _SAME_MM else (right, anterior, up)
        named = not finding.level.startswith("V")  # V1, V2, ... are no names but the order
        out.append(Point(near, finding.level if named else None))
    return tuple(out)


class _Voxels:
    """The surroundings of one vertebra on the disk, written in a thread.

    Attributes:
        level: which.
        fields: of the request; an error where they could not be written; None until it is known.
    """

    def __init__(self, level: str, inputs: Inputs, grid: Grid, temporary: str | None) -> None:
        self.level = level
        self.fields: dict[str, Any] | VertebralGradingError | None = None
        self._inputs, self._temporary = inputs, temporary
        self._center = grid.points().reshape(-1, 3).mean(0)
        self._folder: TemporaryDirectory[str] | None = None
        self._over = False
        self._lock = threading.Lock()
        threading.Thread(target=self._write, name="VertebralGrading voxels", daemon=True).start()

    @property
    def folder(self) -> str | None:
        """Where they lie, while they do."""
        return None if self._folder is None else self._folder.name

    def clean(self) -> None:
        """Remove them, at once or when they have been written."""
        with self._lock:
            self._over = True
            folder, known = self._folder, self.fields is not None
            if known:
                self._folder = None
        if known and folder is not None:
            folder.cleanup()

    def _write(self) -> None:
        try:
            sweep(self._temporary)
            self._folder = request_folder(self._temporary)
            part = self._inputs
            if part.labels is not None:
                part = part.cropped()  # the whole spine is compared with, as in grading
            elif part.ct is not None:
                near = part.ct.around(self._center, MARGIN_MM)
                part = replace(part, ct=as_ct(near.array, near.affine, keep=near.array))
            self.fields = inputs_message(Path(self._folder.name), part.ct, part.points, part.labels, part.lowest)
        except VertebralGradingError as error:
            self.fields = error.with_traceback(None)  # the trace would hold the voxels
            self.clean()
        except Exception as error:
            self.fields = unexpected(error)
            self.clean()
            raise  # the thread's trace goes to the log
        if self._over:
            self.clean()
