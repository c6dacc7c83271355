"""Dragging a point: heights and grade follow at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray

from VertebralGradingLib.errors import InputError, VertebralGradingError
from VertebralGradingLib.findings import Report
from VertebralGradingLib.methods.regrading import move_points
from VertebralGradingLib.scene.results import StudyResults
from VertebralGradingLib.scene.six_points import read_points

_SAME_MM = 1e-3


class PointsWatcher:
    """Follows the six points of a study and shows what moving them changes.

    Args:
        results: the study.
        on_change: called with the changed report and the level that was moved.
        on_error: called with a typed error when a place cannot be measured (points swapped); the findings stay.
    """

    def __init__(
        self,
        results: StudyResults,
        on_change: Callable[[Report, str], None] | None = None,
        on_error: Callable[[VertebralGradingError], None] | None = None,
    ) -> None:
        self.results = results
        self._on_change = on_change
        self._on_error = on_error
        self._report = results.report
        self._busy = False
        self._node = results.points_node
        self._tags: list[int] = []
        if self._node is not None:
            event = slicer.vtkMRMLMarkupsNode.PointModifiedEvent
            self._tags = [self._node.AddObserver(event, self._moved)]

    def stop(self) -> None:
        """Leave the points alone; no observer stays behind."""
        if self._node is not None:
            for tag in self._tags:
                self._node.RemoveObserver(tag)
        self._tags, self._node = [], None

    def show(self, report: Report) -> None:
        """Show another report, for example an earlier one, without taking it for a drag."""
        self._busy = True
        try:
            self._report = report
            self.results.update(report)
        finally:
            self._busy = False

    def _moved(self, caller: Any, event: str) -> None:
        if self._busy or self._node is None or not self._changed(self._report):
            return
        self._report = self.results.report  # another grading may have placed the points
        levels = self._changed(self._report)
        if not levels:
            return
        if len(levels) > 1 or self.results.image_moved():
            self._tell(InputError("The image or its points were moved as a whole.", "Move them back, or grade again."))
            return
        ((level, points),) = levels.items()
        self._move(level, points)

    def _changed(self, report: Report) -> dict[str, NDArray[np.float64]]:
        """The points of each level that do not lie where a report says."""
        places = read_points(self._node)
        return {
            finding.level: places[finding.level]
            for finding in report.findings
            if finding.points_ras_mm
            and finding.level in places
            and np.abs(places[finding.level] - np.array(finding.points_ras_mm)).max() > _SAME_MM
        }

    def _tell(self, error: VertebralGradingError) -> None:
        if self._on_error is not None:
            self._on_error(error)

    def _move(self, level: str, points: Any) -> None:
        try:
            report = move_points(self._report, level, points)
        except VertebralGradingError as error:
            self._tell(error)
            return
        self.show(report)
        if self._on_change is not None:
            self._on_change(report, level)
