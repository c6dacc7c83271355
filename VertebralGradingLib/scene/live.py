"""Dragging a point: heights and grade follow at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import slicer

from VertebralGradingLib.errors import VertebralGradingError
from VertebralGradingLib.findings import Report
from VertebralGradingLib.morphometric import move_points
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
        if self._busy or self._node is None:
            return
        places = read_points(self._node)
        for finding in self._report.findings:
            points = places.get(finding.level)
            if points is None or not finding.points_ras_mm:
                continue
            if np.abs(points - np.array(finding.points_ras_mm)).max() > _SAME_MM:
                self._move(finding.level, points)

    def _move(self, level: str, points: Any) -> None:
        try:
            report = move_points(self._report, level, points)
        except VertebralGradingError as error:
            if self._on_error is not None:
                self._on_error(error)
            return
        self.show(report)
        if self._on_change is not None:
            self._on_change(report, level)
